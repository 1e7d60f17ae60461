// The files that Orca delivers into containers, on the host: one directory for each service and spec. Written by apply/,
// read by observed/. A file that is mounted keeps its inode: content changes in place, or the container would not see it.

import { createHash } from "node:crypto";
import { chmod, chown, readdir, readFile, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";

import { makeDirectory } from "./make-directory.ts";
import { statePath } from "../state-layout.ts";
import { fileKey } from "../../../shared/state/observed-state.ts";
import { isPlainWord } from "../../../shared/text/plain-word.ts";
import type { FileReference } from "../../../shared/state/step.ts";
import { writeInPlace } from "./write-in-place.ts";
import { nameContent } from "../../../shared/state/file-content.ts";

const HOSTS_HEAD = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";

/** Where a delivered file goes. */
export interface FilePlace {
  service: string;
  specHash: string;
  target: string;
}

/** The delivered files of one node. */
export class FileStore {
  readonly #root: string;
  readonly #hostsPath: string;
  readonly #hashes = new Map<string, string>();
  /** Time and size of each file as this agent left it. */
  readonly #stamps = new Map<string, string | undefined>();
  #hosts: Readonly<Record<string, string>> | undefined;

  /** @param stateDir the agent's state directory */
  constructor(stateDir: string) {
    this.#root = statePath(stateDir, "files");
    this.#hostsPath = statePath(stateDir, "hosts");
  }

  /** Reads what is on disk, so that a restarted agent compares with the truth and not with its memory. */
  async load(): Promise<void> {
    await makeDirectory(this.#root, 0o755);
    for (const entry of await readdir(this.#root, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || entry.name.endsWith(".new")) continue;
      const path = join(entry.parentPath, entry.name);
      const key = path.slice(this.#root.length + 1);
      this.#hashes.set(key, hash(await readFile(path)));
      this.#stamps.set(key, await readStamp(path));
    }
    this.#hosts = parseHosts(await readFile(this.#hostsPath, "utf8").catch(() => undefined));
  }

  /** Looks again at files whose time or size is not as it was left: someone has changed them by hand. */
  async verify(): Promise<void> {
    for (const [key, known] of this.#stamps) {
      const now = await readStamp(join(this.#root, key));
      if (now === known) continue;
      if (now === undefined) this.#hashes.delete(key);
      else this.#hashes.set(key, hash(await readFile(join(this.#root, key)).catch(() => Buffer.alloc(0))));
    }
  }

  /** Content hash of each delivered file, by `fileKey`. */
  get hashes(): ReadonlyMap<string, string> {
    return this.#hashes;
  }

  /** The hosts file as it was last read or written. */
  get hosts(): Readonly<Record<string, string>> | undefined {
    return this.#hosts;
  }

  /** The hosts file's path, to be mounted. */
  get hostsPath(): string {
    return this.#hostsPath;
  }

  /** The path of a delivered file, to be mounted. */
  path(place: FilePlace): string {
    return join(this.#root, fileKey(place.service, place.specHash, place.target));
  }

  /** Writes one file; returns only when it is on disk. */
  async write(place: Omit<FilePlace, "target">, file: FileReference, content: Uint8Array): Promise<void> {
    const path = this.path({ ...place, target: file.target });
    await makeDirectory(dirname(path), 0o755);
    await writeInPlace(path, content);
    await chmod(path, Number.parseInt(file.mode, 8));
    if (file.owner !== undefined) {
      const [uid = "0", gid = uid] = file.owner.split(":");
      await chown(path, Number(uid), Number(gid));
    }
    const key = fileKey(place.service, place.specHash, file.target);
    this.#hashes.set(key, nameContent(file.content));
    this.#stamps.set(key, await readStamp(path));
  }

  /** Removes the files of one spec of a service. */
  async remove(service: string, specHash: string): Promise<void> {
    const directory = dirname(fileKey(service, specHash, ""));
    await rm(join(this.#root, directory), { recursive: true, force: true });
    for (const key of this.#hashes.keys()) {
      if (!key.startsWith(`${directory}/`)) continue;
      this.#hashes.delete(key);
      this.#stamps.delete(key);
    }
  }

  /** Rewrites the hosts file in place, so that running containers see new peers. */
  async writeHosts(hosts: Readonly<Record<string, string>>): Promise<void> {
    const plain = Object.entries(hosts).filter(([name, address]) => isHostsLine(name, address));
    const lines = plain.map(([name, address]) => `${address} ${name}\n`);
    await writeInPlace(this.#hostsPath, Buffer.from(HOSTS_HEAD + lines.join("")));
    await chmod(this.#hostsPath, 0o644);
    this.#hosts = hosts;
  }
}

/** Every container reads this file: a line that somebody else made would name an address of theirs. */
function isHostsLine(name: string, address: string): boolean {
  return /^[A-Za-z0-9.-]{1,255}$/.test(name) && isPlainWord("network", address);
}

function hash(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

async function readStamp(path: string): Promise<string | undefined> {
  const info = await stat(path).catch(() => undefined);
  return info === undefined ? undefined : `${info.mtimeMs} ${info.size} ${info.ino}`;
}

function parseHosts(text: string | undefined): Readonly<Record<string, string>> | undefined {
  if (text === undefined || !text.startsWith(HOSTS_HEAD)) return undefined;
  const lines = text.slice(HOSTS_HEAD.length).trimEnd().split("\n");
  return Object.fromEntries(lines.filter((line) => line !== "").map((line) => line.split(" ", 2).toReversed()));
}
