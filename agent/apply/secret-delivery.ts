// Secrets on their way into a container: files in a directory in memory, one for each service and spec, and environment
// values at creation. Says which version lies in which file; holds no value itself. Only apply/ uses it.

import { randomBytes } from "node:crypto";
import { chmod, chown, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import { parseBootstrap } from "../../shared/bootstrap.ts";
import type { ContainerSpec } from "../../shared/container-spec.ts";
import { fileKey } from "../../shared/observed-state.ts";
import type { Secret } from "../../shared/secret.ts";
import { readSecretHash, SECRETS_DIRECTORY, splitVersion, STAND_IN_VERSION } from "../../shared/secret-facts.ts";
import type { FileReference } from "../../shared/step.ts";
import { isInMemory } from "../host/memory-directory.ts";

/** Whose secrets they are: files of two specs of one service never share a directory. */
export interface SecretPlace {
  service: string;
  specHash: string;
}

/** What a delivery needs. */
export interface DeliveryOptions {
  /** A directory in memory (/run/orca); nothing is written where it is not. */
  runDir: string;
  /** The value of one version, where it is known. */
  find: (path: string, version: string) => Secret | undefined;
}

/** What lies in a directory: file name → hash, as plans name it. Kept beside it, in memory too. */
type Marks = Record<string, string>;

/** Delivers the secrets of one node's services. */
export class SecretDelivery {
  readonly #root: string;
  readonly #find: DeliveryOptions["find"];
  readonly #hashes = new Map<string, string>();
  /** Each delivered file by the same key: where it lies, and its time and size as this agent left it. */
  readonly #left = new Map<string, { path: string; stamp: string | undefined }>();

  constructor({ runDir, find }: DeliveryOptions) {
    this.#root = join(runDir, "secrets");
    this.#find = find;
  }

  /** Reads what was delivered before the agent started; after a reboot that is nothing. */
  async load(): Promise<void> {
    for (const service of await readdir(this.#root).catch(() => [])) {
      for (const name of await readdir(join(this.#root, service)).catch(() => [])) {
        if (!name.endsWith(".json")) continue;
        const specHash = basename(name, ".json");
        const marks = await readMarks(join(this.#root, service, name));
        for (const [target, hash] of Object.entries(marks)) {
          const path = join(this.#root, service, specHash, basename(target));
          if ((await readStamp(path)) !== undefined) await this.#note(fileKey(service, specHash, target), hash, path);
        }
      }
    }
  }

  /** Forgets files that are not as they were left: the next turn writes them anew. */
  async verify(): Promise<void> {
    for (const [key, { path, stamp }] of this.#left) {
      if (this.#hashes.has(key) && (await readStamp(path)) !== stamp) this.#hashes.delete(key);
    }
  }

  /** Hash of each delivered file, by `fileKey`. */
  get hashes(): ReadonlyMap<string, string> {
    return this.#hashes;
  }

  /** The mount of a service's secret files: a directory, so that a changed file is seen by a running container. */
  mount(place: SecretPlace): { source: string; target: string; readOnly: boolean } {
    return { source: this.#directory(place), target: SECRETS_DIRECTORY, readOnly: true };
  }

  /** Environment that carries values, and `<NAME>_FILE` for each delivered file. Throws where a value is not known. */
  async buildEnv(spec: ContainerSpec): Promise<Record<string, string>> {
    const env: Record<string, string> = {};
    if (spec.bootstrapFile !== undefined) Object.assign(env, this.#readBootstrap(spec.bootstrapFile));
    for (const name of Object.keys(spec.secretFiles ?? {})) {
      env[nameFileVariable(name)] = `${SECRETS_DIRECTORY}/${name}`;
    }
    for (const [name, version] of Object.entries(spec.secretEnv ?? {}))
      env[name] = this.#require(splitVersion(version));
    return env;
  }

  /** Writes secret files; each appears whole, and nothing is written to a disk. */
  async write(place: SecretPlace, files: readonly FileReference[]): Promise<void> {
    if (files.length === 0) return;
    const directory = this.#directory(place);
    // The parent is root's alone: on the host nobody else reads what lies below, whatever its mode inside a container.
    await mkdir(this.#root, { recursive: true, mode: 0o700 });
    if (!(await isInMemory(this.#root)))
      throw new Error(`deliver secrets: ${this.#root} is not in memory: mount a tmpfs there`);
    await chmod(this.#root, 0o700);
    await mkdir(directory, { recursive: true, mode: 0o755 });
    for (const { target, hash, mode, owner } of files) {
      const wanted = readSecretHash(hash);
      if (wanted === undefined) continue;
      const path = join(directory, basename(target));
      await writeFile(`${path}.new`, this.#require(wanted), { mode: 0o600 });
      if (owner !== undefined) await give(`${path}.new`, owner);
      await chmod(`${path}.new`, Number.parseInt(mode, 8));
      await rename(`${path}.new`, path);
      await this.#note(fileKey(place.service, place.specHash, target), hash, path);
    }
    const marks: Marks = Object.fromEntries(files.map(({ target, hash }) => [target, hash]));
    await writeFile(`${directory}.json`, JSON.stringify(marks), { mode: 0o600 });
  }

  /** Removes what was delivered for one spec of a service. */
  async remove(place: SecretPlace): Promise<void> {
    const directory = this.#directory(place);
    await rm(directory, { recursive: true, force: true });
    await rm(`${directory}.json`, { force: true });
    const prefix = `${dirname(fileKey(place.service, place.specHash, ""))}/`;
    for (const key of this.#left.keys()) {
      if (!key.startsWith(prefix)) continue;
      this.#hashes.delete(key);
      this.#left.delete(key);
    }
  }

  async #note(key: string, hash: string, path: string): Promise<void> {
    this.#hashes.set(key, hash);
    this.#left.set(key, { path, stamp: await readStamp(path) });
  }

  #directory({ service, specHash }: SecretPlace): string {
    return join(this.#root, dirname(fileKey(service, specHash, "")));
  }

  #readBootstrap(name: string): Record<string, string> {
    return parseBootstrap(this.#require(splitVersion(name)));
  }

  #require({ path, version }: { path: string; version: string }): string {
    // A trial with images that stand in for the real ones: any value will do.
    if (version === STAND_IN_VERSION) return randomBytes(18).toString("base64url");
    const value = this.#find(path, version);
    if (value === undefined) throw new Error(`deliver secret ${path}: this version of it is not known any more`);
    return value.expose();
  }
}

/** `tls.key` is announced as `TLS_KEY_FILE`. */
function nameFileVariable(name: string): string {
  return `${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_")}_FILE`;
}

async function give(path: string, owner: string): Promise<void> {
  const [uid = "0", gid = uid] = owner.split(":");
  await chown(path, Number(uid), Number(gid));
}

async function readStamp(path: string): Promise<string | undefined> {
  const info = await stat(path).catch(() => undefined);
  return info === undefined ? undefined : `${info.mtimeMs} ${info.size} ${info.ino} ${info.mode} ${info.uid}`;
}

async function readMarks(file: string): Promise<Marks> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as Marks;
  } catch {
    return {};
  }
}
