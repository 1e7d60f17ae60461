// Why a file of a repository gives no text: its kind, its size, its encoding. It is a finding of that one file's service and
// of nothing else. Made by the sources and by lint, told by desired/. Pure; quotes nothing of the content.

import { describeSize } from "../text/size.ts";
import { describeCount } from "../text/count.ts";

/** What is wrong with one file; line and column count from 1. */
export interface FileFault {
  code: "file-kind" | "file-size" | "encoding" | "unreadable";
  line: number;
  column: number;
  message: string;
  hint: string;
}

/** The files of a revision that could not be taken. */
export interface FileFaults {
  /** Node → service → why its manifest could not be read. */
  manifests: Readonly<Record<string, Readonly<Record<string, FileFault>>>>;
  /** This node's other files, by relative path. */
  files: Readonly<Record<string, FileFault>>;
}

/** A file's content, or why there is none. */
export type ReadBytes = { ok: true; content: Uint8Array } | { ok: false; fault: FileFault };
/** A file's text, or why there is none. */
export type ReadText = { ok: true; text: string } | { ok: false; fault: FileFault };

/** The largest file that is read, the most that all files of a node may come to, and all manifests of another node. */
export const LARGEST_FILE_BYTES = 2 ** 20;
export const LARGEST_NODE_BYTES = 32 * 2 ** 20;

const PLACE = { line: 1, column: 1 };

/** A file that holds more than is read; of one that was not even fetched it is not known how much. */
export function faultOfSize(sizeBytes: number | undefined): FileFault {
  const size = sizeBytes === undefined ? "it is too large" : `it has ${describeCount(sizeBytes, "byte")}`;
  const message = `${size}, and the agent reads no file above ${describeSize(LARGEST_FILE_BYTES)}`;
  return { code: "file-size", ...PLACE, message, hint: "a manifest or a config file is a page or two" };
}

/** A file for which nothing is left, since all of its node's files come to too much; the largest go first. */
export function faultOfTotal(): FileFault {
  const message = `the files of this node come to more than ${describeSize(LARGEST_NODE_BYTES)}, and this is one of the largest`;
  return { code: "file-size", ...PLACE, message, hint: "data belongs into a volume or an image" };
}

/** What is no plain file. */
export function faultOfKind(kind: string): FileFault {
  return {
    code: "file-kind",
    ...PLACE,
    message: `it is ${kind}, and no plain file`,
    hint: "put the file itself there",
  };
}

/** A file that the disk or the system does not give. */
export function faultOfReading(why: string): FileFault {
  return { code: "unreadable", ...PLACE, message: `it cannot be read: ${why}`, hint: "" };
}

/** The text of a content, which must be UTF-8. */
export function decodeText(content: Uint8Array): ReadText {
  try {
    return { ok: true, text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content) };
  } catch {
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(content);
    const before = text.slice(0, text.indexOf("\uFFFD"));
    const [line, column] = [before.split("\n").length, before.length - before.lastIndexOf("\n")];
    return {
      ok: false,
      fault: { code: "encoding", line, column, message: "this is no UTF-8", hint: "save the file as UTF-8" },
    };
  }
}

/** A name as people can read it: bytes that are no UTF-8 and signs that a terminal acts on are written as `\xff`. */
export function decodeName(name: Uint8Array): string {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(name);
  } catch {
    text = Array.from(name, (byte) => (byte < 0x80 ? String.fromCodePoint(byte) : escapeByte(byte))).join("");
  }
  return text;
}

function escapeByte(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, "0")}`;
}

/** A name for messages: control signs are written as `\x1b`. */
export function showName(name: string): string {
  // oxlint-disable-next-line no-control-regex
  return name.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, (sign) => escapeByte(sign.codePointAt(0) ?? 0));
}
