// What a text may say where everybody can read it, and what of it may reach a terminal. Names,
// reasons and output come from manifests, commits, containers, peers and servers: none of them may steer who reads. Pure.

import { StringDecoder } from "node:string_decoder";

/** Sequences that only colour what follows (ECMA-48 SGR): they say nothing, and go without a trace. */
// eslint-disable-next-line no-control-regex -- these are the characters to be found
const COLOURS = /(?:\u001b\[|\u009b)[\d;:]*m/g;

/**
 * What terminals and logs obey, as the inside of a character class: C0 and C1 controls, line separators, what turns the direction
 * of text, interlinear annotations and invisible tags. Joiners stay: languages and pictures are written with them.
 */
const OBEYED = String.raw`\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\u{e0000}-\u{e007f}`;
const CONTROLS = new RegExp(`[${OBEYED}]+`, "gu");
/** The same without tab and line feed. */
const CONTROLS_IN_LINES = new RegExp(
  `[${OBEYED.replace(String.raw`\u0000-\u001f`, String.raw`\u0000-\u0008\u000b-\u001f`)}]+`,
  "gu",
);

/** Terminals and logs obey control characters: none of them reaches one from a name, reason or message. One line stays one. */
export function cutControlCharacters(text: string): string {
  return text.replaceAll(COLOURS, "").replaceAll(CONTROLS, " ");
}

/** The same for a text of several lines: line feeds and tabs stay. */
export function cleanLines(text: string): string {
  return text.replaceAll(COLOURS, "").replaceAll("\r\n", "\n").replaceAll(CONTROLS_IN_LINES, " ");
}

/** JSON as text, with what terminals obey written as escapes: it parses to the same value. */
export function printJson(value: unknown, indent?: number): string {
  return escapeJson(JSON.stringify(value, undefined, indent));
}

/** Writes what terminals obey in a JSON text as escapes; outside of its strings there is none but line feeds and tabs. */
export function escapeJson(json: string): string {
  return json.replaceAll(CONTROLS_IN_LINES, escapeAll);
}

/** Shows what terminals obey in a line as escapes, where it is what is wrong with a name or key. */
export function showControls(line: string): string {
  return line.replaceAll(CONTROLS, escapeAll);
}

function escapeAll(characters: string): string {
  const units = Array.from({ length: characters.length }, (_, index) => characters.charCodeAt(index));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
}

/** The longest beginning of a colour sequence, or of a line's end, that is waited for. */
const LONGEST_BEGINNING = 32;
// eslint-disable-next-line no-control-regex -- these are the characters to be found
const BEGINNING = /(?:\u001b(?:\[[\d;:]*)?|\u009b[\d;:]*|\r)$/;

/** Cleans a stream of a container's output, whose pieces may end in the middle of a character or sequence. */
export class OutputCleaner {
  readonly #decoder = new StringDecoder("utf8");
  #rest = "";

  /** Takes a piece; gives what may be shown now. */
  push(piece: Buffer): string {
    return this.#clean(this.#rest + this.#decoder.write(piece));
  }

  /** Gives what is left once the stream has ended. */
  end(): string {
    const text = this.#rest + this.#decoder.end();
    this.#rest = "";
    return cleanLines(text);
  }

  #clean(text: string): string {
    const [beginning = ""] = BEGINNING.exec(text) ?? [];
    this.#rest = beginning.length <= LONGEST_BEGINNING ? beginning : "";
    return cleanLines(text.slice(0, text.length - this.#rest.length));
  }
}

/** A URL may carry a user and a password, although agent.toml has a token file for that. */
export function hidePassword(text: string): string {
  return text.replaceAll(/\b(https?:\/\/)[^/\s@]+@/g, "$1");
}

/** Hides them in every text of plain data. */
export function hidePasswords<T>(data: T): T {
  const hide = (value: unknown): unknown => {
    if (typeof value === "string") return hidePassword(value);
    if (typeof value !== "object" || value === null) return value;
    if (Array.isArray(value)) return value.map(hide);
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, hide(entry)]));
  };
  return hide(data) as T;
}
