// Takes secret values out of what programs have printed: log lines, output of commands, error messages, streams of any
// length. Works on bytes, since a stream may be cut inside a character. Never prints what it knows.

import { type Form, LEAST_LENGTH, listForms } from "./secret-forms.ts";

const SHOWN = Buffer.from("[REDACTED]");
const NOTHING = Buffer.alloc(0);
const NEWLINE = 0x0a;
const RETURN = 0x0d;

/** So many first bytes say which forms to compare; the table of their hashes spares nearly every position even that. */
const KEY_BYTES = 4;
const TABLE_BITS = 16;
/** With more forms than this it would be hit too often. */
const FEW_FORMS = 4_096;
const LARGE_TABLE_BITS = 19;
const SPREAD = 0x9e3779b1;

/** How the end of a text is understood. */
type End =
  /** More may come: what could be the beginning of a form is kept back. */
  | "open"
  /** Nothing more comes. */
  | "closed"
  /** More was there: what could be the beginning of a form, and is long enough to be told, is taken out. */
  | "cut";

/** What lies at one place: nothing, a whole form of so many bytes, or the beginning of one that the text ends in. */
type Match = { kind: "none" } | { kind: "whole"; length: number } | { kind: "begun" };

const NONE: Match = { kind: "none" };

/** What was found in one piece: what is to be shown, and from where on more must be known. */
interface Scanned {
  shown: Buffer[];
  /** Where what is kept back begins; the length of the text where nothing is. */
  heldFrom: number;
}

/** Knows the values that must not be shown. */
export class Redactor {
  /**
   * All forms, one after the other; and by their first bytes where each begins, how long it is and whether lines may break
   * in it, the longest first.
   */
  #forms: Buffer = NOTHING;
  #byKey = new Map<number, number[]>();
  #table = new Uint8Array(2 ** TABLE_BITS);
  #shift = 32 - TABLE_BITS;
  /** The beginnings of forms that are shorter than a key. */
  #beginnings = new Set<string>();

  /** Knows these values from now on, and no others; every form in which a program may print them counts. */
  learn(values: Iterable<string>): void {
    const forms = new Map<string, Form>();
    for (const value of values) for (const form of listForms(value)) forms.set(form.text, form);
    const parts = [...forms.values()]
      .map(({ text, breaks }) => ({ bytes: Buffer.from(text), breaks }))
      .toSorted((left, right) => right.bytes.length - left.bytes.length);
    this.#forms = Buffer.concat(parts.map(({ bytes }) => bytes));
    this.#byKey = new Map();
    const bits = parts.length > FEW_FORMS ? LARGE_TABLE_BITS : TABLE_BITS;
    this.#table = new Uint8Array(2 ** bits);
    this.#shift = 32 - bits;
    this.#beginnings = new Set();
    let at = 0;
    for (const { bytes: part, breaks } of parts) {
      const key = part.readInt32LE(0);
      const known = this.#byKey.get(key);
      const place = [at, part.length, breaks ? 1 : 0];
      if (known === undefined) this.#byKey.set(key, place);
      else known.push(...place);
      this.#table[Math.imul(key, SPREAD) >>> this.#shift] = 1;
      for (let length = 1; length < KEY_BYTES; length += 1) this.#beginnings.add(part.toString("latin1", 0, length));
      at += part.length;
    }
  }

