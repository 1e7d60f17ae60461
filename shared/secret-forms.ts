// The forms in which a program may print a value: what the redactor looks for. Pure; only redactor.ts uses it.

/** Shorter forms are not looked for: they would be found everywhere. In characters, and so in bytes at least. */
export const LEAST_LENGTH = 6;

/** A line of a value of several lines (a key in PEM) is a secret by itself from this length on. */
const LEAST_LINE = 16;
/** Of a base64 text so much at either end depends on what stands beside the value. */
const BASE64_EDGE = 4;
/** The widths at which programs break base64 into lines: coreutils and MIME, PEM. */
const BASE64_WIDTHS = [76, 64];

/** Every form of a value that is looked for: as it is, in JSON, in a URL, in base64 and in hex. */
export function listForms(value: string): string[] {
  const lines = value.split(/\r?\n/).filter((line) => line.length >= LEAST_LINE);
  const plain = [value, value.trim(), ...(value.includes("\n") ? lines : [])];
  const forms = plain.flatMap((text) => {
    const bytes = Buffer.from(text);
    const [url, hex] = [encodeURIComponent(text), bytes.toString("hex")];
    return [
      ...[text, JSON.stringify(text).slice(1, -1), new URLSearchParams([["", text]]).toString().slice(1)],
      ...[url, url.replaceAll(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()), hex, hex.toUpperCase()],
      ...listBase64(bytes),
    ];
  });
  return [...new Set(forms)].filter((form) => form.length >= LEAST_LENGTH);
}

/**
 * Base64 of the value alone, also broken into lines, and the middle of it where it stands inside a longer text, at each of
 * three places.
 */
function listBase64(bytes: Buffer): string[] {
  if (bytes.length < LEAST_LENGTH) return [];
  const whole = encode(bytes);
  const inner = [0, 1, 2].map((shift) => {
    const padded = encode(Buffer.concat([Buffer.alloc(shift), bytes]));
    return padded.slice(shift === 0 ? 0 : BASE64_EDGE, -BASE64_EDGE);
  });
  const lines = BASE64_WIDTHS.flatMap((width) => breakLines(whole, width));
  const long = [...inner, ...lines].filter((form) => form.length >= 2 * LEAST_LENGTH);
  return [whole, ...long].flatMap((form) => [form, form.replaceAll("+", "-").replaceAll("/", "_")]);
}

function encode(bytes: Buffer): string {
  return bytes.toString("base64").replaceAll("=", "");
}

function breakLines(text: string, width: number): string[] {
  if (text.length <= width) return [];
  return Array.from({ length: Math.ceil(text.length / width) }, (_, index) => {
    return text.slice(index * width, (index + 1) * width);
  });
}
