// Unpacks a package beside the versions that are there, looks whether what is in it may be put in use without dpkg, and gives it its name.
// dpkg itself is not asked: it may be locked, and its own record of the machine stays as it is.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";

import { makeDirectory } from "../host/files/make-directory.ts";
import { askProgram } from "../host/os/ask-program.ts";
import { type DiskCalls, HOST_DISK, moveDurably } from "./durable.ts";
import { readVersionLink, type UpdatePlaces, UNIT_DIRECTORY } from "./places.ts";

/** Where it is unpacked, and what it is held against. */
export interface UnpackOptions {
  places: UpdatePlaces;
  version: string;
  /** Of the units that are installed; only a test has another one. */
  unitDirectory?: string;
  disk?: DiskCalls;
}

const UNPACK_MS = 120_000;
const ASK_MS = 30_000;
/** Within the package. */
const PAYLOAD = "usr/lib/orca/payload";
const UNITS = "usr/lib/systemd/system";
const OWN_UNIT = /^orca[\w.@-]*\.(service|timer|path|slice|socket)$/;

/** Unpacks it. Throws where it must not be put in use; nothing of it is left then. */
export async function unpackPackage(file: string, options: UnpackOptions): Promise<void> {
  const { places, version, unitDirectory = UNIT_DIRECTORY, disk = HOST_DISK } = options;
  const work = join(places.versions, ".unpacked");
  await rm(work, { recursive: true, force: true });
  await makeDirectory(work, 0o755);
  try {
    const unpacked = await askProgram("dpkg-deb", ["-x", file, work], { deadlineMs: UNPACK_MS });
    if (unpacked.kind === "absent") throw new Error("dpkg-deb is not installed: install the package by hand");
    if (unpacked.kind === "unseen") throw new Error(`it cannot be unpacked: ${unpacked.trouble}`);
    const payload = join(work, PAYLOAD);
    await checkProgram(payload, version);
    checkUnits(join(work, UNITS), unitDirectory);
    const place = join(places.versions, version);
    // The same name from an earlier try; what is in use is never touched.
    if (readVersionLink(places.current) === version || readVersionLink(places.judge) === version)
      throw new Error(`${version} is in use already`);
    await rm(place, { recursive: true, force: true });
    moveDurably(disk, payload, place);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** It runs on this machine, and is the version that it is called. */
async function checkProgram(payload: string, version: string): Promise<void> {
  const [node, program] = [join(payload, "node"), join(payload, "orca.mjs")];
  if (!existsSync(node) || !existsSync(program)) throw new Error("it is no package of Orca: it has no program");
  const said = await askProgram(node, [program, "--version"], { deadlineMs: ASK_MS });
  if (said.kind !== "said")
    throw new Error(`its program does not run here: ${said.kind === "unseen" ? said.trouble : "no such file"}`);
  const [first = ""] = said.value.trim().split(" ");
  if (first !== version) throw new Error(`its program says that it is ${first.slice(0, 40)}, and not ${version}`);
}

/** Units are dpkg's: a version that changes them needs it. */
function checkUnits(ofPackage: string, installed: string): void {
  const names = new Set([...listUnits(ofPackage), ...listUnits(installed)]);
  const changed = [...names].filter((name) => readUnit(ofPackage, name) !== readUnit(installed, name)).toSorted();
  if (changed.length === 0) return;
  throw new Error(`it changes ${changed.join(", ")}: install its package, apt-get install ./orca_VERSION_ARCH.deb`);
}

function listUnits(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory).filter((name) => OWN_UNIT.test(name)) : [];
}

function readUnit(directory: string, name: string): string | undefined {
  const path = join(directory, name);
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}
