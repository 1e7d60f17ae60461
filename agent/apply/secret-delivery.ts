// Secrets on their way into a container: files in memory, below a directory of their own for each service and spec, and
// environment values at creation. Says which version lies in which file; holds no value itself. Only apply/ uses it.

import { randomBytes } from "node:crypto";
import { chmod, chown, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import * as z from "zod";

import { makeDirectory } from "../host/files/make-directory.ts";
import { runPath } from "../host/state-layout.ts";
import { parseBootstrap } from "../../shared/secret/bootstrap.ts";
import type { ContainerSpec } from "../../shared/state/container-spec.ts";
import { fileKey } from "../../shared/state/observed-state.ts";
import type { Secret } from "../../shared/secret/secret.ts";
import {
  CONTAINER_USER,
  PRIVATE_MODE,
  SECRETS_DIRECTORY,
  splitVersion,
  STAND_IN_VERSION,
  type TemplateRecipe,
} from "../../shared/secret/secret-facts.ts";
import type { FileReference } from "../../shared/state/step.ts";
import { isInMemory } from "../host/os/memory-directory.ts";
import { writeInPlace } from "../host/files/write-in-place.ts";
import type { ContainerUser } from "./container-user.ts";
import {
  type FileContent,
  listContentVersions,
  nameContent,
  readContentName,
} from "../../shared/state/file-content.ts";
import { readMessage } from "../../shared/text/read-message.ts";

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

/** What a writing needs to know beside the files. */
export interface DeliveryHelp {
  /** What a file with secrets in it is rendered from. */
  findRecipe: (file: FileReference) => TemplateRecipe;
  /** Whoever the container runs as; undefined for a name that it does not know. */
  findUser: () => Promise<ContainerUser | undefined>;
}

/**
 * What was delivered: target → the name of its content, and how the file was left. Kept beside the files, in memory too.
 * Earlier versions kept the name alone.
 */
type Marks = z.output<typeof marksFile>;

const marksFile = z.record(z.string(), z.union([z.string(), z.looseObject({ hash: z.string(), stamp: z.string() })]));

/** Delivers the secrets of one node's services. */
export class SecretDelivery {
  readonly #root: string;
  readonly #find: DeliveryOptions["find"];
  readonly #hashes = new Map<string, string>();
  /** Each delivered file by the same key: where it lies, and its time and size as this agent left it. */
  readonly #left = new Map<string, { path: string; stamp: string | undefined }>();

  constructor({ runDir, find }: DeliveryOptions) {
    this.#root = runPath(runDir, "secrets");
    this.#find = find;
  }

  /** Reads what was delivered before the agent started; after a reboot that is nothing. */
  async load(): Promise<void> {
    for (const service of await readdir(this.#root).catch(() => [])) {
      for (const name of await readdir(join(this.#root, service)).catch(() => [])) {
        if (!name.endsWith(".json")) continue;
        const specHash = basename(name, ".json");
        const marks = await readMarks(join(this.#root, service, name));
        for (const [target, mark] of Object.entries(marks)) {
          const { hash, stamp } = typeof mark === "string" ? { hash: mark, stamp: undefined } : mark;
          const path = this.#place({ service, specHash, target }, readContentName(hash));
          const now = await readStamp(path);
          // One that was being written when the agent ended, or that was changed since, is written anew.
          if (now === undefined || (stamp !== undefined && stamp !== now)) continue;
          this.#note(fileKey(service, specHash, target), { hash, path, stamp: now });
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

  /** The name of the content of each delivered file, by `fileKey`. */
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

  /** Where a file with secrets in it lies, to be mounted. */
  path(place: SecretPlace & { target: string }): string {
    return join(this.#rendered(place), basename(fileKey(place.service, place.specHash, place.target)));
  }

  /** Makes what a container mounts, still without any value: it must be there when the container is made. */
  async prepare(place: SecretPlace, spec: ContainerSpec): Promise<void> {
    const targets = (spec.files ?? []).flatMap(({ target, memory }) => (memory === true ? [target] : []));
    if (spec.secretFiles === undefined && targets.length === 0) return;
    await this.#makeDirectories(place);
    for (const target of targets) await (await open(this.path({ ...place, target }), "a", 0o600)).close();
  }

  /** Writes all secret files of a service; nothing is written to a disk. */
  async write(place: SecretPlace, files: readonly FileReference[], help: DeliveryHelp): Promise<void> {
    if (files.length === 0) return;
    await this.#makeDirectories(place);
    const marks: Marks = {};
    for (const file of files) {
      const { target, content } = file;
      const path = this.#place({ ...place, target }, content);
      if (content.kind !== "secret") {
        await writeInPlace(path, Buffer.from(await this.#render(file, help)));
        await settle(path, file, help);
      } else {
        // The directory is what is mounted: each file in it appears whole.
        await writeFile(`${path}.new`, this.#require(content), { mode: 0o600 });
        await settle(`${path}.new`, file, help);
        await rename(`${path}.new`, path);
      }
      const stamp = (await readStamp(path)) ?? "";
      const hash = nameContent(content);
      this.#note(fileKey(place.service, place.specHash, target), { hash, path, stamp });
      marks[target] = { hash, stamp };
    }
    await writeFile(`${this.#directory(place)}.json`, JSON.stringify(marks), { mode: 0o600 });
  }

  /** Removes what was delivered for one spec of a service. */
  async remove(place: SecretPlace): Promise<void> {
    const directory = this.#directory(place);
    for (const path of [directory, this.#rendered(place), `${directory}.json`])
      await rm(path, { recursive: true, force: true });
    const prefix = `${dirname(fileKey(place.service, place.specHash, ""))}/`;
    for (const key of this.#left.keys()) {
      if (!key.startsWith(prefix)) continue;
      this.#hashes.delete(key);
      this.#left.delete(key);
    }
  }

  #note(key: string, { hash, ...left }: { hash: string; path: string; stamp: string }): void {
    this.#hashes.set(key, hash);
    this.#left.set(key, left);
  }

  async #makeDirectories(place: SecretPlace): Promise<void> {
    // The parent is root's alone: on the host nobody else reads what lies below, whatever its mode inside a container.
    await makeDirectory(this.#root, 0o700);
    if (!(await isInMemory(this.#root)))
      throw new Error(`deliver secrets: ${this.#root} is not in memory: mount a tmpfs there`);
    await chmod(this.#root, 0o700);
    await makeDirectory(this.#directory(place), 0o755);
    await makeDirectory(this.#rendered(place), 0o700);
  }

  #place(place: SecretPlace & { target: string }, content: FileContent): string {
    return content.kind === "secret" ? join(this.#directory(place), basename(place.target)) : this.path(place);
  }

  async #render(file: FileReference, help: DeliveryHelp): Promise<string> {
    const known = listContentVersions(file.content).map(splitVersion);
    const versions = new Map(known.map(({ path, version }) => [path, version]));
    const { text, context, secrets } = help.findRecipe(file);
    const values = Object.entries(secrets).map(([name, path]) => {
      return [name, this.#require({ path, version: versions.get(path) ?? "" })] as const;
    });
    const { templates } = await import("../../shared/text/template.ts");
    try {
      return templates.render(text, context, new Map(values));
    } catch (error) {
      const said = readMessage(error);
      throw new Error(`write file ${file.target}: ${said}`, { cause: error });
    }
  }

  #directory({ service, specHash }: SecretPlace): string {
    return join(this.#root, dirname(fileKey(service, specHash, "")));
  }

  #rendered(place: SecretPlace): string {
    return `${this.#directory(place)}.files`;
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

/** Gives a file its owner and mode. */
async function settle(path: string, { mode, owner }: FileReference, { findUser }: DeliveryHelp): Promise<void> {
  const user = owner === CONTAINER_USER ? await findUser() : readOwner(owner);
  // A trial by somebody who is not root gives nothing away, and what it leaves to a container's root is readable anyway.
  const isOwn = owner === CONTAINER_USER && user?.uid === 0 && process.getuid?.() !== 0;
  if (user !== undefined && !isOwn) await chown(path, user.uid, user.gid);
  // Programs that start as root may give root up before they read: then every process of that one container may.
  const privately = user?.uid === 0 ? 0o444 : 0o400;
  await chmod(path, mode === PRIVATE_MODE ? privately : Number.parseInt(mode, 8));
}

function readOwner(owner: string | undefined): ContainerUser | undefined {
  if (owner === undefined) return undefined;
  const [uid = "0", gid = uid] = owner.split(":");
  return { uid: Number(uid), gid: Number(gid) };
}

async function readStamp(path: string): Promise<string | undefined> {
  const info = await stat(path).catch(() => undefined);
  return info === undefined ? undefined : `${info.mtimeMs} ${info.size} ${info.ino} ${info.mode} ${info.uid}`;
}

async function readMarks(file: string): Promise<Marks> {
  try {
    return marksFile.parse(JSON.parse(await readFile(file, "utf8")));
  } catch {
    return {};
  }
}
