// Takes secret values out of text that programs have printed: log lines, output of commands, error messages. Values are
// known by their first characters, so that a text is gone through once however many there are. Never prints what it knows.

const SHOWN = "[REDACTED]";

/** Shorter values are not looked for: they would be found everywhere. */
const LEAST_LENGTH = 6;
/** So many first characters say which values to compare. */
const KEY_LENGTH = 6;
/** A line of a value of several lines (a key in PEM) is a secret by itself from this length on. */
const LEAST_LINE = 16;
/** Of a base64 text so much at either end depends on what stands beside the value. */
const BASE64_EDGE = 4;

/** Knows the values that must not be shown. */
export class Redactor {
  #byStart = new Map<string, string[]>();

  /** Knows these values from now on, and no others; every form in which a program may print them counts. */
  learn(values: Iterable<string>): void {
    const forms = new Set<string>();
    for (const value of values) for (const form of listForms(value)) forms.add(form);
    this.#byStart = new Map();
    // The longest first: a value that begins like another one is taken out whole.
    for (const form of [...forms].toSorted((left, right) => right.length - left.length)) {
      const start = form.slice(0, KEY_LENGTH);
      const known = this.#byStart.get(start);
      if (known === undefined) this.#byStart.set(start, [form]);
      else known.push(form);
    }
  }

  /** The text without any of them. */
  redact(text: string): string {
    if (this.#byStart.size === 0) return text;
    let [result, from, at] = ["", 0, 0];
    while (at + KEY_LENGTH <= text.length) {
      const found = this.#byStart.get(text.slice(at, at + KEY_LENGTH))?.find((form) => text.startsWith(form, at));
      if (found === undefined) at += 1;
      else {
        result += `${text.slice(from, at)}${SHOWN}`;
        at += found.length;
        from = at;
      }
    }
    return from === 0 ? text : result + text.slice(from);
  }
}

/** Every form of a value that is looked for: as it is, in JSON, in a URL, in base64 and in hex. */
function listForms(value: string): string[] {
  const lines = value.split(/\r?\n/).filter((line) => line.length >= LEAST_LINE);
  const plain = [value, value.trim(), ...(value.includes("\n") ? lines : [])];
  const forms = plain.flatMap((text) => {
    const bytes = new TextEncoder().encode(text);
    return [
      text,
      JSON.stringify(text).slice(1, -1),
      encodeURIComponent(text),
      new URLSearchParams([["", text]]).toString().slice(1),
      Buffer.from(bytes).toString("hex"),
      ...listBase64(text, bytes),
    ];
  });
  return [...new Set(forms)].filter((form) => form.length >= LEAST_LENGTH);
}

/** Base64 of the value alone, and the middle of it where it stands inside a longer text, at each of three places. */
function listBase64(text: string, bytes: Uint8Array): string[] {
  if (text.length < LEAST_LENGTH) return [];
  const whole = Buffer.from(bytes).toString("base64").replaceAll("=", "");
  const inner = [0, 1, 2].map((shift) => {
    const padded = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString("base64")
      .replaceAll("=", "");
    return padded.slice(shift === 0 ? 0 : BASE64_EDGE, -BASE64_EDGE);
  });
  const long = inner.filter((form) => form.length >= 2 * LEAST_LENGTH);
  return [whole, ...long].flatMap((form) => [form, form.replaceAll("+", "-").replaceAll("/", "_")]);
}
