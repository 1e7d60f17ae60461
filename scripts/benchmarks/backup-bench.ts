// A backup's way from a program to an encrypted file on disk, beside the plain `program | age > file` with `sync` behind it, in turns: a
// stream of 5 GB, and a real pg_dump. Both ways begin with their first process and end when the file is whole and on disk; that Orca then
// reads it back and writes its record is a row of its own, and so is what the source takes alone: no way can be faster than that. Run by itself it prints its table: `node scripts/benchmarks/backup-bench.ts [--smoke]`, with `--bytes N` a
// stream of another size. Needs the packages age and postgresql.

import { execFileSync, spawnSync } from "node:child_process";
import { chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { buildSync } from "esbuild";

import type { Extent } from "./extent.ts";
import { median } from "./lab.ts";
import { printTable, type Row } from "./table.ts";

const MAKER = fileURLToPath(new URL("backup-maker.ts", import.meta.url));
const THREAD = fileURLToPath(new URL("../../agent/backup/seal-worker.ts", import.meta.url));
/** As agent/host/os/child-process.ts starts its child. */
const FLAGS = ["--max-semi-space-size=1", "--max-old-space-size=192"];
const MIB = 2 ** 20;
const MEMORY_BAR_MIB = 150;
const SPEED_BAR = 0.9;

/** A program whose output is backed up. */
interface Source {
  name: string;
  argv: string[];
  magic: string;
  /** About so many; more for a database's dump than it has. */
  bytes: number;
}

interface Turn {
  /** Until the file is whole and on disk. */
  writtenMs: number;
  /** Until it was read back too, and its record is written. */
  ms: number;
  bytes: number;
  peakKib: number;
}

/** Measures. */
export function measureBackup({ rounds, isSmoke }: Extent, streamBytes = isSmoke ? 50 * MIB : 5_000_000_000): Row[] {
  const root = mkdtempSync(join(tmpdir(), "orca-bench-backup-"));
  try {
    execFileSync("age-keygen", ["-o", join(root, "key")], { stdio: "ignore" });
    const recipient = /age1\w+/.exec(readFileSync(join(root, "key"), "utf8"))?.[0] ?? "";
    bundleMaker(root);
    const rows = compare(makeStream(root, streamBytes), { root, recipient, rounds });
    const database = new Database(root);
    try {
      const dump = database.open(isSmoke ? 6_000 : 600_000);
      return [...rows, ...compare(dump, { root, recipient, rounds })];
    } finally {
      database.close();
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** As it lands on a host: a thread that takes the types out of TypeScript first would cost more memory than a backup. */
function bundleMaker(root: string): void {
  buildSync({
    entryPoints: { maker: MAKER, "seal-worker": THREAD },
    outdir: root,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node24",
    logLevel: "warning",
  });
}

function compare(
  source: Source,
  { root, recipient, rounds }: { root: string; recipient: string; rounds: number },
): Row[] {
  const [ours, plain]: [Turn[], Turn[]] = [[], []];
  const alone: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const take = (ways: Turn[], make: typeof makeOurs): Turn => {
      wake(root, source.bytes);
      const turn = make(source, root, recipient);
      ways.push(turn);
      return turn;
    };
    // Whoever comes second meets what the first has left to the disk: each has its turn.
    const early = round % 2 === 1 ? take(plain, makePlain) : undefined;
    const own = take(ours, makeOurs);
    const beside = early ?? take(plain, makePlain);
    alone.push(runAlone(source));
    const both = [own.writtenMs, beside.ms].map((took) => (took / 1_000).toFixed(1)).join(" s beside ");
    console.error(`backup: ${source.name}, round ${round + 1}: ${both} s, load ${(loadavg()[0] ?? 0).toFixed(1)}`);
  }
  const [ms, plainMs] = [median(ours.map((turn) => turn.writtenMs)), median(plain.map((turn) => turn.ms))];
  const backMs = median(ours.map((turn) => turn.ms - turn.writtenMs));
  const bytes = ours[0]?.bytes ?? 0;
  const peakMib = Math.max(...ours.map(({ peakKib }) => peakKib)) / 1_024;
  const describe = (took: number): string =>
    `${(took / 1_000).toFixed(1)} s, ${(bytes / took / 1_000).toFixed(0)} MB/s`;
  const ratio = plainMs / ms;
  const size = `${(bytes / 1e6).toFixed(0)} MB`;
  return [
    {
      question: `backup: ${source.name}, ${size}, encrypted, until it is on disk`,
      orca: describe(ms),
      beside: `| age > file: ${describe(plainMs)}`,
      ratio,
      bar: { text: `>= ${SPEED_BAR}`, met: ratio >= SPEED_BAR },
    },
    { question: `backup: ${source.name}, ${size}, into nothing`, orca: "", beside: describe(median(alone)) },
    { question: `backup: reading it back, ${size}, and the record`, orca: describe(backMs), beside: "" },
    {
      question: `backup: most memory of the child, ${size}`,
      orca: `${peakMib.toFixed(0)} MiB`,
      beside: "",
      bar: { text: `<= ${MEMORY_BAR_MIB} MiB`, met: peakMib <= MEMORY_BAR_MIB },
    },
  ];
}

/**
 * A virtual machine whose memory was free for seconds gets it back page by page from its host, which costs more than writing it: each turn
 * begins with memory that was written just now.
 */
function wake(root: string, bytes: number): void {
  const file = join(root, "wake");
  const count = `count=${Math.ceil(bytes / MIB)}`;
  execFileSync("dd", ["if=/dev/zero", `of=${file}`, "bs=1M", count], { stdio: "ignore" });
  rmSync(file);
}

function makeOurs({ argv, magic }: Source, root: string, recipient: string): Turn {
  const directory = join(root, "ours");
  const startedMs = performance.timeOrigin + performance.now();
  const run = spawnSync(process.execPath, [...FLAGS, join(root, "maker.mjs"), directory, recipient, magic, ...argv], {
    encoding: "utf8",
  });
  rmSync(directory, { recursive: true, force: true });
  if (run.status !== 0) throw new Error(`make a backup: ${run.stderr}`);
  const { writtenMs, endedMs, ...facts } = JSON.parse(run.stdout) as Record<
    "writtenMs" | "endedMs" | "bytes" | "peakKib",
    number
  >;
  return { ...facts, writtenMs: writtenMs - startedMs, ms: endedMs - startedMs };
}

/** The source by itself. */
function runAlone({ argv: [program = "", ...parameters] }: Source): number {
  const startedMs = performance.now();
  execFileSync(program, parameters, { stdio: ["ignore", "ignore", "inherit"] });
  return performance.now() - startedMs;
}

function makePlain({ argv }: Source, root: string, recipient: string): Turn {
  const file = join(root, "plain.age");
  const startedMs = performance.now();
  const script = 'set -o pipefail; out=$1 to=$2; shift 2; "$@" | age -r "$to" > "$out" && sync "$out"';
  const run = spawnSync("bash", ["-c", script, "bash", file, recipient, ...argv], { encoding: "utf8" });
  const ms = performance.now() - startedMs;
  if (run.status !== 0) throw new Error(`age: ${run.stderr}`);
  const { size: bytes } = statSync(file);
  rmSync(file);
  return { ms, writtenMs: ms, bytes, peakKib: 0 };
}

/** Bytes that do not compress, from a file that stays in memory: the source must not be the slow part. */
function makeStream(root: string, bytes: number): Source {
  const piece = join(root, "piece");
  const pieceBytes = Math.min(bytes, 250_000_000);
  execFileSync("bash", ["-c", `head -c ${pieceBytes} /dev/urandom > "$1"`, "bash", piece]);
  return {
    name: "a stream",
    argv: ["cat", ...Array.from({ length: Math.ceil(bytes / pieceBytes) }, () => piece)],
    magic: "",
    bytes,
  };
}

/** A PostgreSQL of its own, on a socket in the directory. */
class Database {
  readonly #root: string;
  readonly #bin: string;

  constructor(root: string) {
    this.#root = join(root, "postgres");
    const [version = ""] = readdirSync("/usr/lib/postgresql").toSorted().toReversed();
    this.#bin = join("/usr/lib/postgresql", version, "bin");
  }

  open(rows: number): Source {
    mkdirSync(this.#root, { mode: 0o755 });
    const owner = Number(execFileSync("id", ["-u", "postgres"], { encoding: "utf8" }));
    chownSync(this.#root, owner, -1);
    chownSync(join(this.#root, ".."), owner, -1);
    const data = join(this.#root, "data");
    this.#run("initdb", "-D", data, "-A", "trust", "--no-sync");
    writeFileSync(
      join(data, "postgresql.auto.conf"),
      `listen_addresses = ''\nunix_socket_directories = '${this.#root}'\n`,
    );
    this.#run("pg_ctl", "-D", data, "-w", "-l", join(this.#root, "log"), "start");
    const load = `create table t as select g as id, md5(g::text) as a, md5((g * 7)::text) as b from generate_series(1, ${rows}) g`;
    this.#run("psql", "-h", this.#root, "-q", "-d", "postgres", "-c", load);
    const argv = [join(this.#bin, "pg_dump"), "-h", this.#root, "-U", "postgres", "-Fc", "--compress=6", "postgres"];
    return { name: `pg_dump of ${rows.toLocaleString("en")} rows`, argv, magic: "PGDMP", bytes: rows * 100 };
  }

  close(): void {
    const data = join(this.#root, "data");
    spawnSync("runuser", ["-u", "postgres", "--", join(this.#bin, "pg_ctl"), "-D", data, "-m", "immediate", "stop"]);
  }

  #run(program: string, ...parameters: string[]): void {
    const words = ["-u", "postgres", "--", join(this.#bin, program), ...parameters];
    execFileSync("runuser", words, { stdio: ["ignore", "ignore", "inherit"], cwd: "/" });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const isSmoke = process.argv.includes("--smoke");
  const at = process.argv.indexOf("--bytes");
  const bytes = at === -1 ? undefined : Number(process.argv[at + 1]);
  console.log(printTable(measureBackup({ rounds: isSmoke ? 1 : 3, isSmoke }, bytes)));
}
