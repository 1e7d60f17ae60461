// A node of one service, a real PostgreSQL with a backup, run by a real agent on the machine's engine.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { vi } from "vitest";

import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { findPort } from "../engine/free-port.ts";

/** Built by scripts/build-images --stores. */
export const POSTGRES_IMAGE = "orca-test/postgres:1";

interface NodeParts {
  /** The database's superuser. */
  user: string;
  /** Lines of the manifest beside the usual ones: at its top, in `[update]`, and of `[[backups]]` at its end. */
  top?: string;
  update?: string;
  backup?: string;
}

/** The node, with its database `app`. */
export class PostgresNode {
  readonly service = "postgres-app";
  readonly name: string;
  readonly root: string;
  readonly stateDir: string;
  readonly volume: string;
  /** Where the repository `local` has its backups. */
  readonly folder: string;
  agent: OrcaProcess | undefined;
  readonly #parts: NodeParts;
  #listen = "";

  constructor(subject: string, parts: NodeParts) {
    const name = nameForRun(subject);
    this.name = name;
    this.#parts = parts;
    this.root = mkdtempSync(join(tmpdir(), `orca-${name}-`));
    this.stateDir = join(this.root, "state");
    this.volume = `${name}-pgdata`;
    this.folder = join(this.stateDir, "backups", name, this.service, "db");
  }

  /** Writes its manifest: the first one, or one with another image or other lines of `[[backups]]`. */
  writeManifest(image: string = POSTGRES_IMAGE, backup: string = this.#parts.backup ?? ""): void {
    const directory = join(this.root, "orca", "manifests", this.name);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, `${this.service}.toml`), this.#describe(image, backup));
  }

  /** Starts the agent, again as the first time, and waits for nothing. */
  async begin(...parameters: string[]): Promise<void> {
    if (this.#listen === "") this.#listen = `127.0.0.1:${await findPort()}`;
    const words = ["up", this.root, "--node", this.name, "--state", this.stateDir, "--listen", this.#listen];
    this.agent = new OrcaProcess([...words, ...parameters]);
  }

  /** Starts the agent and waits until all is well. */
  async start(): Promise<void> {
    await this.begin();
    const look = async (): Promise<void> => {
      const { code, output } = await this.orca("status");
      if (code !== 0) throw new Error(`status ends with ${code}: ${output}`);
    };
    await vi.waitFor(look, { timeout: 240_000, interval: 300 });
  }

  /** Runs a command of it. */
  readonly orca = async (...parameters: string[]): Promise<{ code: number | null; output: string }> => {
    const run = new OrcaProcess([...parameters, "--socket", join(this.stateDir, "agent.sock")]);
    const code = await run.exited;
    return { code, output: run.output };
  };

  readonly findContainer = (): string => {
    const labels = [`orca.node=${this.name}`, `orca.service=${this.service}`];
    return docker("ps", "-q", ...labels.flatMap((label) => ["--filter", `label=${label}`])).trim();
  };

  /** Containers of dumps, proofs and restores, which must not stay. */
  readonly listJobs = (): string => docker("ps", "-aq", "--filter", `label=orca.job.node=${this.name}`).trim();

  readonly psql = (query: string, database = "app"): string => {
    const words = ["psql", "-h", "127.0.0.1", "-U", this.#parts.user, "-Atc", query, database];
    return docker("exec", this.findContainer(), ...words).trim();
  };

  /** Takes all of it away, and looks for values of secrets before. */
  async dispose({ unread, volumes = [this.volume] }: { unread?: string; volumes?: string[] } = {}): Promise<void> {
    await this.agent?.stop();
    const { name, stateDir } = this;
    await expectNoSecretLeft({ node: name, stateDir, ...(unread === undefined ? {} : { unread }) }, async () => {
      await new OrcaProcess(["up", this.root, "--node", name, "--state", stateDir, "--down"]).exited;
      docker("volume", "rm", "-f", ...volumes);
    });
    rmSync(this.root, { recursive: true, force: true });
  }

  #describe(image: string, backup: string): string {
    const { user, top = "", update = "" } = this.#parts;
    return `
image = "${image}"
${top}

[env]
POSTGRES_DB = "app"
POSTGRES_USER = "${user}"

[resources]
memory = "256MiB"

[health]
exec = ["pg_isready", "-h", "127.0.0.1", "-U", "${user}", "-d", "app"]
interval = "1s"
start_period = "2m"

[update]
settle = "1s"
${update}

[[volumes]]
name = "${this.volume}"
target = "/var/lib/postgresql/data"

[[backups]]
name = "db"
engine = "postgres"
schedule = "every 5h"
${backup}
`;
  }
}

/** Runs docker; answers what it prints. */
export function docker(...parameters: string[]): string {
  return execFileSync("docker", parameters, { encoding: "utf8", maxBuffer: 2 ** 28 });
}
