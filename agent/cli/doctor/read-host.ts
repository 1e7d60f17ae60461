// Reads what `orca doctor` judges: files as they lie there, the kernel's words on core files and swap, who keeps the clock. Reads
// only, starts no process, and takes no value of a secret into what it answers.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { open, readFile, stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";

import type { AgentProcessFact, FileFact, HostView, SealedFact } from "../../doctor/doctor-facts.ts";
import { parseRefusals } from "../../../shared/secret/secret-refusal.ts";
import { readRealPath } from "../../host/files/host-facts.ts";
import { isInMemory } from "../../host/os/memory-directory.ts";

const AGE_HEAD = "age-encryption.org/v1";
const RAMFS = 0x858458f6;

/** A file as it lies there, links followed: where a link leads counts. */
export async function readFileFact(path: string, role: string, required = true): Promise<FileFact> {
  const base = { path, role, required };
  try {
    const info = await stat(path);
    const kind = info.isFile() ? "file" : info.isDirectory() ? "directory" : "other";
    const found = { uid: info.uid, gid: info.gid, mode: info.mode & 0o7777, kind, changedMs: info.mtimeMs } as const;
    return { ...base, found, workTree: findWorkTree((await readRealPath(path)) ?? path) };
  } catch (error) {
    const { code = "unknown" } = error as NodeJS.ErrnoException;
    const absent = { ...base, found: undefined, workTree: undefined };
    return code === "ENOENT" || code === "ENOTDIR" ? absent : { ...absent, trouble: code };
  }
}

/** The Git work tree that a path lies in. */
function findWorkTree(path: string): string | undefined {
  for (let at = dirname(path); ; at = dirname(at)) {
    if (existsSync(join(at, ".git"))) return at;
    if (at === dirname(at)) return undefined;
  }
}

/** Is a file of secrets plain? Only its first bytes are read. */
export async function isPlainFile(path: string): Promise<boolean> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return false;
  const { buffer, bytesRead } = await file.read(Buffer.alloc(AGE_HEAD.length), 0, AGE_HEAD.length, 0);
  await file.close();
  return buffer.subarray(0, bytesRead).toString("latin1") !== AGE_HEAD;
}

/** When each sealed value was last confirmed: the file says that without its key. */
export async function readSealedFact(path: string, maxStaleMs: number): Promise<SealedFact | undefined> {
  try {
    const text = await readFile(path, "utf8");
    const { entries } = JSON.parse(text) as { entries: { path: string; readMs: number }[] };
    // Of older versions of one path the newest counts.
    const newest = new Map<string, number>();
    for (const entry of entries) newest.set(entry.path, Math.max(newest.get(entry.path) ?? 0, entry.readMs));
    return { path, readMs: [...newest.values()], maxStaleMs, refusals: parseRefusals(text) };
  } catch {
    return undefined;
  }
}

/**
 * What the kernel and the engine's configuration say.
 * @param root stands before every path of the system; only a test has another one than this host's
 */
export async function readSystemFacts(
  runDir: string,
  root = "",
): Promise<
  Pick<HostView, "delivery" | "corePattern" | "engineCoreLimit" | "agents" | "hiddenProcesses" | "swaps" | "clock">
