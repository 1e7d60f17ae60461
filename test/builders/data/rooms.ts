// The table of rooms: which room may import which, and what else no file of a room may name. For test/unit/project/layers.test.ts, which
// holds every file to it and tries it against planted violations.

import { dirname, join, normalize } from "node:path";

/**
 * The floors of agent/, from the top (agent/README.md shows them): an import goes to a floor further down, or stays in its room.
 * `agent` is what lies loose in agent/, which is main.ts alone.
 */
export const FLOORS: readonly (readonly string[])[] = [
  ["agent"],
  ["cli"],
  ["daemon"],
  ["loop"],
  ["serve"],
  ["report"],
  ["drill"],
  ["sources", "secrets", "gossip", "backup", "bundle", "prune", "update", "edge", "apply", "observed", "health"],
  ["docker"],
  ["http", "help"],
  ["host"],
  ["plan", "doctor", "setup"],
  ["desired"],
  ["shared"],
];

/** The rooms that are pure, by the start of a path: no clock, no randomness, no process, no timers, no I/O (law 4). */
export const PURE: readonly string[] = [
  "agent/desired/",
  "agent/plan/",
  "agent/doctor/",
  "agent/setup/",
  "agent/gossip/core/",
  "agent/gossip/settings.ts",
  "agent/prune/core/",
  "agent/bundle/core/",
  "agent/drill/core/",
  "agent/update/core/",
  "agent/backup/core/",
  "agent/backup/wal/core/",
  "shared/",
];

/** What the pure rooms take of Node: computing alone. */
const PURE_MODULES: ReadonlySet<string> = new Set(["node:crypto", "node:util", "node:net"]);

/** Modules that only some places may name, and the law that says so. */
const GUARDED: readonly { names: RegExp; only: RegExp; law: string }[] = [
  {
    names: /^dockerode$/,
    only: /^agent\/docker\/engine\.ts$|^scripts\//,
    law: "law 2: one file of the agent speaks to dockerode",
  },
  {
    names: /^(node:)?child_process$/,
    only: /^(agent\/host\/|scripts\/)/,
    law: "no process is started but by agent/host/",
  },
];

/** Files that only some places may import, and the law that says so. */
const GUARDED_FILES: readonly { file: RegExp; only: RegExp; law: string }[] = [
  {
    file: /^agent\/docker\/writer\.ts$/,
    only: /^agent\/(docker\/|apply\/|loop\/agent\.ts$)/,
    law: "law 2: only apply/ is handed the Docker writer",
  },
  {
    file: /^agent\/docker\/(one-shot|restores)\.ts$/,
    only: /^agent\/(docker|backup|drill)\//,
    law: "law 2: beside the writer only backup/ and drill/ make containers, of a label of their own",
  },
  {
    file: /^agent\/docker\/drill-stack\.ts$/,
    only: /^agent\/(docker|drill)\//,
    law: "law 2: only drill/ makes containers like those of services, of a job's label",
  },
  {
    file: /^agent\/docker\/pruner\.ts$/,
    only: /^agent\/(docker|prune)\//,
    law: "law 2: only prune/ removes what nobody needs",
  },
  {
    file: /^agent\/docker\/receivers\.ts$/,
    only: /^agent\/(docker|backup)\//,
    law: "law 2: only backup/ receives logs, by containers of a job's label",
  },
  {
    file: /^agent\/docker\/bundled-images\.ts$/,
    only: /^agent\/(docker|bundle)\/|^agent\/cli\/bundle\//,
    law: "law 2: only bundle/ brings images into an engine beside apply/",
  },
  { file: /^test\//, only: /^test\//, law: "scripts/ and agent/ import nothing of test/" },
];

/** One file, as text. */
export interface SourceFile {
  path: string;
  text: string;
}

/** Every module that a text imports, types and dynamic imports too. */
export function listImports(text: string): string[] {
  const code = text.replaceAll(/^\s*(?:\/\/|\*|\/\*).*$/gm, "");
  const found = code.matchAll(/\b(?:from|import)\s*\(?\s*"([^"]+)"/g);
  return [...found].map(([, name]) => name ?? "");
}

/** The room that a file stands in. */
export function findRoom(path: string): string {
  const [top = "", second = "", ...rest] = path.split("/");
  if (top !== "agent") return top;
  return rest.length === 0 ? "agent" : second;
}

/** What a file does against the table, each in one line; nothing where it keeps to it. */
export function judgeImports({ path, text }: SourceFile): string[] {
  const faults: string[] = [];
  for (const name of listImports(text)) {
    if (name.startsWith(".")) faults.push(...judgeFile(path, normalize(join(dirname(path), name))));
    else faults.push(...judgeModule(path, name));
  }
  return [...faults, ...judgeFolder(path), ...judgeImpure(path, text)].map((fault) => `${path}: ${fault}`);
}

function judgeFile(from: string, to: string): string[] {
  const guarded = GUARDED_FILES.filter(({ file, only }) => file.test(to) && !only.test(from)).map(
    ({ law }) => `imports ${to}: ${law}`,
  );
  const [room, other] = [findRoom(from), findRoom(to)];
  if (isPure(from) && !isPure(to)) guarded.push(`imports ${to}: law 4: the core is pure`);
  if (room === other || !(from.startsWith("agent/") || room === "shared")) return guarded;
  const [floor, below] = [findFloor(room), findFloor(other)];
  if (floor === undefined) return [...guarded, `stands in ${room}, which is no room of the table`];
  if (below !== undefined && below > floor) return guarded;
  return [...guarded, `imports ${to}: ${room} stands ${below === floor ? "beside" : "below"} ${other}`];
}

function isPure(path: string): boolean {
  return PURE.some((start) => path.startsWith(start));
}

function findFloor(room: string): number | undefined {
  const floor = FLOORS.findIndex((rooms) => rooms.includes(room));
  return floor === -1 ? undefined : floor;
}

function judgeModule(path: string, name: string): string[] {
  if (path.startsWith("test/")) return [];
  const guarded = GUARDED.filter(({ names, only }) => names.test(name) && !only.test(path)).map(
    ({ law }) => `imports ${name}: ${law}`,
  );
  const impure = isPure(path) && name.startsWith("node:") && !PURE_MODULES.has(name);
  return impure ? [...guarded, `imports ${name}: law 4: the core is pure`] : guarded;
}

function judgeFolder(path: string): string[] {
  return /^agent\/[^/]+$/.test(path) && path !== "agent/main.ts" ? ["lies loose in agent/: it belongs in a room"] : [];
}

/** Clock, randomness and timers are arguments in the pure rooms; the linter knows the same words (.oxlintrc.json). */
const IMPURE =
  /\b(?:Date\.now|Math\.random|performance\.now|randomUUID|setTimeout|setInterval|setImmediate|process\.\w+)\b/;

function judgeImpure(path: string, text: string): string[] {
  if (!isPure(path)) return [];
  const code = text.replaceAll(/^\s*(?:\/\/|\*|\/\*).*$/gm, "").replaceAll(/"(?:[^"\\\n]|\\.)*"/g, '""');
  const word = IMPURE.exec(code.replaceAll(/\/\/.*$/gm, ""))?.[0];
  return word === undefined ? [] : [`says ${word}: law 4: the core is pure`];
}
