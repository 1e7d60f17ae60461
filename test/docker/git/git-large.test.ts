// A repository of 1,000 nodes × 20 manifests and 10,000 commits: what the daemon and the process that fetches take for it.
// Slow; `scripts/test --slow` runs it and prints the figures.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { eventually } from "../../contract/docker-port.ts";
import { findPort } from "../../builders/engine/free-port.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const [NODES, SERVICES, COMMITS] = [1_000, 20, 10_000];
const MIB = 1024 ** 2;
const LISTEN = `127.0.0.1:${await findPort()}`;
const STATUS = `http://${LISTEN}/v1/status`;

/** A figure of /proc/<pid>/status in bytes; 0 for a process that has ended. */
function readMemory(pid: number | string, key: "VmRSS" | "VmHWM" | "RssAnon"): number {
  try {
    const text = readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** The most memory that any child of a process takes, while it is watched. */
class ChildWatch {
  peakBytes = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(parent: number) {
    this.#timer = setInterval(() => {
      for (const pid of this.#listChildren(parent)) this.peakBytes = Math.max(this.peakBytes, readMemory(pid, "VmHWM"));
    }, 5);
  }

  stop(): number {
    clearInterval(this.#timer);
    return this.peakBytes;
  }

  #listChildren(parent: number): string[] {
    try {
      return readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8")
        .split(" ")
        .filter((pid) => pid !== "");
    } catch {
      return [];
    }
  }
}

describe.skipIf(process.env["ORCA_SLOW"] === undefined)("in the slow lane (ORCA_SLOW=1): a large repository", () => {
  const root = mkdtempSync(join(tmpdir(), "orca-git-large-"));
  const server = new GitServer();
  const files = new Map<string, string>();
  const figures: Record<string, string> = {};

  beforeAll(async () => {
    const tree = join(root, "tree");
    const script = join(ROOT, "scripts", "make-repository.ts");
    execFileSync(process.execPath, [script, tree, "--nodes", String(NODES), "--services", String(SERVICES)]);
    for (const entry of readdirSync(tree, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      files.set(relative(tree, path), readFileSync(path, "utf8"));
    }
    server.repository.importHistory(files, listChanges());
    await server.start();
    execFileSync(process.execPath, [join(ROOT, "scripts", "bundle.ts"), "--out", join(root, "dist")]);
  });

  afterAll(async () => {
    await server.dispose();
    rmSync(root, { recursive: true, force: true });
    console.log(JSON.stringify(figures, undefined, 2));
  });

  /** 10,000 commits that each change one manifest. */
  function* listChanges(): Iterable<[string, string]> {
    const manifests = [...files].filter(([path]) => /manifests\/[^/]+\/svc-[^/]+\.toml$/.test(path));
    for (let index = 1; index < COMMITS; index += 1) {
      const [path, text] = manifests[(index * 7_919) % manifests.length] ?? ["", ""];
      yield [path, text.replace(/owner = "\w+"/, `owner = "team-${index}"`)];
    }
  }

  // The second node has a proxy, whose template needs the routes of all others.
  test.each([
    ["a node", "node-0005", 24 * MIB],
    ["a node with a proxy", "node-0010", 80 * MIB],
  ])(
    "%s: the child stays within 256 MiB, and the agent gives back what a fetch took",
    async (name, node, mostBytes) => {
      const lines = [
        `node = "${node}"`,
        `source = { git = { url = "${server.url}", poll = "1s" } }`,
        `state = { dir = "${join(root, node)}" }`,
        `policy = { file = "${join(root, "none.toml")}" }`,
        `status = { listen = ["${LISTEN}"] }`,
      ];
      writeFileSync(join(root, "agent.toml"), lines.join("\n"));
      const entry = join(root, "dist", "orca.mjs");
      const begunMs = Date.now();
      const agent = new OrcaProcess(["agent", "--config", join(root, "agent.toml")], {
        entry,
        flags: ["--lite-mode"],
        runDir: join(root, "run"),
      });
      const pid = agent.child.pid ?? 0;
      const read = async (): Promise<string> => {
        const answer = await fetch(STATUS).then(
          (response) => response.json(),
          () => undefined,
        );
        return (answer as { revision: string | null } | undefined)?.revision ?? "";
      };
      try {
        let watch = new ChildWatch(pid);
        await eventually(async () => (await fetch(STATUS).catch(() => undefined))?.ok === true, 30_000);
        const before = readMemory(pid, "RssAnon");
        await eventually(async () => (await read()) === server.repository.tip(), 60_000);
        figures[`${name}: first read`] = `${Date.now() - begunMs} ms, child ${Math.round(watch.stop() / MIB)} MiB`;
        expect(watch.peakBytes).toBeLessThan(256 * MIB);
        for (let round = 0; round < 3; round += 1) {
          watch = new ChildWatch(pid);
          const text = `${files.get("orca/manifests/node-0777/svc-0003.toml") ?? ""}# ${name} ${round}\n`;
          server.repository.importHistory(new Map([["orca/manifests/node-0777/svc-0003.toml", text]]), []);
          const pushedMs = Date.now();
          await eventually(async () => (await read()) === server.repository.tip(), 30_000);
          figures[`${name}: commit ${round}`] =
            `${Date.now() - pushedMs} ms, child ${Math.round(watch.stop() / MIB)} MiB`;
          expect(watch.peakBytes).toBeLessThan(256 * MIB);
        }
        const after = readMemory(pid, "RssAnon");
        const resident = Math.round(readMemory(pid, "VmRSS") / MIB);
        figures[`${name}: agent`] =
          `anonymous ${Math.round(before / MIB)} → ${Math.round(after / MIB)} MiB, resident ${resident} MiB`;
        expect(after - before).toBeLessThan(mostBytes);
      } finally {
        await agent.stop();
        const unread = "its services are generated, have no image here and never start";
        await expectNoSecretLeft({ node, stateDir: join(root, node), texts: { "its output": agent.output }, unread });
      }
    },
  );
});