> {
  return {
    delivery: await readDelivery(runDir, root),
    corePattern: readText(`${root}/proc/sys/kernel/core_pattern`)?.trim(),
    engineCoreLimit: readEngineCoreLimit(root),
    agents: listAgents(root),
    hiddenProcesses: readHidden(root),
    swaps: parseSwaps(readText(`${root}/proc/swaps`) ?? ""),
    clock: { keptBy: findClockKeeper(root) },
  };
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** The agent makes its directory at its start: before that, where it would be made counts. */
async function readDelivery(runDir: string, root: string): Promise<HostView["delivery"]> {
  const directory = existsSync(runDir) ? runDir : dirname(runDir);
  const inMemory = await isInMemory(directory).catch(() => undefined);
  const type = await statfs(directory).then(
    (info) => info.type,
    () => 0,
  );
  const mounts = (readText(`${root}/proc/self/mounts`) ?? "").split("\n").map((line) => line.split(" "));
  const inside = (point: string): boolean =>
    directory === point || directory.startsWith(`${point.replace(/\/$/, "")}/`);
  const mount = mounts
    .filter((fields) => inside(fields[1] ?? "-"))
    .toSorted((left, right) => (left[1]?.length ?? 0) - (right[1]?.length ?? 0));
  const options = mount.at(-1)?.[3]?.split(",") ?? [];
  return { directory, inMemory, noSwap: type === RAMFS || options.includes("noswap") };
}

function readEngineCoreLimit(root: string): number | undefined {
  try {
    const text = readFileSync(`${root}/etc/docker/daemon.json`, "utf8");
    const { "default-ulimits": limits } = JSON.parse(text) as { "default-ulimits"?: { core?: { Hard?: number } } };
    return limits?.core?.Hard;
  } catch {
    return undefined;
  }
}

function listPids(root: string): string[] {
  return readdirSync(`${root}/proc`).filter((name) => /^\d+$/.test(name));
}

/** Every process that is an agent: its program's name and its command stand in its arguments. */
function listAgents(root: string): AgentProcessFact[] {
  return listPids(root).flatMap((pid): AgentProcessFact[] => {
    const words = (readText(`${root}/proc/${pid}/cmdline`) ?? "").split("\0");
    const at = words.findIndex((word) => /(^|\/)(orca\.mjs|agent\/main\.ts)$/.test(word));
    if (at === -1 || !["agent", "up"].includes(words[at + 1] ?? "")) return [];
    const coreLimit = /^Max core file size\s+(\S+)/m.exec(readText(`${root}/proc/${pid}/limits`) ?? "")?.[1];
    const filter = readText(`${root}/proc/${pid}/coredump_filter`);
    return [
      {
        pid: Number(pid),
        coreLimit,
        coreFiltered: filter === undefined ? undefined : Number.parseInt(filter, 16) === 0,
        rights: readRights(readText(`${root}/proc/${pid}/status`) ?? ""),
      },
    ];
  });
}

/** Its number (capabilities(7)). */
const CAP_SYS_PTRACE = 19n;

/** proc(5), /proc/PID/status. */
function readRights(status: string): AgentProcessFact["rights"] {
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (capabilities === undefined) return undefined;
  const groups = /^Groups:\s*([\d ]*)$/m.exec(status)?.[1] ?? "";
  const gid = /^Gid:\s*\d+\s+(\d+)/m.exec(status)?.[1] ?? "";
  return {
    groups: [gid, ...groups.split(" ")].filter((group) => group !== "").map(Number),
    maySeeAll: ((BigInt(`0x${capabilities}`) >> CAP_SYS_PTRACE) & 1n) === 1n,
  };
}

/** proc(5), "Mount options": `hidepid` is a number, or since Linux 5.8 a word; 0 and `off` hide nothing. */
function readHidden(root: string): HostView["hiddenProcesses"] {
  const mounts = (readText(`${root}/proc/self/mounts`) ?? "").split("\n").map((line) => line.split(" "));
  const options = mounts.findLast(([, point, type]) => point === "/proc" && type === "proc")?.[3]?.split(",") ?? [];
  const option = options.find((entry) => entry.startsWith("hidepid="));
  if (option === undefined || option === "hidepid=0" || option === "hidepid=off") return undefined;
  const group = options.find((entry) => entry.startsWith("gid="))?.slice("gid=".length);
  return { option, group: group === undefined ? undefined : Number(group) };
}

/** proc(5), /proc/swaps: a head, then name and type first. */
function parseSwaps(text: string): { name: string; type: string }[] {
  return text
    .split("\n")
    .slice(1)
    .map((line) => line.split(/\s+/))
    .flatMap(([name = "", type = ""]) => (name === "" ? [] : [{ name, type }]));
}

const CLOCK_KEEPERS = new Set(["chronyd", "ntpd", "openntpd"]);

function findClockKeeper(root: string): string | undefined {
  if (existsSync(`${root}/run/systemd/timesync/synchronized`)) return "systemd-timesyncd";
  const names = listPids(root).map((pid) => readText(`${root}/proc/${pid}/comm`)?.trim() ?? "");
  return names.find((name) => CLOCK_KEEPERS.has(name));
}