  /** The text without any of them; `cut` says that it is the beginning of a longer one. */
  redact(text: string, end: "whole" | "cut" = "whole"): string {
    if (this.#byKey.size === 0) return text;
    const data = Buffer.from(text);
    const { shown } = this.scan(data, end === "cut" ? "cut" : "closed");
    // What is no valid text is left as it is where nothing was found in it.
    return shown.length === 1 && shown[0]?.length === data.length ? text : Buffer.concat(shown).toString();
  }

  /**
   * Goes through bytes once. For RedactedStream, which puts what is kept back before what comes next.
   * @param from what lies before it was shown already; a form may begin there all the same
   */
  scan(data: Buffer, end: End, from = 0): Scanned {
    if (this.#byKey.size === 0) return { shown: [data.subarray(from)], heldFrom: data.length };
    const shown: Buffer[] = [];
    let start = from;
    const show = (to: number): void => {
      if (to > start) shown.push(data.subarray(start, to));
    };
    let at = 0;
    while (at < data.length) {
      at = this.#skip(data, at);
      const match = this.#match(data, at, end);
      if (match.kind === "none") at += 1;
      else if (match.kind === "whole") {
        show(at);
        at += match.length;
        if (at > start) shown.push(SHOWN);
        start = Math.max(start, at);
      } else {
        show(at);
        return { shown, heldFrom: at };
      }
    }
    show(data.length);
    return { shown, heldFrom: data.length };
  }

  /** The next place at which a form could begin. */
  #skip(data: Buffer, from: number): number {
    const last = data.length - KEY_BYTES;
    if (from > last) return from;
    const [table, shift] = [this.#table, this.#shift];
    let key = data.readInt32LE(from);
    for (let at = from; ; at += 1) {
      if (table[Math.imul(key, SPREAD) >>> shift] === 1) return at;
      if (at === last) return at + 1;
      key = (key >>> 8) | ((data[at + KEY_BYTES] ?? 0) << 24);
    }
  }

  #match(data: Buffer, at: number, end: End): Match {
    const left = data.length - at;
    if (left < KEY_BYTES)
      return end === "open" && left > 0 && this.#beginnings.has(data.toString("latin1", at)) ? { kind: "begun" } : NONE;
    const places = this.#byKey.get(data.readInt32LE(at));
    if (places === undefined) return NONE;
    for (let index = 0; index < places.length; index += 3) {
      const [begin = 0, length = 0, breaks] = [places[index], places[index + 1], places[index + 2]];
      const { matched, to } = this.#compare(data, at, { begin, length, breaks: breaks === 1 });
      if (matched === length) return { kind: "whole", length: to - at };
      if (to < data.length) continue;
      if (end === "open") return { kind: "begun" };
      if (end === "cut" && matched >= LEAST_LENGTH) return { kind: "whole", length: to - at };
    }
    return NONE;
  }

  /** How much of a form lies at a place, and where that ends. */
  #compare(
    data: Buffer,
    at: number,
    { begin, length, breaks }: { begin: number; length: number; breaks: boolean },
  ): { matched: number; to: number } {
    let [matched, to] = [0, at];
    while (matched < length && to < data.length) {
      const byte = data[to];
      if (byte === this.#forms[begin + matched]) matched += 1;
      else if (!breaks || !isBreak(byte, data[to - 1])) break;
      to += 1;
    }
    return { matched, to };
  }
}

/** One end of a line: an endless run of them is none, or it would be kept back for ever. */
function isBreak(byte: number | undefined, before: number | undefined): boolean {
  if (before === NEWLINE) return false;
  return byte === NEWLINE || (byte === RETURN && before !== RETURN);
}

/** One stream without values: a value that is cut between two pieces is found. Holds at most the longest value. */
export class RedactedStream {
  readonly #redactor: Redactor;
  #held: Buffer = NOTHING;
  /** So many of the bytes kept back were shown all the same, since nothing came for a while. */
  #shown = 0;

  constructor(redactor: Redactor) {
    this.#redactor = redactor;
  }

  /** True while something is kept back that was not shown yet. */
  get isHolding(): boolean {
    return this.#held.length > this.#shown;
  }

  /** Takes a piece; gives what can be shown now. */
  push(chunk: Buffer): Buffer {
    return this.#scan(this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]), "open");
  }

  /**
   * Nothing came for a while: gives what is kept back of whole lines, and the few bytes of an unfinished one that tell
   * nothing. What could be the greater part of a value stays.
   */
  rest(): Buffer {
    const newline = this.#held.lastIndexOf(NEWLINE);
    const begun = Buffer.from(this.#held.subarray(newline + 1));
    // The newline itself is none of a value's, or a line that was taken out would end in nothing.
    const given = newline === -1 ? [] : [this.#end(this.#held.subarray(0, newline)), Buffer.of(NEWLINE)];
    this.#shown = Math.max(0, this.#shown - newline - 1);
    this.#held = NOTHING;
    given.push(this.#scan(begun, "open"));
    if (this.#held.length < LEAST_LENGTH) {
      given.push(this.#held.subarray(this.#shown));
      this.#shown = this.#held.length;
    }
    return Buffer.concat(given);
  }

  /** The stream has ended: gives what was kept back. */
  end(): Buffer {
    const given = this.#end(this.#held);
    this.#held = NOTHING;
    this.#shown = 0;
    return given;
  }

  #end(data: Buffer): Buffer {
    return join(this.#redactor.scan(data, "cut", Math.min(this.#shown, data.length)).shown);
  }

  #scan(data: Buffer, end: End): Buffer {
    const { shown, heldFrom } = this.#redactor.scan(data, end, this.#shown);
    this.#shown = Math.max(0, this.#shown - heldFrom);
    this.#held = heldFrom === data.length ? NOTHING : Buffer.from(data.subarray(heldFrom));
    return join(shown);
  }
}

function join(parts: readonly Buffer[]): Buffer {
  return parts.length === 1 ? (parts[0] ?? NOTHING) : Buffer.concat(parts);
}
