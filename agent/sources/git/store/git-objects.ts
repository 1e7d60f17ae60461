// Git's commit and tree objects as they are stored, taken apart. Pure: bytes in, data out, a GitFailure where they are not
// what Git writes.

import { decodeName } from "../../../../shared/manifest/file-fault.ts";
import type { CommitInfo } from "../../../../shared/state/snapshot.ts";
import { brokenAnswer } from "../wire/git-failure.ts";

/** A commit with what it points at. */
export interface GitCommit {
  tree: string;
  parents: readonly string[];
  info: CommitInfo;
}

/** One entry of a tree. */
export interface TreeEntry {
  kind: "file" | "directory" | "link" | "submodule" | "special";
  /** As people can read it: bytes that are no UTF-8 are escaped. */
  name: string;
  id: string;
}

/** Parses a commit. */
export function parseCommit(content: Uint8Array): GitCommit {
  const text = Buffer.from(content).toString("utf8");
  const end = text.indexOf("\n\n");
  // A line that begins with a space goes on from the one before, as signatures do.
  const headers = (end < 0 ? text : text.slice(0, end)).split("\n").filter((line) => !line.startsWith(" "));
  const values = (key: string): string[] =>
    headers.filter((line) => line.startsWith(`${key} `)).map((line) => line.slice(key.length + 1));
  const tree = values("tree")[0] ?? "";
  if (!/^[0-9a-f]{40}$/.test(tree)) throw brokenAnswer("no-tree");
  const message = end < 0 ? "" : text.slice(end + 2);
  const [author, committer] = [readPerson(values("author")[0]), readPerson(values("committer")[0])];
  return {
    tree,
    parents: values("parent"),
    info: {
      author: author.name,
      committer: committer.name,
      committedMs: committer.atMs,
      subject: (message.trimStart().split("\n")[0] ?? "").trim(),
      trailers: parseTrailers(message),
    },
  };
}

/** `Jane Doe <jane@example.com> 1700000000 +0100`. */
function readPerson(text = ""): { name: string; atMs: number } {
  const [, name = text, seconds = "0"] = /^(.*>) (\d{1,12}) [+-]\d{4}$/.exec(text) ?? [];
  return { name: name.trim(), atMs: Number(seconds) * 1_000 };
}

/** The lines `Key: value` of the last paragraph, where it is not the subject and holds nothing else. */
export function parseTrailers(message: string): [key: string, value: string][] {
  const paragraphs = message
    .replaceAll("\r\n", "\n")
    .trim()
    .split(/\n[ \t]*\n/);
  if (paragraphs.length < 2) return [];
  const trailers: [string, string][] = [];
  for (const line of (paragraphs.at(-1) ?? "").split("\n")) {
    const last = trailers.at(-1);
    if (/^[ \t]/.test(line) && last !== undefined) {
      last[1] += ` ${line.trim()}`;
      continue;
    }
    const [, key, value] = /^([A-Za-z0-9-]+)[ \t]*:[ \t]*(.*)$/.exec(line) ?? [];
    if (key === undefined || value === undefined) return [];
    trailers.push([key, value.trim()]);
  }
  return trailers;
}

/** Kinds by the file type in an octal mode. Other modes than Git writes are seen in old and in hostile repositories. */
const KINDS: Readonly<Record<number, TreeEntry["kind"]>> = {
  0o040000: "directory",
  0o100000: "file",
  0o120000: "link",
  0o160000: "submodule",
};

function readKind(mode: string): TreeEntry["kind"] | undefined {
  if (!/^[0-7]{1,7}$/.test(mode)) return undefined;
  return KINDS[Number.parseInt(mode, 8) & 0o170000] ?? "special";
}

/** Parses a tree. */
export function parseTree(content: Uint8Array): TreeEntry[] {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  const entries: TreeEntry[] = [];
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(0x20, at);
    const zero = bytes.indexOf(0, space);
    const kind = readKind(bytes.toString("latin1", at, Math.max(at, space)));
    if (space < 0 || zero < 0 || kind === undefined || zero + 21 > bytes.length)
      throw brokenAnswer("unreadable-directory");
    const name = decodeName(bytes.subarray(space + 1, zero));
    entries.push({ kind, name, id: bytes.toString("hex", zero + 1, zero + 21) });
    at = zero + 21;
  }
  return entries;
}
