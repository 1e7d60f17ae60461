// Makes a bundle from what was read before: texts, files of this host, images of its engine. One stream after the other, so that a bundle of
// any size takes the memory of one buffer. What was cut off is removed whole.

import { rm } from "node:fs/promises";

import type { BundledImages } from "../docker/bundled-images.ts";
import { VERSION } from "../../shared/version.ts";
import { type OnBytes, openPlain } from "./copy-stream.ts";
import type { BundleFile, BundleManifest } from "./core/bundle-manifest.ts";
import { BundleWriter } from "./write-bundle.ts";

/** An image of the engine, under a name that manifests have for it. */
export interface ImageInput {
  name: string;
  digest: string | null;
  id: string;
  sizeBytes: number;
}

/** A file of this host. */
export interface FileInput {
  source: string;
  path: string;
  sizeBytes: number;
}

/** A large file, and the volume that it is for. */
export interface ModelInput extends FileInput {
  name: string;
  volume: string;
  target: string;
}

/** What a bundle is made from. */
export interface BundleInput {
  bundleId: string;
  createdAtMs: number;
  revision: string;
  nodes: readonly string[];
  texts: readonly { path: string; content: Uint8Array | string }[];
  files: readonly FileInput[];
  models: readonly ModelInput[];
  images: readonly ImageInput[];
}

/** How many bytes it will about be: of an image the engine knows the size unpacked. */
export function estimateBytes({ texts, files, models, images }: BundleInput): number {
  const unique = new Map(images.map(({ id, sizeBytes }) => [id, sizeBytes]));
  const sizes = [...files, ...models].map(({ sizeBytes }) => sizeBytes);
  return [...sizes, ...unique.values(), ...texts.map(({ content }) => content.length)].reduce(
    (sum, size) => sum + size,
    0,
  );
}

/**
 * Makes a bundle.
 * @param place a new directory, and the private key's file
 * @returns its manifest; throws, and leaves nothing, where something cannot be read or written
 */
export async function createBundle(
  input: BundleInput,
  engine: Pick<BundledImages, "save">,
  { directory, keyFile, onBytes }: { directory: string; keyFile: string; onBytes?: OnBytes | undefined },
): Promise<BundleManifest> {
  const writer = await BundleWriter.open(directory, { onBytes });
  try {
    const manifest = await fill(writer, input, engine);
    await writer.seal(manifest, keyFile);
    return manifest;
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

async function fill(
  writer: BundleWriter,
  input: BundleInput,
  engine: Pick<BundledImages, "save">,
): Promise<BundleManifest> {
  const files: BundleFile[] = [];
  for (const { path, content } of input.texts) files.push(await writer.add(path, content));
  for (const { path, source } of input.files) files.push(await writer.add(path, await openPlain(source)));
  const models: BundleManifest["models"] = [];
  for (const { name, path, source, volume, target } of input.models)
    models.push({ name, ...(await writer.add(path, await openPlain(source))), volume, target });
  const images: BundleManifest["images"] = [];
  const saved = new Map<string, BundleFile>();
  for (const { name, digest, id } of input.images) {
    const file = saved.get(id) ?? (await writer.add(nameImageFile(name, id), await engine.save(id)));
    saved.set(id, file);
    images.push({ name, file: file.path, sha256: file.sha256, size: file.size, digest, id });
  }
  const { bundleId, createdAtMs, revision, nodes } = input;
  return {
    version: "1.0",
    kind: "bundle",
    bundle_id: bundleId,
    created_at: new Date(createdAtMs).toISOString(),
    orca: VERSION,
    revision,
    nodes: [...nodes],
    images,
    models,
    files,
  };
}

/** `images/postgres-0123456789ab.tar`: for people; what counts is what the manifest says of it. */
function nameImageFile(name: string, id: string): string {
  const [last = ""] = name
    .replace(/@.*$/, "")
    .replace(/:[^:/]*$/, "")
    .split("/")
    .slice(-1);
  return `images/${last}-${id.slice("sha256:".length, "sha256:".length + 12)}.tar`;
}
