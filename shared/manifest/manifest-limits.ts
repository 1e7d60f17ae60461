// What a manifest asks of the kernel for its container, in Docker's forms: limits, kernel parameters, directories in memory,
// devices. Each has a closed form with bounds. Only manifest.ts uses it; what is dangerous all the same is for the host's policy.

import * as z from "zod";

import { parseSize } from "../text/size.ts";
import { refuseValue } from "../text/schema-leaf.ts";

/** The most that a limit may be where it costs the host something; others may be without bound (-1), and the caps hold. */
const MOST: Readonly<Record<string, number>> = {
  // fs.nr_open: the kernel takes no more.
  nofile: 1_048_576,
  nproc: 4_194_304,
  sigpending: 4_194_304,
  locks: 1_048_576,
  msgqueue: 2 ** 30,
  // Above 19 less nice a process may take the processor from others.
  nice: 20,
  rtprio: 99,
};

/** Docker's names (github.com/docker/go-units, ulimit.go). */
const ULIMITS = [
  "core",
  "cpu",
  "data",
  "fsize",
  "locks",
  "memlock",
  "msgqueue",
  "nice",
  "nofile",
  "nproc",
  "rss",
  "rtprio",
  "rttime",
  "sigpending",
  "stack",
];

/** Limits that give a container power over others on the host; they may be lowered to 0, and are raised where policy says so. */
export const GUARDED_ULIMITS = ["core", "nice", "rtprio", "rttime"] as const;

const limit = z.int().min(-1).max(Number.MAX_SAFE_INTEGER);

export const ulimits = z
  .record(
    z.string().regex(/^[a-z]+$/, "write Docker's name, such as nofile"),
    z.union([limit, z.strictObject({ soft: limit, hard: limit })]),
  )
  .superRefine((table, ctx) => {
    for (const [name, value] of Object.entries(table)) {
      const fault = checkUlimit(name, typeof value === "number" ? { soft: value, hard: value } : value);
      if (fault !== undefined)
        ctx.addIssue({ code: "custom", path: [name], message: fault[0], params: { hint: fault[1] } });
    }
  });

function checkUlimit(name: string, { soft, hard }: { soft: number; hard: number }): [string, string] | undefined {
  if (!ULIMITS.includes(name)) return ["there is no such limit", `there are ${ULIMITS.join(", ")}`];
  if (hard !== -1 && (soft === -1 || soft > hard)) return ["soft is above hard", "write hard as the larger of the two"];
  const most = MOST[name];
  if (most === undefined || (hard !== -1 && hard <= most)) return undefined;
  return [`the kernel or the host allows ${name} up to ${most}`, `write at most ${most}`];
}

/** Parameters of the namespaces that a container has of its own (docker run --sysctl); the engine sets no others. */
const OWN_SYSCTL = /^(?:net\.|fs\.mqueue\.|kernel\.(?:msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)$)/;

/** True for a kernel parameter that a container may have for itself. */
export function isOwnSysctl(name: string): boolean {
  return OWN_SYSCTL.test(name);
}

export const sysctls = z.record(
  z.string().regex(/^[a-z0-9_.-]{1,128}$/, "write the kernel's name, such as net.core.somaxconn"),
  z.string().regex(/^[\w\t .:,+-]{1,256}$/, "write numbers or words with spaces between them"),
);

const TMPFS_WORDS = new Set(["rw", "ro", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "noatime", "nodiratime"]);
const MOST_INODES = 10_000_000;
const TMPFS_HINT = "there are size=64m, mode=1777, uid=…, gid=…, nr_inodes=…, ro, noexec, nosuid and nodev";

/** The size of a directory in memory as a manifest says it; undefined where it leaves it to the cap. */
function parseTmpfsSize(value: string): number | undefined {
  const match = /^(\d{1,13})([kmgKMG]?)$/.exec(value);
  if (match === null) return undefined;
  const unit = (match[2] ?? "").toUpperCase();
  return parseSize(`${Number(match[1])}${unit}${unit === "" ? "" : "i"}B`);
}

function isTmpfsOption(option: string): boolean {
  const [name = "", value, ...rest] = option.split("=");
  if (value === undefined) return TMPFS_WORDS.has(option);
  if (rest.length > 0) return false;
  if (name === "size") return (parseTmpfsSize(value) ?? 0) > 0;
  if (name === "mode") return /^[01]?[0-7]{3}$/.test(value);
  if (name === "nr_inodes") return /^[1-9]\d{0,8}$/.test(value) && Number(value) <= MOST_INODES;
  return (name === "uid" || name === "gid") && /^\d{1,10}$/.test(value) && Number(value) <= MOST_ID;
}

/** User and group ids are 32 bits; the last one means nobody at all. */
export const MOST_ID = 2 ** 32 - 2;

export const tmpfsMount = z
  .string()
  .max(4_096)
  // eslint-disable-next-line no-control-regex -- no path has one
  .regex(/^\/[^:\u0000-\u001f\u007f]*(:[^:\u0000-\u001f\u007f]*)?$/, 'write "/path" or "/path:size=64m"')
  .refine((text) => !/\/\.{1,2}(\/|:|$)/.test(text), 'write the path out, without "." and ".."')
  .superRefine((text, ctx) => {
    const colon = text.indexOf(":");
    if (colon === -1) return;
    const wrong = text
      .slice(colon + 1)
      .split(",")
      .find((option) => !isTmpfsOption(option));
    if (wrong !== undefined)
      refuseValue(ctx, `${JSON.stringify(wrong.slice(0, 40))} is no option that a tmpfs takes here`, TMPFS_HINT);
  });

/** The sizes that a manifest's directories in memory name, in bytes, by their place in the list. */
export function listTmpfsSizes(mounts: readonly string[]): (number | undefined)[] {
  return mounts.map((text) => {
    const size = /[:,]size=([^,]+)/.exec(text)?.[1];
    return size === undefined ? undefined : parseTmpfsSize(size);
  });
}

export const device = z
  .string()
  .regex(/^\/dev\/[\w.+@/-]{1,200}(:\/[\w.+@/-]{1,200})?(:[rwm]{1,3})?$/, 'write "/dev/…" or "/dev/…:/dev/…:rwm"')
  .refine((text) => !/\/\.{1,2}(\/|:|$)/.test(text), 'write the path out, without "." and ".."');

export const capability = z.string().regex(/^(CAP_)?[A-Z_]{2,32}$/, "write the name in capitals, such as NET_ADMIN");
