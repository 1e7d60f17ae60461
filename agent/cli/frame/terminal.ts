// Where the CLI prints and who types: colour only on a terminal and never with NO_COLOR, width as the terminal's; questions, and
// answers that are not shown. Every command prints through here, so that nothing of a manifest, commit, container, peer or server
// reaches the terminal as a control character; `orca logs` and `orca exec` stream with a cleaner of their own.

import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { styleText } from "node:util";

import { cleanLines, escapeJson, OutputCleaner, printJson } from "../../report/text/public-text.ts";
import { type Colour, DEFAULT_WIDTH, type TextOptions } from "../../report/text/status-text.ts";

/** How to print on standard output. */
export function describeOutput(): TextOptions {
  const { stdout } = process;
  const coloured = stdout.isTTY && (process.env["NO_COLOR"] ?? "") === "";
  const width = stdout.isTTY ? stdout.columns : DEFAULT_WIDTH;
  return coloured ? { width, paint } : { width };
}

function paint(text: string, colour: Colour): string {
  return styleText(colour, text, { validateStream: false });
}

/** Prints text, with a line's end where it has none; what a terminal would obey in it is cut. */
export function printText(text: string): void {
  process.stdout.write(endLine(cleanLines(text)));
}

/** The same on standard error. */
export function printFault(text: string): void {
  process.stderr.write(endLine(cleanLines(text)));
}

/** Prints text that has its colours already: whoever painted it has cleaned its parts before. */
export function printPainted(text: string): void {
  process.stdout.write(text);
}

/** Prints a value as JSON, laid out. */
export function printDocument(value: unknown): void {
  process.stdout.write(`${printJson(value, 2)}\n`);
}

/** Prints JSON text as an agent gave it. */
export function printJsonText(json: string): void {
  process.stdout.write(endLine(escapeJson(json)));
}

function endLine(text: string): string {
  return text.endsWith("\n") ? text : `${text}\n`;
}

/** Where a container's output goes: as it is to a file or program, cleaned to a terminal. */
export interface OutputSink {
  /** False where more should wait for `drain`. */
  write(piece: Buffer): boolean;
  /** Writes what was held back. */
  end(): void;
  readonly stream: NodeJS.WriteStream;
}

/** @param raw true where the container was given the terminal itself */
export function openSink(stream: NodeJS.WriteStream, raw = false): OutputSink {
  if (raw || !stream.isTTY) return { stream, write: (piece) => stream.write(piece), end: () => undefined };
  const cleaner = new OutputCleaner();
  return {
    stream,
    write: (piece) => stream.write(cleaner.push(piece)),
    end: () => void stream.write(cleaner.end()),
  };
}

/** A reader that goes away (`orca logs | head`) is no failure. */
export function endQuietlyOnClosedOutput(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
}

/** Asks a question on the terminal; undefined when the person gives up (Ctrl-C, Ctrl-D). */
export function ask(question: string): Promise<string | undefined> {
  return readLine(cleanLines(question), process.stderr);
}

/** The same for what must not be seen: nothing of the answer is shown. */
export async function askHidden(question: string): Promise<string> {
  process.stderr.write(cleanLines(question));
  const answer = await readLine("", new Writable({ write: (_chunk, _encoding, done) => done() }));
  process.stderr.write("\n");
  return answer ?? "";
}

async function readLine(question: string, output: NodeJS.WritableStream): Promise<string | undefined> {
  const lines = createInterface({ input: process.stdin, output, terminal: true, historySize: 0 });
  const over = new Promise<undefined>((resolve) => lines.once("close", () => resolve(undefined)));
  lines.once("SIGINT", () => lines.close());
  try {
    return await Promise.race([lines.question(question), over]);
  } finally {
    lines.close();
  }
}
