// A node of three services with real stores, and backups of every kind but PostgreSQL: MariaDB, Redis with a log of commands, and two
// volumes; run by a real agent on the machine's engine.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { nameIdentityFile, writeSecretTable } from "../../../agent/secrets/providers/secret-store-file.ts";
import { MARKS } from "../../../scripts/lab/canary/canary.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import type { BackupListDocument } from "../../../shared/document/backup-document.ts";
import { findPort } from "../engine/free-port.ts";
import { docker } from "./postgres-node.ts";

export const STORES_NODE = nameForRun("stores");
const ROOT = "/canary/lane/PASSWORD";
const CACHE = "/canary/lane/TOKEN";
export const [PASSWORD = "", CACHE_PASSWORD = ""] = [MARKS[ROOT], MARKS[CACHE]];

const MANIFESTS: Readonly<Record<string, string>> = {
  maria: `
image = "orca-test/mariadb:1"
[env]
MARIADB_DATABASE = "shop"
MARIADB_ROOT_PASSWORD_FILE = "/run/secrets/root"
[secrets.files]
root = "${ROOT}"
[resources]
memory = "256MiB"
[health]
exec = ["mariadb-admin", "-h", "127.0.0.1", "ping"]
start_period = "120s"
[[volumes]]
name = "${STORES_NODE}-maria"
target = "/var/lib/mysql"
[[backups]]
name = "db"
engine = "mysql"
schedule = "every 5h"
connect = { password = "${ROOT}" }
[backups.verify]
queries = ["select count(*) > 0 from item"]
`,
  cache: `
image = "orca-test/redis:1"
command = ["redis-server", "/etc/redis.conf"]
[resources]
memory = "64MiB"
[health]
tcp = { port = 6379 }
[secrets.templates]
PW = "${CACHE}"
[[files]]
source = "files/redis.conf"
target = "/etc/redis.conf"
template = true
[[volumes]]
name = "${STORES_NODE}-cache"
target = "/data"
[[backups]]
name = "keys"
engine = "redis"
schedule = "every 5h"
connect = { password = "${CACHE}" }
`,
  mail: `
image = "orca-test/tar:1"
[resources]
memory = "64MiB"
[health]
exec = ["true"]
[[volumes]]
name = "${STORES_NODE}-mail"
target = "/srv/mail"
[[volumes]]
name = "${STORES_NODE}-mail-index"
target = "/srv/index"
[[backups]]
name = "files"
engine = "files"
schedule = "every 5h"
[[backups]]
name = "beside"
engine = "command"
command = ["cat", "/srv/mail/inbox"]
schedule = "every 5h"
[[backups]]
name = "inside"
engine = "command"
command = ["cat", "/tmp/own"]
exec = true
schedule = "every 5h"
min_size = "3B"
[backups.hooks]
before = [{ exec = ["sh", "-c", "echo frozen > /tmp/own"] }]
after = [{ exec = ["rm", "/tmp/own"] }]
`,
};

/** The node; its images are built by scripts/build-images --stores. */
export class StoresNode {
  readonly root = mkdtempSync(join(tmpdir(), "orca-engines-"));
  readonly stateDir = join(this.root, "state");
  readonly directory = join(this.root, "orca", "manifests", STORES_NODE);
  agent: OrcaProcess | undefined;
  readonly #secretFile = join(this.root, "secrets.age");
  #listen = "";

  /** Writes its manifests and secrets. */
  async write(): Promise<void> {
    mkdirSync(join(this.directory, "files"), { recursive: true });
    for (const [service, text] of Object.entries(MANIFESTS))
      writeFileSync(join(this.directory, `${service}.toml`), text);
    writeFileSync(
      join(this.directory, "files", "redis.conf"),
      'requirepass {{ secrets.PW }}\nsave ""\nappendonly yes\ndir /data\n',
    );
    await writeSecretTable(
      { file: this.#secretFile, identityFile: nameIdentityFile(this.#secretFile), plain: false },
      new Map(Object.entries(MARKS)),
    );
  }

  /** Starts the agent, again as the first time, and waits for nothing. */
  async begin(): Promise<void> {
    if (this.#listen === "") this.#listen = `127.0.0.1:${await findPort()}`;
    const words = ["up", this.root, "--state", this.stateDir, "--listen", this.#listen];
    this.agent = new OrcaProcess([...words, "--secrets", this.#secretFile]);
  }

  /** Ends it, takes all away, and looks whether a secret is left. */
  async dispose(): Promise<void> {
    await this.agent?.stop();
    const { stateDir, root } = this;
    await expectNoSecretLeft({ node: STORES_NODE, stateDir }, async () => {
      await new OrcaProcess(["up", root, "--state", stateDir, "--down"]).exited;
      docker("volume", "rm", "-f", ...this.listVolumes());
      rmSync(root, { recursive: true });
    });
  }

  /** A command of the program, to its end. */
  readonly orca = async (...parameters: string[]): Promise<{ code: number | null; output: string }> => {
    const run = new OrcaProcess([...parameters, "--socket", join(this.stateDir, "agent.sock")]);
    const code = await run.exited;
    return { code, output: run.output };
  };

  /** The container of a service that runs; empty for none. */
  readonly findContainer = (service: string): string => {
    const filters = [`label=orca.node=${STORES_NODE}`, `label=orca.service=${service}`];
    return docker("ps", "-q", ...filters.flatMap((filter) => ["--filter", filter])).trim();
  };

  /** The containers of backups and restores. */
  readonly listJobs = (): string => docker("ps", "-aq", "--filter", `label=orca.job.node=${STORES_NODE}`).trim();

  /** Its volumes, in order. */
  readonly listVolumes = (): string[] =>
    docker("volume", "ls", "-q")
      .split("\n")
      .filter((name) => name.startsWith(`${STORES_NODE}-`))
      .toSorted();

  /** A store as `orca backup list --json` has it. */
  readonly readStore = async (service: string, store: string): Promise<BackupListDocument["stores"][number]> => {
    const { output } = await this.orca("backup", "list", "--json");
    const found = (JSON.parse(output) as BackupListDocument).stores.find(
      (entry) => entry.service === service && entry.store === store,
    );
    if (found === undefined) throw new Error(`there is no store ${service}/${store}`);
    return found;
  };

  /** The newest record of a store. */
  readonly findNewest = (
    service: string,
    store: string,
  ): { record: string; read: () => { files: { file: string }[] } } => {
    const folder = join(this.stateDir, "backups", STORES_NODE, service, store);
    const names = readdirSync(folder).filter((name) => name.endsWith(".manifest.json"));
    const record = join(folder, names.toSorted().at(-1) ?? "");
    return { record, read: () => JSON.parse(readFileSync(record, "utf8")) as { files: { file: string }[] } };
  };

  /** Asks the MariaDB. */
  readonly maria = (query: string): string => {
    const client = ["mariadb", "-h", "127.0.0.1", "-uroot", "-N", "-B", "-e", query];
    return docker("exec", "-e", `MYSQL_PWD=${PASSWORD}`, this.findContainer("maria"), ...client).trim();
  };

  /** Asks the Redis. */
  readonly redisCli = (...words: string[]): string => {
    const login = ["-e", `REDISCLI_AUTH=${CACHE_PASSWORD}`];
    return docker("exec", ...login, this.findContainer("cache"), "redis-cli", ...words).trim();
  };
}
