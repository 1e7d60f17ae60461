// Entries of every kind that a directory can hold, for tests of what reads a repository from disk. Each is made as others
// would make it: a FIFO by mkfifo, a name by its bytes.

import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";

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
