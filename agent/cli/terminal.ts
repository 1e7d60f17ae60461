// What the CLI knows of where it prints and who types: colour only on a terminal and never with NO_COLOR, width as the
// terminal's; questions, and answers that are not shown.

import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { styleText } from "node:util";

import { type Colour, DEFAULT_WIDTH, type TextOptions } from "../report/status-text.ts";

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

/** A reader that goes away (`orca logs | head`) is no failure. */
export function endQuietlyOnClosedOutput(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
}

/** Asks a question on the terminal; undefined when the person gives up (Ctrl-C, Ctrl-D). */
export function ask(question: string): Promise<string | undefined> {
  return readLine(question, process.stderr);
}

/** The same for what must not be seen: nothing of the answer is shown. */
export async function askHidden(question: string): Promise<string> {
  process.stderr.write(question);
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
