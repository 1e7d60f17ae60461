// A backup of a real PostgreSQL and its proof, beside the plain tools in turns: dumped and encrypted from its container, and restored into a
// new server of the same cap. The plain way is `pg_dump | age > file` with `sync` behind it, and `age -d | pg_restore` with one question
// behind that. Run by itself it prints its table: `node scripts/benchmarks/proof-bench.ts [--smoke]`. Needs the package age.

import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";

import type { BackupRequest } from "../../agent/backup/backup-exchange.ts";
import type { BackupRecord } from "../../agent/backup/core/backup-record.ts";
import { postgres } from "../../agent/backup/engines/postgres.ts";
import type { StoreSettings } from "../../agent/backup/engines/store-engine.ts";
import { makeBackup } from "../../agent/backup/pipeline.ts";
import { openLocalRepository } from "../../agent/backup/repository/local-repository.ts";
import { openSource } from "../../agent/backup/store-source.ts";
import { verifyBackup } from "../../agent/backup/verify/verify-backup.ts";
import type { Extent } from "./extent.ts";
import { Lab, median, ROOT } from "./lab.ts";
import { printTable, type Row } from "./table.ts";

const IMAGE = "orca-test/postgres:1";
const CAP_BYTES = 256 * 2 ** 20;
const FOLDER = { node: "bench", service: "pg", store: "db" };
const QUERY = "select count(*) > 0 from t";
const LONGEST_MS = 600_000;
const MOST_RATIO = 2;
const SETTINGS: StoreSettings = {
  user: "postgres",
  databases: ["app"],
  command: undefined,
  exec: false,
  volumes: [],
  minBytes: undefined,
  password: undefined,
};

/** How long each step of one turn took. */
interface Turn {
  dumpMs: number;
  /** With a new server, until it is judged. */
  proofMs: number;
  /** The restore alone, into a server that is there. */
  restoreMs: number;
}

/** Measures. */
export async function measureProof(lab: Lab, { rounds, isSmoke }: Extent): Promise<Row[]> {
  const rows = isSmoke ? 6_000 : 600_000;
  const bench = new ProofBench(lab);
  try {
    await bench.open(rows);
    const [ours, plain]: [Omit<Turn, "restoreMs">[], Turn[]] = [[], []];
    for (let round = 0; round < rounds; round += 1) {
      // Whoever begins meets a colder machine.
      if (round % 2 === 1) plain.push(await bench.restorePlainly());
      const own = await bench.proveOurs();
      ours.push(own);
      if (round % 2 === 0) plain.push(await bench.restorePlainly());
      const seconds = [own.dumpMs, own.proofMs, plain.at(-1)?.dumpMs, plain.at(-1)?.proofMs];
      console.error(`backup: round ${round + 1}: ${seconds.map((ms = 0) => describe(ms)).join(", ")}`);
    }
    return describeTurns(ours, plain, rows);
  } finally {
    bench.close();
  }
}

function describeTurns(ours: readonly Omit<Turn, "restoreMs">[], plain: readonly Turn[], count: number): Row[] {
  const of = <K extends string>(turns: readonly Record<K, number>[], key: K): number =>
    median(turns.map((turn) => turn[key]));
  const rows = `PostgreSQL with ${count.toLocaleString("en")} rows`;
  const speed = of(plain, "dumpMs") / of(ours, "dumpMs");
  const time = of(ours, "proofMs") / of(plain, "proofMs");
  return [
    {
      // Some containers are begun and ended for it, which a large dump does not feel.
      question: `backup: ${rows}: dumped with its roles, counted, encrypted, read back, published`,
      orca: describe(of(ours, "dumpMs")),
      beside: `pg_dump | age > file: ${describe(of(plain, "dumpMs"))}`,
      ratio: speed,
    },
    {
      question: `backup: ${rows}: a new server, restored in it, and looked at, in 256 MiB`,
      orca: describe(of(ours, "proofMs")),
      beside: `age -d | pg_restore: ${describe(of(plain, "proofMs"))}, of which the restore ${describe(of(plain, "restoreMs"))}`,
      ratio: time,
      bar: { text: `<= ${MOST_RATIO}`, met: time <= MOST_RATIO },
    },
  ];
}

