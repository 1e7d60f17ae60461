// Random hostile repositories, by seed: files of every kind, size, name and encoding, directories of any depth, on disk and in
// Git, in this node's directory and in another's. Whatever they are, only the services of bad files are touched, the reading
// and building of a turn stays short, and good services are read as they were. 150 seeds of each here, 10,000 with ORCA_SLOW=1.

import { existsSync, lstatSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { describeUnread } from "../../../shared/text/words/source-words.ts";
import { buildDesired, type Built } from "../../../agent/desired/build/build.ts";
import { ParseCache } from "../../../agent/desired/repository/repository.ts";
import type { DesiredSettings } from "../../../agent/desired/build/desired-settings.ts";
import { systemClock } from "../../../agent/host/os/clock.ts";
import { DirectorySource } from "../../../agent/sources/directory/directory-source.ts";
import { RoutedCache } from "../../../agent/sources/git/store/git-routed-cache.ts";
import { decodeAnswer, encodeRead } from "../../../agent/sources/git/poll/git-exchange.ts";
import { readTree } from "../../../agent/sources/git/store/git-tree.ts";
import { buildStrictPolicy } from "../../../shared/policy/policy.ts";
import { STAND_IN_FACTS } from "../../../shared/secret/secret-facts.ts";
import type { Snapshot } from "../../../shared/state/snapshot.ts";
import { templates } from "../../../shared/text/template.ts";
import { type Kind, KINDS, plantEntry } from "../../builders/node/hostile-directory.ts";
import { MemoryObjects } from "../../builders/node/memory-objects.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { Draw } from "../../builders/node/draw.ts";
import { findKeptHash } from "../../../shared/state/file-content.ts";

const SEEDS = process.env["ORCA_SLOW"] === "1" ? 10_000 : 150;
/** On a machine that does other things meanwhile; by the CPU time of this process, which waits for nobody. */
const LONGEST_MS = 1_000;

const FLEET = `[nodes.vm1]
address = "10.0.0.1"
env = "prod"
memory = "8GiB"
[nodes.vm2]
address = "10.0.0.2"
env = "prod"
memory = "8GiB"
`;
const GOOD = {
  "fleet.toml": FLEET,
  "manifests/vm1/a.toml": buildManifest({ top: 'wants = ["vm2/web"]' }),
  "manifests/vm1/b.toml": buildManifest({
    tables: '[[files]]\nsource = "files/b.conf"\ntarget = "/b"\ntemplate = true',
  }),
  "manifests/vm1/files/b.conf": "{% for route in routes %}{{ route.host }}{% endfor %}",
  "manifests/vm2/web.toml": buildManifest({ tables: '[[routes]]\nhost = "web.example"\nport = 80' }),
};
/** Manifests that are wrong in themselves. */
const TEXTS = [
  `"\\u0061"${".a".repeat(4_000)} = 1\n`,
  `a${".a".repeat(300_000)} = 1\n`,
  "a.b.c.d = 1\n".repeat(40_000),
  `x = [${"1,".repeat(400_000)}]`,
  `requires = [${'"zzz", '.repeat(90_000)}]`,
  `${buildManifest()}[[routes]]\nhost = "web.example"\nport = 80\npath = "/\\n  http-request deny"\n`,
  buildManifest({ tables: '[[files]]\nsource = "files/evil"\ntarget = "/e"\ntemplate = true' }),
  buildManifest({ tables: `[env]\nA = "${"x".repeat(900_000)}"` }),
  "\uFEFF# only a mark",
  "= = =",
];
const NAMES = [
  "x.toml",
  "__proto__.toml",
  "constructor.toml",
  "A.toml",
  "a b.toml",
  "\u00ff\u00fe.toml",
  "e\u001b[31m.toml",
  `${"n".repeat(200)}.toml`,
  "files/evil",
  "files/\u00ff",
  "deep/deep/x",
  ".toml",
  ".hidden.toml",
  "files",
];
const CONTENTS = ["{% for i in (1..9999999) %}{% endfor %}", "{{ node }}".repeat(30_000), "{% if ".repeat(5_000), "x"];

/** What is put somewhere; a kind stands for what a disk can hold, in Git for a mode. */
interface Plant {
  node: "vm1" | "vm2";
  /** Latin-1: each character is a byte. */
  name: string;
  kind: Kind | "text";
  text: string;
}

function drawPlants(draw: Draw): Plant[] {
  const kinds = Object.keys(KINDS) as Kind[];
  return Array.from({ length: 1 + draw.below(4) }, () => ({
    node: draw.pick(["vm1", "vm2"]),
    name: draw.below(8) === 0 ? `${"d/".repeat(1 + draw.below(60))}${draw.pick(["x", "x.toml"])}` : draw.pick(NAMES),
    kind: draw.below(2) === 0 ? draw.pick(kinds) : "text",
    text: draw.below(4) === 0 ? draw.pick(CONTENTS) : draw.pick(TEXTS),
  }));
}

const SETTINGS: DesiredSettings = {
  node: "vm1",
  policy: buildStrictPolicy(),
  standIns: undefined,
  address: undefined,
  ports: "as-written",
  budget: "enforce",
  hostNotes: [],
  assumeDataMounted: false,
  frontImage: undefined,
  agentPorts: [],
  templates,
};

function build(snapshot: Snapshot): Promise<Built> {
  return buildDesired({
    snapshot,
    inForce: undefined,
    storedContents: new Map(),
    adopted: [],
    allowedRemovals: 0,
    host: { realPath: (source) => Promise.resolve(source) },
    settings: SETTINGS,
    cache: new ParseCache(),
    secrets: { facts: STAND_IN_FACTS, standings: new Map(), late: new Set(), notes: [] },
    nowMs: 0,
  });
}

/** Reads, builds, and looks at what became of the good services; the time is this thread's own. */
async function expectUntouched(seed: number, read: () => Promise<Snapshot>, plants: readonly Plant[]): Promise<void> {
  const before = process.cpuUsage();
  const { desired } = await build(await read());
  const { user, system } = process.cpuUsage(before);
  const told = `seed ${seed}: ${JSON.stringify(plants.map(({ node, name, kind, text }) => [node, name, kind, text.slice(0, 40)]))}`;
  expect((user + system) / 1_000, told).toBeLessThan(LONGEST_MS);
  expect([desired.services.has("a"), desired.objections.has("a")], told).toEqual([true, false]);
  // files/b.conf is b's own: whoever puts a file where its directory is takes it away from b alone.
  const takesFiles = plants.some(({ node, name }) => node === "vm1" && name === "files");
  if (!takesFiles) expect([desired.services.has("b"), desired.objections.has("b")], told).toEqual([true, false]);
  const file = desired.services.get("b")?.files[0];
  if (file !== undefined) {
    const text = Buffer.from(desired.contents.get(findKeptHash(file.content) ?? "") ?? []).toString();
    expect(text.includes("web.example") && !text.includes("\n"), told).toBe(true);
  }
}

let root: string;

beforeAll(() => {
  // In memory: on a disk a seed waits five times as long for its files as it takes to read and judge them.
  root = mkdtempSync("/dev/shm/orca-hostile-");
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

function plantOnDisk(directory: string, { node, name, kind, text }: Plant): void {
  const make = kind === "text" ? (path: Buffer) => writeFileSync(path, text, { flag: "wx" }) : KINDS[kind];
  plantEntry(`${directory}/orca/manifests/${node}`, name, make);
}

test("what is planted is never written through a link that was planted before", () => {
  const directory = join(root, "links");
  const at = join(directory, "orca/manifests/vm1");
  mkdirSync(at, { recursive: true });
  const link: Plant = { node: "vm1", name: "x.toml", kind: "dangling", text: "" };
  const plants: Plant[] = [
    link,
    { ...link, kind: "text" },
    { ...link, name: "files" },
    { ...link, name: "files/evil" },
  ];
  for (const plant of plants) plantOnDisk(directory, plant);
  expect(lstatSync(join(at, "x.toml")).isFile()).toBe(true);
  expect(lstatSync(join(at, "files")).isSymbolicLink()).toBe(true);
  expect(existsSync(join(at, "nowhere"))).toBe(false);
});

describe("a hostile repository", () => {
  test(
    "on disk touches the services of its bad files alone, in a short turn",
    async () => {
      for (let seed = 0; seed < SEEDS; seed += 1) {
        const plants = drawPlants(new Draw(seed));
        const directory = join(root, String(seed));
        for (const [path, text] of Object.entries(GOOD)) {
          mkdirSync(dirname(join(directory, "orca", path)), { recursive: true });
          writeFileSync(join(directory, "orca", path), text);
        }
        for (const plant of plants) plantOnDisk(directory, plant);
        const read = async (): Promise<Snapshot> => {
          const source = new DirectorySource({ directory, node: "vm1", clock: systemClock });
          const reading = await source.read();
          if (reading.kind === "failed") throw new Error(`seed ${seed}: ${describeUnread(reading.why)}`);
          return reading.snapshot;
        };
        await expectUntouched(seed, read, plants);
        rmSync(directory, { recursive: true, force: true });
      }
    },
    SEEDS * 1_000,
  );

  test(
    "in Git touches the services of its bad files alone, in a short turn",
    async () => {
      const cacheDirectory = mkdtempSync(join(root, "cache-"));
      for (let seed = 0; seed < SEEDS; seed += 1) {
        const plants = drawPlants(new Draw(seed));
        const objects = new MemoryObjects();
        for (const [path, text] of Object.entries(GOOD)) objects.put(`orca/${path}`, Buffer.from(text));
        for (const { node, name, kind, text } of plants) {
          const content = kind === "large" ? "x".repeat(2 ** 20 + 1) : kind === "binary" ? "\u00ff\u00fe" : text;
          objects.put(`orca/manifests/${node}/${name}`, Buffer.from(content, "latin1"), MODES[kind] ?? "100644");
        }
        const commit = objects.commit();
        const read = async (): Promise<Snapshot> => {
          const cache = await RoutedCache.open(cacheDirectory);
          const question = { commit, path: "", node: "vm1", branch: "main" };
          const parts = await readTree(objects, question, cache);
          return decodeAnswer(encodeRead({ ...parts, notes: [], rewritten: false }), "vm1").snapshot;
        };
        await expectUntouched(seed, read, plants);
      }
    },
    SEEDS * 1_000,
  );
});

/** What Git has in place of what a disk can hold, and modes that it never writes. */
const MODES: Partial<Record<Plant["kind"], string>> = {
  fifo: "10644",
  zero: "120000",
  dangling: "120000",
  circle: "120000",
  root: "120000",
  outside: "120000",
  tty: "160000",
  noise: "100600",
};
