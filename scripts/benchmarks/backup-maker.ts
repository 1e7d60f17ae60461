// The child of the benchmark of backups: makes one encrypted backup of what a program prints, into a directory, with the agent's own
// pipeline and the flags of its child; prints when it was done with what, and the most
// memory that it had.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";

import { makeBackup } from "../../agent/backup/pipeline.ts";
import { openLocalRepository } from "../../agent/backup/repository/local-repository.ts";
import type { Repository } from "../../agent/backup/repository/repository-port.ts";

const [, , directory = "", recipient = "", magic = "", ...argv] = process.argv;
const [program = "", ...parameters] = argv;
const local = openLocalRepository("local", directory);
/** Times by the wall clock: the one who has started this process knows when that was. */
const readNow = (): number => performance.timeOrigin + performance.now();
let writtenMs = 0;
/** Says when the first file, which is the dump, is whole and on disk: what comes then is its reading back, and the record. */
const repository: Repository = {
  ...local,
  create: async (folder, name) => {
    const pending = await local.create(folder, name);
    return {
      ...pending,
      publish: async () => {
        await pending.publish();
        if (writtenMs === 0) writtenMs = readNow();
      },
    };
  },
};
const { record } = await makeBackup(
  {
    folder: { node: "bench", service: "bench", store: "db" },
    engine: "command",
    trigger: "asked",
    image: "none",
    recipients: [recipient],
    keepUntilMs: undefined,
    describeRestore: () => [],
  },
  {
    repositories: [{ name: "local", open: () => Promise.resolve(repository) }],
    nowMs: () => Date.now(),
    listParts: () =>
      Promise.resolve([
        {
          kind: "database",
          content: "all",
          label: "",
          ending: ".dump",
          form: { heads: magic === "" ? [] : [{ at: 0, text: magic }], tail: "", minBytes: 1, warnCodes: [] },
          begin: () => {
            const child = spawn(program, parameters, { stdio: ["ignore", "pipe", "inherit"] });
            const ended = new Promise<number>((resolve) => child.once("close", (code) => resolve(code ?? 1)));
            return Promise.resolve({
              output: child.stdout as AsyncIterable<Uint8Array>,
              ended: ended.then((exitCode) => ({ exitCode, stderr: "", outOfMemory: false })),
              cancel: async () => void child.kill("SIGKILL"),
            });
          },
        },
      ]),
  },
);
const endedMs = readNow();
const peakKib = Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1] ?? 0);
const bytes = record.files.reduce((sum, { plain }) => sum + plain.bytes, 0);
console.log(JSON.stringify({ endedMs, writtenMs, peakKib, bytes }));