function describe(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

class ProofBench {
  readonly #lab: Lab;
  readonly #root = mkdtempSync(join(tmpdir(), "orca-bench-proof-"));
  #container = "";
  #identity = "";
  #recipient = "";

  constructor(lab: Lab) {
    this.#lab = lab;
  }

  async open(rows: number): Promise<void> {
    execFileSync(join(ROOT, "scripts", "build-images"), ["--postgres"], { stdio: ["ignore", "ignore", "inherit"] });
    const archive = join(this.#root, "image.tar");
    execFileSync("docker", ["save", "-o", archive, IMAGE]);
    this.#docker("load", "-q", "-i", archive);
    rmSync(archive);
    execFileSync("age-keygen", ["-o", this.#key], { stdio: "ignore" });
    const text = readFileSync(this.#key, "utf8");
    this.#recipient = /age1\w+/.exec(text)?.[0] ?? "";
    this.#identity = /^AGE-SECRET-KEY-\S+$/m.exec(text)?.[0] ?? "";
    this.#container = await this.#startServer();
    const load = `create table t as select g as id, md5(g::text) as a, md5((g * 7)::text) as b from generate_series(1, ${rows}) g; alter table t add primary key (id)`;
    this.#psql(this.#container, load);
  }

  close(): void {
    rmSync(this.#root, { recursive: true, force: true });
  }

  /** Dumps, and proves what was dumped, as the agent's child does. */
  async proveOurs(): Promise<Omit<Turn, "restoreMs">> {
    const startedMs = performance.now();
    const record = await this.#make();
    const dumpedMs = performance.now();
    const { verdict, detail } = await verifyBackup(
      {
        kind: "verify",
        folder: FOLDER,
        engine: "postgres",
        settings: SETTINGS,
        backup: record.name,
        socket: this.#lab.engine.socketPath,
        image: undefined,
        memoryBytes: CAP_BYTES,
        timeoutMs: LONGEST_MS,
        lockDirectory: join(this.#root, "locks"),
        spool: join(this.#root, "spool"),
        identities: [this.#identity],
        expectations: { extensions: [], schemas: ["public"], queries: [QUERY], allowed: [] },
        repository: { kind: "local", name: "local", directory: this.#directory },
      },
      this.#lab.engine.client,
    );
    const endedMs = performance.now();
    if (verdict !== "good") throw new Error(`prove a backup: ${verdict}: ${detail}`);
    rmSync(this.#directory, { recursive: true });
    return { dumpMs: dumpedMs - startedMs, proofMs: endedMs - dumpedMs };
  }

  async #make(): Promise<BackupRecord> {
    const { oneShots } = this.#lab.engine.client;
    const request = {
      folder: FOLDER,
      settings: SETTINGS,
      container: this.#container,
      isStopped: false,
      memoryBytes: CAP_BYTES,
      memoryDirectory: join(this.#root, "memory"),
    } as BackupRequest;
    const image = await oneShots.findImage(this.#container);
    const source = openSource(request, image, oneShots);
    const { record } = await makeBackup(
      {
        folder: FOLDER,
        engine: "postgres",
        trigger: "asked",
        image,
        recipients: [this.#recipient],
        keepUntilMs: undefined,
        describeRestore: () => [],
      },
      {
        repositories: [{ name: "local", open: () => Promise.resolve(openLocalRepository("local", this.#directory)) }],
        nowMs: () => Date.now(),
        listParts: () => postgres.listParts(source),
      },
    );
    return record;
  }

  /** The same with the tools that everybody has. */
  async restorePlainly(): Promise<Turn> {
    const file = join(this.#root, "plain.age");
    const [dump, restore] = [
      'set -o pipefail; out=$1 to=$2; shift 2; "$@" | age -r "$to" > "$out" && sync "$out"',
      'set -o pipefail; in=$1 key=$2; shift 2; age -d -i "$key" "$in" | "$@"',
    ];
    const exec = this.#listExec(this.#container, "pg_dump", "-Fc", "app");
    const startedMs = performance.now();
    this.#bash(dump, [file, this.#recipient, ...exec]);
    const dumpedMs = performance.now();
    const server = await this.#startServer();
    const readyMs = performance.now();
    this.#bash(restore, [file, this.#key, ...this.#listExec(server, "pg_restore", "--exit-on-error", "-d", "app")]);
    const restoredMs = performance.now();
    if (this.#psql(server, QUERY) !== "t") throw new Error("the plain restore has no rows");
    this.#docker("rm", "-fv", server);
    const endedMs = performance.now();
    rmSync(file);
    return { dumpMs: dumpedMs - startedMs, proofMs: endedMs - dumpedMs, restoreMs: restoredMs - readyMs };
  }

  get #key(): string {
    return join(this.#root, "key");
  }

  get #directory(): string {
    const directory = join(this.#root, "backups");
    mkdirSync(directory, { recursive: true });
    return directory;
  }

  async #startServer(): Promise<string> {
    const cap = String(CAP_BYTES);
    const id = this.#docker("run", "-d", "-m", cap, "--memory-swap", cap, "-e", "POSTGRES_DB=app", IMAGE);
    for (let tries = 0; tries < LONGEST_MS / 100; tries += 1) {
      const [program = "", ...parameters] = this.#listExec(id, "psql", "-Atqc", "select 1", "app");
      if (spawnSync(program, parameters, { stdio: "ignore" }).status === 0) return id;
      await sleep(100);
    }
    throw new Error("the server did not come up");
  }

  #listExec(container: string, program: string, ...parameters: string[]): string[] {
    const connect = [program, "-h", "127.0.0.1", "-U", "postgres", ...parameters];
    return ["docker", "-H", `unix://${this.#lab.engine.socketPath}`, "exec", "-i", container, ...connect];
  }

  #psql(container: string, query: string): string {
    const [program = "", ...parameters] = this.#listExec(container, "psql", "-Atqc", query, "app");
    return execFileSync(program, parameters, { encoding: "utf8" }).trim();
  }

  #docker(...parameters: string[]): string {
    const host = ["-H", `unix://${this.#lab.engine.socketPath}`];
    return execFileSync("docker", [...host, ...parameters], { encoding: "utf8" }).trim();
  }

  #bash(script: string, parameters: readonly string[]): void {
    const run = spawnSync("bash", ["-c", script, "bash", ...parameters], { encoding: "utf8" });
    if (run.status !== 0) throw new Error(`the plain way: ${run.stderr}`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const isSmoke = process.argv.includes("--smoke");
  const lab = new Lab();
  try {
    await lab.open();
    console.log(printTable(await measureProof(lab, { rounds: isSmoke ? 1 : 3, isSmoke })));
  } finally {
    await lab.close();
  }
}
