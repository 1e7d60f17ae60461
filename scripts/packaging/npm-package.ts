// Packages of npm as directories: the installed one, or for another architecture what npm's registry has, kept below the user's cache. Only
// bytes that package-lock.json names are taken.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** The parts of package-lock.json that are read. */
interface Lock {
  packages: Readonly<Record<string, { version?: string; integrity?: string }>>;
}

/** One package as package-lock.json names it. */
export interface Locked {
  name: string;
  version: string;
  /** `sha512-…`, of its tarball. */
  integrity: string;
}

/**
 * Finds what package-lock.json says of an installed package.
 * @returns version and checksum; throws where it names none
 */
export function findLocked(root: string, name: string): Locked {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as Lock;
  const { version, integrity } = packages[`node_modules/${name}`] ?? {};
  if (version === undefined || integrity === undefined) throw new Error(`package-lock.json does not name ${name}`);
  return { name, version, integrity };
}

/**
 * Finds a package's directory, and fetches it where it is not installed.
 * @returns its directory; throws where npm does not have it, or has other bytes than package-lock.json says
 */
export function findPackage(root: string, name: string): string {
  const installed = join(root, "node_modules", name);
  if (existsSync(join(installed, "package.json"))) return installed;
  const locked = findLocked(root, name);
  const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "orca", "npm");
  const kept = join(cache, `${name.replace("/", "-")}-${locked.version}`);
  if (!existsSync(kept)) fetchPackage(locked, cache, kept);
  return kept;
}

function fetchPackage({ name, version, integrity }: Locked, cache: string, target: string): void {
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, ".fetch-"));
  try {
    const words = ["pack", `${name}@${version}`, "--pack-destination", work, "--silent"];
    const file = execFileSync("npm", words, { encoding: "utf8", cwd: work }).trim();
    checkTarball(join(work, file), `${name}@${version}`, integrity);
    execFileSync("tar", ["-xzf", file, "--no-same-owner"], { cwd: work });
    renameSync(join(work, "package"), target);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Throws where a tarball is not the one that package-lock.json names. */
export function checkTarball(file: string, name: string, integrity: string): void {
  const found = `sha512-${createHash("sha512").update(readFileSync(file)).digest("base64")}`;
  if (found !== integrity) throw new Error(`${name}: npm has ${found}, package-lock.json says ${integrity}`);
}
