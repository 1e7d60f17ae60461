// A value that cannot be printed. Only the code that hands it to a container calls `expose`.

import { inspect } from "node:util";

const SHOWN = "[REDACTED]";

/** Holds a secret so that logging, JSON and string concatenation show `[REDACTED]`. */
export class Secret {
  readonly #value: string;
  constructor(value: string) {
    this.#value = value;
  }
  /** The value itself, for the one place that delivers it. */
  expose(): string {
    return this.#value;
  }
  toString(): string {
    return SHOWN;
  }
  toJSON(): string {
    return SHOWN;
  }
  [inspect.custom](): string {
    return SHOWN;
  }
}
