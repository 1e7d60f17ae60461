// Reads the operating system: how upgrades come, the kernel's settings, memory, the journal, what a cloud's first boot has left. Of user
// data it tells which kind of secret stands in it, never the secret.

import { existsSync, readlinkSync, statSync } from "node:fs";

import type { BaselineFacts, UpgradeFact } from "../../../doctor/baseline/baseline-facts.ts";
import { JUDGED_SYSCTLS } from "../../../doctor/baseline/system-checks.ts";
import { askProgram } from "../../../host/os/ask-program.ts";
import type { Ask } from "./read-network.ts";
import { listNames, listPrograms, readText } from "./read-text.ts";

type SystemFacts = Pick<BaselineFacts, "upgrades" | "sysctls" | "memory" | "zone" | "journal" | "auditing" | "cloud">;

/** Reads it. @param root stands before every path of the system; only a test has another one than this host's */
export async function readSystem(ask: Ask = askProgram, root = ""): Promise<SystemFacts> {
  const programs = listPrograms(root);
  return {
    upgrades: await readUpgrades(ask, root),
    sysctls: readSysctls(root),
    memory: readMemory(root, programs),
    zone: readZone(root),
    journal: readJournal(root),
    auditing: programs.has("auditd"),
    cloud: readCloud(root),
  };
}

async function readUpgrades(ask: Ask, root: string): Promise<UpgradeFact> {
  const rebootSinceMs = readChangedMs(`${root}/run/reboot-required`);
  const dump = await ask("apt-config", ["dump"]);
  if (dump.kind !== "said") return { apt: undefined, rebootSinceMs };
  const lines = [...dump.value.matchAll(/^([\w:-]+) "(.*)";$/gm)].map(([, key = "", value = ""]) => ({ key, value }));
  const valueOf = (name: string): string | undefined => lines.findLast(({ key }) => key === name)?.value;
  const listOf = (name: string): string[] =>
    lines.filter(({ key, value }) => key.startsWith(`${name}::`) && value !== "").map(({ value }) => value);
  const origins = [...listOf("Unattended-Upgrade::Origins-Pattern"), ...listOf("Unattended-Upgrade::Allowed-Origins")];
  const period = valueOf("APT::Periodic::Unattended-Upgrade") ?? "0";
  const stamps = ["unattended-upgrades-stamp", "upgrade-stamp"].map((name) =>
    readChangedMs(`${root}/var/lib/apt/periodic/${name}`),
  );
  const lastMs = Math.max(...stamps.map((atMs) => atMs ?? 0));
  return {
    apt: {
      automatic: period !== "0" && existsSync(`${root}/usr/bin/unattended-upgrade`),
      security: origins.some((origin) => /security/i.test(origin)),
      kept: listOf("Unattended-Upgrade::Package-Blacklist"),
      lastMs: lastMs === 0 ? undefined : lastMs,
      hasTimer: existsSync(`${root}/etc/systemd/system/timers.target.wants/apt-daily-upgrade.timer`),
    },
    rebootSinceMs,
  };
}

function readChangedMs(path: string): number | undefined {
  try {
    return statSync(path).mtimeMs;
  } catch {
    return undefined;
  }
}

function readSysctls(root: string): Record<string, string> {
  return Object.fromEntries(
    JUDGED_SYSCTLS.flatMap((name) => {
      const text = readText(`${root}/proc/sys/${name.replaceAll(".", "/")}`);
      return text === undefined ? [] : [[name, text.trim()] as const];
    }),
  );
}

/** The kernel keeps 15 characters of a program's name. */
const KILLERS: Readonly<Record<string, string>> = {
  earlyoom: "earlyoom",
  "systemd-oomd": "systemd-oomd",
  nohang: "nohang",
};

function readMemory(root: string, programs: ReadonlySet<string>): BaselineFacts["memory"] {
  const kibibytes = Number(/^MemTotal:\s+(\d+) kB$/m.exec(readText(`${root}/proc/meminfo`) ?? "")?.[1] ?? 0);
  const swaps = (readText(`${root}/proc/swaps`) ?? "").split("\n").filter((line) => line.trim() !== "");
  const killers = Object.keys(KILLERS).filter((name) => programs.has(name));
  return { totalBytes: kibibytes * 1024, hasSwap: swaps.length > 1, killers };
}

function readZone(root: string): string | undefined {
  try {
    return readlinkSync(`${root}/etc/localtime`).replace(/^.*\/zoneinfo\//, "");
  } catch {
    return readText(`${root}/etc/timezone`)?.trim();
  }
}

/** journald.conf(5): drop-ins of all four places, sorted by their names, come after the file. */
function readJournal(root: string): BaselineFacts["journal"] {
  const places = ["/usr/lib/systemd/journald.conf.d", "/run/systemd/journald.conf.d", "/etc/systemd/journald.conf.d"];
  const dropIns = places
    .flatMap((place) => listNames(`${root}${place}`).map((name) => ({ name, path: `${root}${place}/${name}` })))
    .filter(({ name }) => name.endsWith(".conf"))
    .toSorted((left, right) => (left.name < right.name ? -1 : left.name > right.name ? 1 : 0));
  const texts = [`${root}/etc/systemd/journald.conf`, ...dropIns.map(({ path }) => path)].map(
    (path) => readText(path) ?? "",
  );
  const valueOf = (key: string): string | undefined =>
    texts.flatMap((text) => [...text.matchAll(new RegExp(`^\\s*${key}\\s*=\\s*(.*?)\\s*$`, "gm"))]).at(-1)?.[1];
  const storage = valueOf("Storage") ?? "auto";
  const persistent = storage === "persistent" || (storage === "auto" && existsSync(`${root}/var/log/journal`));
  const maxUse = valueOf("SystemMaxUse");
  return { persistent, maxUse: maxUse === "" ? undefined : maxUse };
}

/** What a secret looks like in a template, by kind. */
const SECRET_LOOKS: readonly [kind: string, look: RegExp][] = [
  ["a private key", /-----BEGIN [A-Z ]*PRIVATE KEY-----/],
  ["an age key", /AGE-SECRET-KEY-1/],
  ["a token of a forge", /\b(gh[pousr]_[A-Za-z0-9]{30,}|glpat-[\w-]{20,}|gta_[\w-]{20,})/],
  ["a key of a cloud", /\bAKIA[0-9A-Z]{16}\b/],
  [
    "a password",
    /^\s*-?\s*(password|passwd|plain_text_passwd|token|secret|client_secret)\s*[:=]\s*["']?[^\s"'$*!]{6,}/im,
  ],
];

function readCloud(root: string): BaselineFacts["cloud"] {
  const instance = `${root}/var/lib/cloud/instance`;
  if (!existsSync(instance)) return undefined;
  const userData = readText(`${instance}/user-data.txt`) ?? "";
  return {
    errors: readCloudErrors(readText(`${root}/run/cloud-init/result.json`)),
    tellingKeys: SECRET_LOOKS.filter(([, look]) => look.test(userData)).map(([kind]) => kind),
  };
}

function readCloudErrors(text: string | undefined): string[] {
  try {
    const { v1 } = JSON.parse(text ?? "") as { v1?: { errors?: unknown } };
    return Array.isArray(v1?.errors) ? v1.errors.map((entry) => String(entry).slice(0, 200)) : [];
  } catch {
    return [];
  }
}
