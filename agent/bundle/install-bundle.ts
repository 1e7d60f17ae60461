// Installs what was verified: images, files for volumes, then the manifests, so that the agent reads them when all that they need is there.
// What fails takes everything back, in reverse.

import { statfs } from "node:fs/promises";
import { join } from "node:path";

import type { BundledImages } from "../docker/bundled-images.ts";
import type { DockerReader } from "../docker/reader.ts";
import { readBundleState, writeBundleState } from "../host/files/bundle-state.ts";
import { describeSize } from "../../shared/text/size.ts";
import { readMessage } from "../../shared/text/read-message.ts";
import type { OnBytes } from "./copy-stream.ts";
import type { NodeShare } from "./core/named-parts.ts";
import { type PlacedFile, placeFile } from "./fill-volume.ts";
import { loadImages } from "./load-images.ts";
import { placeRepository, REPOSITORY } from "./place-repository.ts";
import type { SignedBundle } from "./read-bundle.ts";
import { UndoList } from "./undo-list.ts";

/** What an installation works with. */
export interface InstallParts {
  node: string;
  engine: { images: BundledImages; reader: Pick<DockerReader, "info" | "inspectVolume" | "listGenerations"> };
  /** Where it is kept what was installed. */
  statePath: string;
  /** `source.dir` of agent.toml; undefined where the source is Git, whose manifests stay. */
  sourceDir: string | undefined;
  nowMs: number;
  onBytes?: OnBytes | undefined;
}

/** It failed, and this was taken back. */
export class InstallFailure extends Error {
  /** What could not be taken back. */
  readonly left: readonly string[];
  constructor(message: string, left: readonly string[], cause: unknown) {
    super(message, { cause });
    this.name = "InstallFailure";
    this.left = left;
  }
}

/** Installs a node's share of a bundle. Throws an `InstallFailure` after everything was taken back. */
export async function installBundle(bundle: SignedBundle, share: NodeShare, parts: InstallParts): Promise<void> {
  const undo = new UndoList();
  const placed: PlacedFile[] = [];
  try {
    await carryOut(bundle, share, { ...parts, undo, placed });
  } catch (error) {
    const left = await undo.undo();
    throw new InstallFailure(readMessage(error), left, error);
  }
  for (const file of placed) await file.keep().catch(() => undefined);
}

type Work = InstallParts & { undo: UndoList; placed: PlacedFile[] };

async function carryOut(bundle: SignedBundle, share: NodeShare, work: Work): Promise<void> {
  const { directory, manifest, mark, key } = bundle;
  const { engine, undo, onBytes, statePath, sourceDir, nowMs } = work;
  await judgeRoom(share, engine);
  const before = readBundleState(statePath);
  const ids = await loadImages(share.images, { engine: engine.images, directory, undo, onBytes });
  undo.add(statePath, async () => writeBundleState(statePath, before));
  const images = { ...before.images, ...ids };
  writeBundleState(statePath, { ...before, images });
  await fillVolumes(bundle, share, work);
  const files = manifest.files.filter(({ path }) => path.startsWith(REPOSITORY));
  if (sourceDir !== undefined && files.length > 0) await placeRepository({ directory, files, target: sourceDir, undo });
  const installed = {
    bundleId: manifest.bundle_id,
    createdAt: mark.createdAt,
    sha256: mark.sha256,
    revision: manifest.revision,
    key: key.fingerprint,
    installedAt: new Date(nowMs).toISOString(),
  };
  const others = before.installed.filter(({ sha256 }) => sha256 !== mark.sha256);
  writeBundleState(statePath, { ...before, images, installed: [...others, installed] });
}

/** A disk that fills up half-way would stop the services that run. */
async function judgeRoom(
  { images, models }: NodeShare,
  { images: engine, reader }: InstallParts["engine"],
): Promise<void> {
  const { rootDir } = await reader.info();
  let needed = models.reduce((sum, { size }) => sum + size, 0);
  const byFile = new Map(images.map((image) => [image.file, image]));
  for (const { id, size } of byFile.values()) if ((await engine.find(id)) === undefined) needed += size;
  const disk = await statfs(rootDir).catch(() => undefined);
  const free = disk === undefined ? Infinity : disk.bavail * disk.bsize;
  if (free < needed)
    throw new Error(
      `${rootDir} has ${describeSize(free)} free, and this takes ${describeSize(needed)}: make room (orca prune --early)`,
    );
}

async function fillVolumes({ directory }: SignedBundle, { models }: NodeShare, work: Work): Promise<void> {
  const { engine, node, undo, placed, onBytes } = work;
  const generations = models.length === 0 ? [] : await engine.reader.listGenerations(node);
  for (const { path, volume, target, service, sha256, size } of models) {
    const other = generations.find(({ of }) => of === volume);
    if (other !== undefined)
      throw new Error(
        `fill volume ${volume}: a restore has made ${other.name} of it, and which one is in force is not known here: put ${path} there by hand`,
      );
    if ((await engine.reader.inspectVolume(volume)) === undefined) {
      await engine.images.makeVolume({ name: volume, node, service });
      undo.add(`the volume ${volume}`, () => engine.images.discardVolume(volume, node));
    }
    const root = await engine.images.findVolumePath(volume);
    if (root === undefined) throw new Error(`fill volume ${volume}: it is gone again`);
    const file = await placeFile({ source: join(directory, path), sha256, size, root, target }, onBytes);
    if (file === undefined) continue;
    placed.push(file);
    undo.add(`${target} in the volume ${volume}`, () => file.undo());
  }
}
