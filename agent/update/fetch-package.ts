// Fetches a release's package and its signature into a directory, from a server or from a directory of this host, and looks whether they
// are what fleet.toml and the host's policy say. What is not is removed.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { copyFile, open, readFile, rm } from "node:fs/promises";
import { Agent } from "node:https";
import { join } from "node:path";

import { makeDirectory } from "../host/files/make-directory.ts";
import { SignatureCheck } from "../host/os/ssh-keygen.ts";
import { ask } from "../http/exchange.ts";
import { parseSshKey } from "../../shared/fleet/ssh-key.ts";
import { describeSize } from "../../shared/text/size.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** Where packages are: what `[update]` of agent.toml says. */
export type PackageSource =
  | { kind: "url"; url: string; caFile: string | undefined }
  | { kind: "directory"; path: string };

/** Which package. */
export interface WantedPackage {
  version: string;
  arch: string;
  sha256: string;
  /** The policy's `pinned.release_key`. */
  releaseKey: string;
}

/** A package that could not be had: tried again. Every other failure is a refusal. */
export class UnreachableError extends Error {}

/** What the signature is for: another one of the same key does not count. */
export const RELEASE_NAMESPACE = "orca-release";

const FETCH_MS = 600_000;
const MOST_BYTES = 160 * 2 ** 20;
const MOST_SIGNATURE_BYTES = 16 * 1024;

/** The name of a release's package, as scripts/package writes it. */
function namePackage({ version, arch }: Pick<WantedPackage, "version" | "arch">): string {
  return `orca_${version}_${arch}.deb`;
}

/**
 * Fetches it into an empty directory.
 * @returns the package's path; throws an `UnreachableError` where it cannot be had, another error where it must not be taken
 */
export async function fetchPackage(source: PackageSource, wanted: WantedPackage, directory: string): Promise<string> {
  const key = parseSshKey(wanted.releaseKey);
  if (typeof key === "string") throw new Error(`pinned.release_key of the policy: ${key}`);
  await rm(directory, { recursive: true, force: true });
  await makeDirectory(directory, 0o700);
  const name = namePackage(wanted);
  const [file, signature] = [join(directory, name), join(directory, `${name}.sig`)];
  await take(source, `${name}.sig`, { to: signature, mostBytes: MOST_SIGNATURE_BYTES });
  await take(source, name, { to: file, mostBytes: MOST_BYTES });
  const sum = await sumFile(file);
  if (sum !== wanted.sha256)
    throw new Error(`${name} is not what fleet.toml pins: its sha256 is ${sum}, and there ${wanted.sha256}`);
  await checkSignature({ file, signature, key: key.line, directory });
  return file;
}

async function take(
  source: PackageSource,
  name: string,
  { to, mostBytes }: { to: string; mostBytes: number },
): Promise<void> {
  const from = source.kind === "directory" ? join(source.path, name) : `${source.url.replace(/\/$/, "")}/${name}`;
  try {
    if (source.kind === "directory") return await copyFile(from, to);
    return await download(new URL(from), source.caFile, { to, mostBytes });
  } catch (error) {
    throw new UnreachableError(`${from} cannot be had: ${readMessage(error)}`, { cause: error });
  }
}

async function download(
  url: URL,
  caFile: string | undefined,
  { to, mostBytes }: { to: string; mostBytes: number },
): Promise<void> {
  const agent = caFile === undefined ? undefined : new Agent({ ca: await readFile(caFile) });
  const file = await open(to, "w", 0o600);
  try {
    await ask({
      url,
      deadlineMs: FETCH_MS,
      ...(agent === undefined ? {} : { agent }),
      judge: ({ status }) => {
        if (status !== 200) throw new Error(`the server answers ${status}`);
        return {
          limitBytes: mostBytes,
          asStored: true,
          sink: async (piece) => {
            await file.write(piece);
          },
        };
      },
    });
  } finally {
    await file.close();
    agent?.destroy();
  }
}

async function sumFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const piece of createReadStream(path)) {
    bytes += (piece as Buffer).length;
    if (bytes > MOST_BYTES) throw new Error(`the package is larger than ${describeSize(MOST_BYTES)}`);
    hash.update(piece as Buffer);
  }
  return hash.digest("hex");
}

async function checkSignature(paths: {
  file: string;
  signature: string;
  key: string;
  directory: string;
}): Promise<void> {
  const { file, signature, key, directory } = paths;
  const check = await SignatureCheck.open(directory);
  try {
    const armored = await readFile(signature, "utf8");
    const payload = await readFile(file);
    if (await check.verify({ key, namespace: RELEASE_NAMESPACE, armored, payload })) return;
  } finally {
    await check.close();
  }
  throw new Error("its signature is not of the key that the policy pins as release_key");
}
