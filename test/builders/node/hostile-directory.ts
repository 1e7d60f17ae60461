// Entries of every kind that a directory can hold, for tests of what reads a repository from disk. Each is made as others
// would make it: a FIFO by mkfifo, a name by its bytes.

import { execFileSync } from "node:child_process";
import { lstatSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";

/** What can stand where a plain file is expected. */
export const KINDS = {
  fifo: (path: Buffer) => execFileSync("mkfifo", [path.toString("latin1")], { encoding: "latin1" }),
  zero: (path: Buffer) => symlinkSync("/dev/zero", path),
  tty: (path: Buffer) => symlinkSync("/dev/tty", path),
  dangling: (path: Buffer) => symlinkSync("nowhere", path),
  circle: (path: Buffer) => symlinkSync(path, path),
  root: (path: Buffer) => symlinkSync("/", path),
  outside: (path: Buffer) => symlinkSync("/etc/passwd", path),
  directory: (path: Buffer) => mkdirSync(path),
  large: (path: Buffer) => writeFileSync(path, "x".repeat(2 ** 20 + 1)),
  binary: (path: Buffer) => writeFileSync(path, Buffer.from([0xff, 0xfe, 0x00, 0x80])),
  empty: (path: Buffer) => writeFileSync(path, ""),
  noise: (path: Buffer) => writeFileSync(path, "\u0000[[[\u{1F433} = '''"),
} as const;

export type Kind = keyof typeof KINDS;

/**
 * Puts an entry somewhere below a directory, in place of what had its name. Never through a link, which may lead to the root
 * of this host: where no directory is on its way, nothing is put.
 * @param name Latin-1: each character is a byte
 */
export function plantEntry(directory: string, name: string, make: (path: Buffer) => void): void {
  const parts = name.split("/");
  const pathOf = (depth: number): Buffer =>
    Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(parts.slice(0, depth).join("/"), "latin1")]);
  for (let depth = 1; depth < parts.length; depth += 1) {
    const found = lstatSync(pathOf(depth), { throwIfNoEntry: false });
    if (found === undefined) mkdirSync(pathOf(depth));
    else if (!found.isDirectory()) return;
  }
  const path = pathOf(parts.length);
  rmSync(path, { recursive: true, force: true });
  make(path);
}
