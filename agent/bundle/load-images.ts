// Brings a bundle's images into the engine, and says which id each reference has there. Every step can be taken back.

import { join } from "node:path";

import type { BundledImages } from "../docker/bundled-images.ts";
import { nameBundledImage } from "../host/files/bundle-state.ts";
import { type OnBytes, openPlain, Summing } from "./copy-stream.ts";
import type { BundleImage } from "./core/bundle-manifest.ts";
import { namePin } from "./core/named-parts.ts";
import type { UndoList } from "./undo-list.ts";

/** What it works with. */
export interface LoadParts {
  engine: BundledImages;
  /** The bundle's. */
  directory: string;
  undo: UndoList;
  onBytes?: OnBytes | undefined;
}

/**
 * Loads what is not there yet.
 * @returns digest, or reference without one → the engine's id; throws where an image is not what the list says
 */
export async function loadImages(images: readonly BundleImage[], parts: LoadParts): Promise<Record<string, string>> {
  const ids: Record<string, string> = {};
  const byFile = new Map<string, string>();
  for (const image of images) {
    const id = byFile.get(image.file) ?? (await loadOne(image, parts));
    byFile.set(image.file, id);
    await pin(image.name, id, parts);
    ids[nameBundledImage(image.name)] = id;
  }
  return ids;
}

async function loadOne(
  { file, id, sha256, size }: BundleImage,
  { engine, directory, undo, onBytes }: LoadParts,
): Promise<string> {
  if ((await engine.find(id)) !== undefined) {
    onBytes?.(size);
    return id;
  }
  const summing = new Summing(onBytes);
  const loaded = await engine.load(summing.pass(await openPlain(join(directory, file))));
  // An engine that keeps images in another way has another id for the same bytes.
  const found = (await engine.find(id)) ?? (loaded.length === 1 ? await engine.find(loaded[0] ?? "") : undefined);
  undo.add(`the image of ${file}`, async () => {
    for (const name of [found?.id, ...loaded]) if (name !== undefined) await engine.remove(name);
  });
  if (summing.sum.sha256 !== sha256) throw new Error(`load ${file}: it has changed since it was checked`);
  if (found !== undefined) return found.id;
  throw new Error(`load ${file}: the engine has loaded ${loaded.join(", ") || "nothing"}, and the list says ${id}`);
}

/** A name in the engine, so that nobody takes the image for left over; a reference without a digest is that name. */
async function pin(reference: string, id: string, { engine, undo }: LoadParts): Promise<void> {
  const name = namePin(reference);
  if (name === undefined) return;
  const full = `${name.repository}:${name.tag}`;
  const before = await engine.find(full);
  if (before?.id === id) return;
  await engine.tag(id, name);
  undo.add(`the name ${full}`, () => (before === undefined ? engine.remove(full) : engine.tag(before.id, name)));
}
