// `orca lint` over ten thousand manifests: CPU of the bundle beside Node doing nothing.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Extent } from "./extent.ts";
import { median, ROOT } from "./lab.ts";
import type { Row } from "./table.ts";

/** Measures. */
export async function measureLint({ rounds, isSmoke }: Extent): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "orca-bench-lint-"));
  const each = isSmoke ? 5 : 100;
  const made = spawnSync(
    process.execPath,
    [join(ROOT, "scripts", "make-repository.ts"), directory, "--nodes", `${each}`, "--services", `${each}`],
    { encoding: "utf8" },
  );
  if (made.status !== 0) throw new Error(made.stderr);
  const times = Array.from({ length: rounds }, () => cpuOf([join(ROOT, "dist", "orca.mjs"), "lint", directory]));
  const floor = median(Array.from({ length: rounds }, () => cpuOf(["-e", "0"])));
  rmSync(directory, { recursive: true });
  const ms = median(times);
  return [
    {
      question: `lint ${(each * each).toLocaleString("en")} manifests`,
      orca: `${(ms / 1_000).toFixed(2)} s CPU`,
      beside: `bare Node: ${(floor / 1_000).toFixed(2)} s`,
      bar: { text: "< 3 s CPU", met: ms < 3_000 },
    },
  ];
}

/** User and system time of one run, in milliseconds. */
function cpuOf(parameters: readonly string[]): number {
  const { stderr, status } = spawnSync(
    "/bin/bash",
    ["-c", 'TIMEFORMAT="%U %S"; time "$@" >/dev/null', "bash", process.execPath, ...parameters],
    { encoding: "utf8" },
  );
  if (status !== 0) throw new Error(stderr);
  const [user = 0, system = 0] = (stderr.trim().split("\n").at(-1) ?? "").split(" ").map(Number);
  return (user + system) * 1_000;
}
