// The marked secrets of the docker lane, and a finder of them in any bytes, in every encoding in which a program might write
// them. Used by the sweeps of every node and by tests that look for values of their own.

import { gunzipSync, inflateSync } from "node:zlib";

/** What every service of the docker lane is given; path → value. Each has characters that change in some encoding. */
export const MARKS: Readonly<Record<string, string>> = {
  "/canary/lane/PASSWORD": 'canary-3f1"one&two/three=four <ü>',
  "/canary/lane/TOKEN": "canary-77c0ffee-token-of-the-lane",
  "/canary/lane/KEY":
    "-----BEGIN KEY-----\ncanaryMC4CAQAwBQYDK2VwBCIEIJDYvh6SEqVTm50DFtMDcanaryBwYDZXRkYXRhIGlz\n-----END KEY-----",
};

/** The tables of a manifest that deliver them by file. */
export const MARKED_FILES = `[secrets.files]\n${Object.keys(MARKS)
  .map((path) => `"mark.${path.slice(path.lastIndexOf("/") + 1).toLowerCase()}" = "${path}"`)
  .join("\n")}`;

/** Shorter pieces are found by chance. */
const LEAST_BYTES = 10;
/** Of a base64 text so much at either end depends on what stands beside the value. */
const BASE64_EDGE = 4;
const GZIP_MAGIC = Buffer.from([0x1f, 0x8b, 0x08]);
const ZLIB_MAGICS = [0x01, 0x5e, 0x9c, 0xda].map((level) => Buffer.from([0x78, level]));
/** Packed inside packed inside packed. */
const DEEPEST = 3;
/** Encoders put line ends into long texts: base64 and hexdump after 60 to 76 characters. */
const LINE_ENDS = /\\r\\n|\\n|[\r\n]/g;

/** Looks for some values. */
export class CanaryFinder {
  readonly #needles: readonly { name: string; bytes: Buffer }[];

  /** @param values name → value; a hit names the value and its form, never the value */
  constructor(values: Readonly<Record<string, string>>) {
    const needles = new Map<string, { name: string; bytes: Buffer }>();
    for (const [name, value] of Object.entries(values)) {
      for (const [form, bytes] of listForms(value)) {
        const key = bytes.toString("latin1");
        if (bytes.length >= LEAST_BYTES && !needles.has(key)) needles.set(key, { name: `${name} as ${form}`, bytes });
      }
    }
    this.#needles = [...needles.values()];
  }

  /** Which values are in there, and how they are written. */
  find(where: string | Uint8Array): string[] {
    const bytes =
      typeof where === "string" ? Buffer.from(where) : Buffer.from(where.buffer, where.byteOffset, where.length);
    const found = new Set(this.findPlain(bytes));
    const text = bytes.toString("latin1");
    // Without its line ends a wrapped form is whole again.
    if (LINE_ENDS.test(text))
      for (const hit of this.findPlain(Buffer.from(text.replaceAll(LINE_ENDS, ""), "latin1"))) found.add(hit);
    for (const hit of this.#findPacked(bytes, 0)) found.add(hit);
    return [...found];
  }

  /** The same, as the bytes stand there: neither unpacked nor unwrapped. */
  findPlain(bytes: Buffer): string[] {
    return this.#needles.filter((needle) => bytes.includes(needle.bytes)).map(({ name }) => name);
  }

  #findPacked(bytes: Buffer, depth: number): string[] {
    if (depth >= DEEPEST) return [];
    return listPacked(bytes).flatMap((inner) => [
      ...this.findPlain(inner).map((hit) => `${hit}, compressed`),
      ...this.#findPacked(inner, depth + 1),
    ]);
  }
}

/** What gzip and zlib streams in there hold; a stream that ends early counts as far as it goes. */
function listPacked(bytes: Buffer): Buffer[] {
  const packed: Buffer[] = [];
  const options = { finishFlush: 2, maxOutputLength: 64 * 2 ** 20 };
  for (const [magic, unpack] of [
    [GZIP_MAGIC, gunzipSync] as const,
    ...ZLIB_MAGICS.map((zlib) => [zlib, inflateSync] as const),
  ]) {
    for (let at = bytes.indexOf(magic); at !== -1; at = bytes.indexOf(magic, at + magic.length)) {
      try {
        const inner = unpack(bytes.subarray(at), options);
        if (inner.length > 0) packed.push(inner);
      } catch {
        // It only began like one.
      }
    }
  }
  return packed;
}

function* listForms(value: string): Generator<[form: string, bytes: Buffer]> {
  const lines = value.split("\n").filter((line) => line.includes("canary"));
  for (const text of lines.includes(value) ? lines : [value, ...lines]) {
    const json = JSON.stringify(text).slice(1, -1);
    const texts: Record<string, string> = {
      "plain text": text,
      JSON: json,
      "JSON inside JSON": JSON.stringify(json).slice(1, -1),
      // Go's encoder, which the engine writes with, and strict ASCII.
      "JSON with \\u0026": json.replaceAll(/[&<>]/g, (one) => `\\u00${one.charCodeAt(0).toString(16)}`),
      "JSON in ASCII": json.replaceAll(/[^ -~]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`),
      URL: encodeURIComponent(text),
      "URL in lower case": encodeURIComponent(text).replaceAll(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()),
      form: new URLSearchParams([["", text]]).toString().slice(1),
      HTML: text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;"),
      TOML: text.replaceAll("\\", "\\\\").replaceAll('"', '\\"'),
      shell: text.replaceAll(/[^\w@%+=:,./-]/g, (one) => `\\${one}`),
    };
    for (const [form, written] of Object.entries(texts)) yield [form, Buffer.from(written)];
    const bytes = Buffer.from(text);
    yield ["hex", Buffer.from(bytes.toString("hex"))];
    yield ["hex in capitals", Buffer.from(bytes.toString("hex").toUpperCase())];
    yield ["UTF-16", Buffer.from(text, "utf16le")];
    yield ["UTF-16 of the other order", Buffer.from(text, "utf16le").swap16()];
    yield ["Latin-1", Buffer.from(text, "latin1")];
    yield* listBase64(bytes);
  }
}

/** Base64 of the value alone, and what stays the same of it wherever it stands inside a longer text. */
function* listBase64(bytes: Buffer): Generator<[form: string, bytes: Buffer]> {
  yield ["base64", Buffer.from(bytes.toString("base64").replaceAll("=", ""))];
  for (const shift of [0, 1, 2]) {
    const padded = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString("base64")
      .replaceAll("=", "");
    const inner = padded.slice(shift === 0 ? 0 : BASE64_EDGE, -BASE64_EDGE);
    yield [`base64 at place ${shift}`, Buffer.from(inner)];
    yield [`base64url at place ${shift}`, Buffer.from(inner.replaceAll("+", "-").replaceAll("/", "_"))];
  }
}
