// The forms in which a program may print a value: what the redactor looks for. Pure; only redactor.ts uses it.

/** Shorter forms are not looked for: they would be found everywhere. In characters, and so in bytes at least. */
export const LEAST_LENGTH = 6;

/** A line of a value of several lines (a key in PEM) is a secret by itself from this length on. */
const LEAST_LINE = 16;
/** Of a base64 text so much at either end depends on what stands beside the value. */
const BASE64_EDGE = 4;
/** A line break may fall into the first characters of one: then it is known by what stands after it. */
const BREAKABLE = 4;

/** One form; `breaks` says that programs write it in lines of any width. */
export interface Form {
  text: string;
  breaks: boolean;
}

/** Every form of a value that is looked for: as it is, in JSON, in a URL, in base64 and in hex. */
export function listForms(value: string): Form[] {
  const lines = value.split(/\r?\n/).filter((line) => line.length >= LEAST_LINE);
  const plain = [value, value.trim(), ...(value.includes("\n") ? lines : [])];
  const texts = plain.flatMap((text) => {
    const [url, hex] = [encodeURIComponent(text), Buffer.from(text).toString("hex")];
    return [
      text,
      JSON.stringify(text).slice(1, -1),
      new URLSearchParams([["", text]]).toString().slice(1),
      url,
      url.replaceAll(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()),
      hex,
      hex.toUpperCase(),
    ];
  });
  const encoded = new Set(plain.flatMap((text) => listBase64(Buffer.from(text))));
  const forms = [
    ...[...new Set(texts)].filter((text) => !encoded.has(text)).map((text) => ({ text, breaks: false })),
    ...[...encoded].map((text) => ({ text, breaks: true })),
  ];
  return forms.filter(({ text }) => text.length >= LEAST_LENGTH);
}

/** Base64 of the value alone, and the middle of it where it stands inside a longer text, at each of three places. */
function listBase64(bytes: Buffer): string[] {
  if (bytes.length < LEAST_LENGTH) return [];
  const inner = [0, 1, 2].map((shift) => {
    const padded = encode(Buffer.concat([Buffer.alloc(shift), bytes]));
    return padded.slice(shift === 0 ? 0 : BASE64_EDGE, -BASE64_EDGE);
  });
  const long = [encode(bytes), ...inner.filter((form) => form.length >= 2 * LEAST_LENGTH)];
  const starts = long.flatMap((form) => {
    const later = Array.from({ length: BREAKABLE }, (_, index) => form.slice(index + 1));
    return [form, ...later.filter((rest) => rest.length >= 2 * LEAST_LENGTH)];
  });
  return starts.flatMap((form) => [form, form.replaceAll("+", "-").replaceAll("/", "_")]);
}

function encode(bytes: Buffer): string {
  return bytes.toString("base64").replaceAll("=", "");
}
