// A secret inside a template: it stays marked through filters, and goes into the text as it is only where nothing in it
// could end or begin something there. Otherwise the template must say how it is to be written. Only template.ts uses it.

/** What is noticed while a template is rendered with marks in place of values. */
export interface SecretMark {
  decides: boolean;
}

/** What ends or begins something in the usual formats: space, quotes, comments, variables, markup. */
const UNSAFE = /[^A-Za-z0-9_.+/=:@,%~^!*?()[\]-]/;
/** Filters whose answer is written for the place it stands in: it counts as the template's own text. */
const WRITERS: ReadonlySet<string> = new Set(["json", "jsonify", "escape", "xml_escape", "escape_once", "raw"]);
/** Filters to which it may be given beside what they work on without deciding anything. */
const JOINERS: ReadonlySet<string> = new Set(["append", "prepend", "default"]);

/** A value that a template may put into its text. LiquidJS compares it by these methods and prints it by `toString`. */
export class HeldSecret {
  readonly #name: string;
  readonly #value: string;
  /** Set while only an outline is made: then the value is a mark. */
  readonly #mark: SecretMark | undefined;

  constructor(name: string, value: string, mark?: SecretMark) {
    this.#name = name;
    this.#value = value;
    this.#mark = mark;
  }

  /** For a filter; what comes out of it is held again by `hold`. */
  open(): string {
    return this.#value;
  }

  /** What a filter has made of it. */
  hold(value: string): HeldSecret {
    return new HeldSecret(this.#name, value, this.#mark);
  }

  /** Notes that what else is in the text hangs on it. */
  decide(): void {
    if (this.#mark !== undefined) this.#mark.decides = true;
  }

  toString(): string {
    if (this.#mark === undefined && UNSAFE.test(this.#value)) throw new UnsafeSecret(this.#name);
    return this.#value;
  }

  toJSON(): string {
    return "[REDACTED]";
  }

  equals(other: unknown): boolean {
    return this.#compare(other, (value, text) => value === text);
  }

  gt(other: unknown): boolean {
    return this.#compare(other, (value, text) => value > text);
  }

  geq(other: unknown): boolean {
    return this.#compare(other, (value, text) => value >= text);
  }

  lt(other: unknown): boolean {
    return this.#compare(other, (value, text) => value < text);
  }

  leq(other: unknown): boolean {
    return this.#compare(other, (value, text) => value <= text);
  }

  /** For `contains`. */
  indexOf(other: unknown): number {
    this.decide();
    return this.#value.indexOf(String(unwrap(other)));
  }

  #compare(other: unknown, judge: (value: string, text: string) => boolean): boolean {
    this.decide();
    const text = unwrap(other);
    return typeof text === "string" && judge(this.#value, text);
  }
}

/** A value that is not written as it is; shows nothing of it. */
export class UnsafeSecret extends Error {
  constructor(name: string) {
    super(describeUnsafe(name));
    this.name = "UnsafeSecret";
  }
}

function describeUnsafe(name: string): string {
  const shown = /^[A-Za-z_]\w*$/.test(name) ? `secrets.${name}` : `secrets["${name}"]`;
  return (
    `the value of ${shown} has characters that could end the text around it: say how it is written there, as ` +
    `{{ ${shown} | json }} for a quoted text, or with url_encode, escape or base64_encode, or {{ ${shown} | raw }} as it is`
  );
}

type Filter = (this: unknown, ...parameters: unknown[]) => unknown;

/** Wraps every filter, so that it works on values, and its answer is held like what it was made from. */
export function guardFilters(filters: Record<string, unknown>): void {
  for (const [name, filter] of Object.entries(filters)) {
    const known = filter as Filter | { handler: Filter; raw: boolean };
    if (typeof known === "function") filters[name] = guard(name, known);
    else filters[name] = { ...known, handler: guard(name, known.handler) };
  }
}

function guard(name: string, filter: Filter): Filter {
  return function* (this: unknown, ...parameters: unknown[]) {
    const [piped, ...others] = parameters;
    const beside = findHeld(others);
    const held = findHeld(piped) ?? beside;
    if (held === undefined) return (yield filter.apply(this, parameters)) as unknown;
    if (beside !== undefined && !JOINERS.has(name)) beside.decide();
    const answer = (yield filter.apply(this, parameters.map(unwrap))) as unknown;
    return WRITERS.has(name) ? answer : rewrap(answer, held);
  };
}

function findHeld(value: unknown): HeldSecret | undefined {
  if (value instanceof HeldSecret) return value;
  if (!Array.isArray(value)) return undefined;
  for (const entry of value) {
    const found = findHeld(entry);
    if (found !== undefined) return found;
  }
  return undefined;
}

function unwrap(value: unknown): unknown {
  if (value instanceof HeldSecret) return value.open();
  return Array.isArray(value) ? value.map(unwrap) : value;
}

function rewrap(value: unknown, held: HeldSecret): unknown {
  if (typeof value === "string") return held.hold(value);
  return Array.isArray(value) ? value.map((entry) => rewrap(entry, held)) : value;
}
