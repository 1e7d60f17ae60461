// What a process at rest gives back: in a real process, whose pages the kernel counts.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { listProgramMappings } from "../../../agent/host/os/resident-memory.ts";

const MODULE = fileURLToPath(new URL("../../../agent/host/os/resident-memory.ts", import.meta.url));

interface Look {
  fileKb: number;
  heapBytes: number;
}

/** Says what is resident before and after, and that what ran before still runs. */
const PROGRAM = `
import { readFileSync } from "node:fs";
const { giveBackMemory } = await import(process.argv[2]);
const read = () => {
  const text = readFileSync("/proc/self/smaps_rollup", "utf8");
  const kb = (key) => Number(new RegExp("^" + key + ":\\\\s+(\\\\d+) kB", "m").exec(text)[1]);
  return { fileKb: kb("Rss") - kb("Anonymous"), heapBytes: process.memoryUsage().heapUsed };
};
const make = () => Array.from({ length: 200_000 }, (_, index) => ({ index }));
make();
const before = read();
await giveBackMemory();
const after = read();
console.log(JSON.stringify({ before, after, sum: make().reduce((sum, { index }) => sum + index, 0) }));
`;

test("pages of the program's files and garbage are given back, and the program goes on", () => {
  const directory = mkdtempSync(join(tmpdir(), "orca-resident-"));
  try {
    const program = join(directory, "program.mjs");
    writeFileSync(program, PROGRAM);
    const text = execFileSync(process.execPath, ["--expose-gc", program, MODULE], { encoding: "utf8" });
    const { before, after, sum } = JSON.parse(text) as { before: Look; after: Look; sum: number };
    expect(after.fileKb).toBeLessThan(before.fileKb / 2);
    expect(after.heapBytes).toBeLessThan(before.heapBytes);
    expect(sum).toBe(19_999_900_000);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

const mapping = (head: string, anonymousKb = 0): string =>
  `${head}\nSize: 8 kB\nRss:                   8 kB\nAnonymous:             ${anonymousKb} kB\nVmFlags: rd ex mr mw me`;

test("only what can be read again from a file is dropped: never what was written to, is shared or belongs to no file", () => {
  const smaps = [
    mapping("00400000-00746000 r--p 00000000 fe:00 5317881                            /usr/lib/orca/node"),
    mapping("0074a000-03044000 r-xp 0034a000 fe:00 5317881                            /usr/lib/orca/node"),
    // What the loader wrote before it closed it for writing.
    mapping("06b52000-06b56000 r--p 06751000 fe:00 5317881                            /usr/lib/orca/node", 16),
    mapping("06b56000-06b7d000 rw-p 06755000 fe:00 5317881                            /usr/lib/orca/node"),
    mapping("7f0000000000-7f0000008000 r--s 00000000 fe:00 77                         /var/lib/orca/agent.db-shm"),
    mapping("7f1000000000-7f1000002000 r-xp 00000000 00:00 0                          [vdso]"),
    mapping("7f2000000000-7f2000002000 r--p 00000000 00:00 0"),
    "",
  ].join("\n");
  expect(listProgramMappings(smaps)).toEqual([
    { begin: 0x40_0000, bytes: 0x34_6000 },
    { begin: 0x74_a000, bytes: 0x28f_a000 },
  ]);
  expect(listProgramMappings("")).toEqual([]);
});
