// The state directory of an earlier version with the containers that ran under it, put up again on the real engine: an agent of
// today is then started on it. Made from test/fixtures/kept-state, which was kept when that version was killed in its work:
// services with files, secrets (sealed, their server is away), a front, an ended job, one rolled back and one rollout half done.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import Docker from "dockerode";

import { readBootId } from "../../../agent/host/files/host-facts.ts";
import { chooseSecretDirectory } from "../../../agent/host/os/memory-directory.ts";
import { sha256 } from "../../../shared/state/identity.ts";
import { docker } from "./docker-cli.ts";

const FIXTURE = fileURLToPath(new URL("../../fixtures/kept-state/", import.meta.url));
/** Where it all lay when it was kept. */
const OLD_ROOT = "/tmp/orca-kept-state";
const OLD_MEMORY = "/dev/shm/orca-62d643463eee";
/** When it was kept: all that the state tells of times is as long ago here as it was then. */
const KEPT_MS = 1_796_004_046_000;
const NODE = "kept";
const OURS = ["--filter", `label=orca.node=${NODE}`];

interface KeptEngine {
  containers: { id: string; name: string; status: string; body: Docker.ContainerCreateOptions }[];
  network: Docker.NetworkCreateOptions;
  volumes: { Name: string; Labels: Record<string, string> }[];
  /** The engine's run, as the state names it. */
  run: string;
}

/** One state directory in use again. */
export class KeptState {
  readonly root = mkdtempSync(join(tmpdir(), "orca-kept-"));
  readonly runDir = join(this.root, "run");
  readonly stateDir = join(this.root, "state");
  readonly config = join(this.root, "agent.toml");
  readonly #memoryDir = chooseSecretDirectory(this.runDir);
  /** What stood in the fixture → what stands for it here. */
  readonly #words = new Map<string, string>();

  /** Makes network, volumes and containers, starts what ran, and lays the files; the agent can be started then. */
  async put(status: string): Promise<void> {
    await this.clear();
    const kept = JSON.parse(readFileSync(join(FIXTURE, "engine.json"), "utf8")) as KeptEngine;
    execFileSync("tar", ["-C", this.root, "-xzf", join(FIXTURE, "files.tar.gz")]);
    execFileSync("cp", ["-a", `${join(this.root, "memory")}/.`, this.#memoryDir]);
    this.#words.set(OLD_ROOT, this.root).set(OLD_MEMORY, this.#memoryDir).set("127.0.0.1:7079", status);
    for (const file of ["agent.toml", "policy.toml"]) this.#rewrite(join(this.root, file));
    this.#forgetStamps();
    const engine = new Docker();
    await engine.createNetwork(kept.network);
    for (const volume of kept.volumes) await engine.createVolume(volume);
    for (const { id, name, status: was, body } of kept.containers) {
      const made = await engine.createContainer({ ...(JSON.parse(this.#say(JSON.stringify(body))) as object), name });
      this.#words.set(id, made.id);
      await made.start();
      if (was === "running") continue;
      // One that had ended ends here too: a job by itself, which a kill that comes too early would make one that failed.
      await Promise.race([made.wait(), sleep(5_000)]);
      await made.kill().catch(() => undefined);
    }
    this.#words.set(kept.run, await readRun(engine));
    await this.#rewriteStore();
  }

  /** `name → id and start` of every container of the node. */
  async list(): Promise<Record<string, string>> {
    const ids = listLines(await docker("ps", "-aq", ...OURS));
    const lines = listLines(await docker("inspect", "--format", "{{.Name}} {{.Id}} {{.State.StartedAt}}", ...ids));
    const pairs = lines.map((line) => [line.slice(1, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)]);
    return Object.fromEntries(pairs) as Record<string, string>;
  }

  /** Takes the node's containers, network and volumes away. */
  async clear(): Promise<void> {
    const containers = listLines(await docker("ps", "-aq", ...OURS));
    if (containers.length > 0) await docker("rm", "-f", ...containers);
    const networks = listLines(await docker("network", "ls", "-q", ...OURS));
    if (networks.length > 0) await docker("network", "rm", ...networks);
    const volumes = listLines(await docker("volume", "ls", "-q", ...OURS));
    if (volumes.length > 0) await docker("volume", "rm", ...volumes);
  }

  async remove(): Promise<void> {
    await this.clear();
    rmSync(this.root, { recursive: true, force: true });
    rmSync(this.#memoryDir, { recursive: true, force: true });
  }

  #say(text: string): string {
    return [...this.#words].reduce((said, [from, to]) => said.replaceAll(from, to), text);
  }

  #rewrite(file: string): void {
    writeFileSync(file, this.#say(readFileSync(file, "utf8")), { mode: 0o600 });
  }

  /** A copied file has another time and inode than the one that was delivered; the form without them is older still, and read too. */
  #forgetStamps(): void {
    const root = join(this.#memoryDir, "secrets");
    for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
      if (!entry.name.endsWith(".json")) continue;
      const file = join(entry.parentPath, entry.name);
      const marks = JSON.parse(readFileSync(file, "utf8")) as Record<string, { hash: string }>;
      writeFileSync(
        file,
        JSON.stringify(Object.fromEntries(Object.entries(marks).map(([name, { hash }]) => [name, hash]))),
      );
    }
  }

  /** Containers made anew have other ids and start times. */
  async #rewriteStore(): Promise<void> {
    const database = new DatabaseSync(join(this.stateDir, "orca.db"));
    const rows = database.prepare("SELECT name, body FROM document").all() as { name: string; body: string }[];
    for (const { name, body } of rows) {
      const text = await renewStarts(this.#say(moveTimes(body)));
      database.prepare("UPDATE document SET body = ? WHERE name = ?").run(text, name);
    }
    database.close();
  }
}

/** Times, as milliseconds, of the hour in which it was kept. */
function moveTimes(text: string): string {
  return text.replaceAll(/\b179600\d{7}\b/g, (time) => String(Number(time) - KEPT_MS + Date.now()));
}

/** A run is named by its container and when that started. */
async function renewStarts(text: string): Promise<string> {
  const ids = new Set([...text.matchAll(/([0-9a-f]{64})@\d{13}/g)].map(([, id = ""]) => id));
  let renewed = text;
  for (const id of ids) {
    const started = await docker("inspect", "--format", "{{.State.StartedAt}}", id);
    renewed = renewed.replaceAll(new RegExp(`${id}@\\d{13}`, "g"), `${id}@${Date.parse(started)}`);
  }
  return renewed;
}

function listLines(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}

/** The engine's run as the observer names it. */
async function readRun(engine: Docker): Promise<string> {
  const networks = await engine.listNetworks();
  const bridge = networks.find(({ Name }) => Name === "bridge")?.Id ?? "";
  return sha256(`${readBootId()}\n${bridge}`).slice(0, 16);
}
