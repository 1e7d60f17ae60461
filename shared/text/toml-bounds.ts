// How deep a TOML text nests and how much it holds, told before a parser sees it: parsers spend stack and time by these.
// Only read-toml.ts asks. One pass over the text, no recursion, never throws; it need not know whether the text is valid.

/** What a text may be. */
export interface TomlBounds {
  /** The most tables and lists inside one another; each part of a dotted key is a table. */
  depth: number;
  /** The most names and values, keys in dotted parts counted one by one. */
  values: number;
}

/** Where a text leaves its bounds, and which one. Line and column count from 1. */
export interface BoundsFault {
  bound: keyof TomlBounds;
  line: number;
  column: number;
}

/** Finds the first place at which a text is deeper or holds more than it may. */
export function findBoundsFault(text: string, bounds: TomlBounds): BoundsFault | undefined {
  const nesting = new Nesting();
  let values = 0;
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at] ?? "";
    if (sign === "#") at = findLineEnd(text, at) - 1;
    else if (sign === '"' || sign === "'") at = findStringEnd(text, at, sign) - 1;
    else if (SIGNS.has(sign)) {
      if (COUNTED.has(sign)) values += 1;
      nesting.step(sign);
      if (nesting.depth > bounds.depth) return { bound: "depth", ...placeOf(text, at) };
      if (values > bounds.values) return { bound: "values", ...placeOf(text, at) };
    }
  }
  return undefined;
}

/** What begins a name or a value. */
const COUNTED: ReadonlySet<string> = new Set([".", "=", ",", "[", "{"]);
const SIGNS: ReadonlySet<string> = new Set([...COUNTED, "]", "}", "\n"]);

/** How many tables and lists are open at a place. A dot in a number counts too, which is one at most. */
class Nesting {
  /** The depth at which each open bracket began. */
  readonly #open: number[] = [];
  #header = 0;
  #dots = 0;
  #isHeader = false;
  /** True from the `=` of a line to its end. */
  #hasKey = false;

  get depth(): number {
    return (this.#open.at(-1) ?? this.#header) + this.#dots + 1;
  }

  step(sign: string): void {
    const inside = this.#open.length > 0;
    if (sign === ".") this.#dots += 1;
    else if (sign === "=") this.#hasKey = true;
    else if (sign === "[" || sign === "{") this.#begin(inside);
    else if (inside) this.#endEntry(sign);
    else if (sign === "\n") this.#endLine();
    else if (this.#isHeader && sign === "]") this.#endHeader();
  }

  #begin(inside: boolean): void {
    // A line that begins with a bracket names a table, and is no list.
    if (!inside && !this.#hasKey) {
      this.#isHeader = true;
      this.#header = 0;
    } else this.#open.push(this.depth);
    this.#dots = 0;
  }

  /** A list's or an inline table's entry ends with a comma, a line or the bracket. */
  #endEntry(sign: string): void {
    this.#dots = 0;
    if (sign === "]" || sign === "}") this.#open.pop();
  }

  /** A list of tables has two brackets and is one deeper, which is counted for a plain table too. */
  #endHeader(): void {
    this.#header = Math.max(this.#header, this.#dots + 2);
    this.#dots = 0;
  }

  #endLine(): void {
    this.#dots = 0;
    this.#isHeader = false;
    this.#hasKey = false;
  }
}

function findLineEnd(text: string, at: number): number {
  const end = text.indexOf("\n", at);
  return end === -1 ? text.length : end;
}

/** The place behind a string. One of a single line ends with its line, whether or not it was closed. */
function findStringEnd(text: string, start: number, quote: string): number {
  const isLong = text.startsWith(quote.repeat(3), start);
  const close = isLong ? quote.repeat(3) : quote;
  for (let at = start + close.length; at < text.length; at += 1) {
    const sign = text[at];
    if (sign === "\\" && quote === '"') at += 1;
    else if (sign === "\n" && !isLong) return at;
    else if (sign === quote && text.startsWith(close, at)) return isLong ? passQuotes(text, at + 3, quote) : at + 1;
  }
  return text.length;
}

/** Up to two more quotes at the end of a long string are its content. */
function passQuotes(text: string, at: number, quote: string): number {
  return text.startsWith(quote.repeat(2), at) ? at + 2 : text.startsWith(quote, at) ? at + 1 : at;
}

export function placeOf(text: string, at: number): { line: number; column: number } {
  const before = text.slice(0, at);
  return { line: before.split("\n").length, column: at - before.lastIndexOf("\n") };
}
