// Which services of a lost node have data that a recovery brings back, and which stores only a person can. Read from the manifests before
// anything is written, so that nobody finds out in the middle.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import { findPlaceKind } from "../../backup/restore/data-places.ts";
import { findLayout } from "../../sources/tree/repository-layout.ts";
import type { KnownBackup, StoreStatus } from "../../../shared/state/backup.ts";
import { parseManifest } from "../../../shared/manifest/parse-manifest.ts";
import type { Manifest } from "../../../shared/manifest/manifest.ts";
import { chooseBest } from "../backup/best-backup.ts";
import { CommandError } from "../frame/exit-codes.ts";

/** What a recovery restores. */
export interface Stored {
  services: string[];
  /** These, and what they need on the node: they may start before the data is there. */
  mayStart: string[];
  /** `SERVICE/STORE` of services without volumes: nothing is lost where nobody restores them. */
  byHand: string[];
}

type Placed = readonly { service: string; manifest: Manifest }[];

/**
 * Chooses the services. Throws where one keeps data of which every backup is for a person to restore: it would begin empty.
 * @param without services that may begin empty
 */
export function chooseStored(manifests: Placed, node: string, without: readonly string[]): Stored {
  const own = manifests.filter(({ manifest, service }) => manifest.backups.length > 0 && !without.includes(service));
  const isPlaced = ({ manifest }: Placed[number]): boolean =>
    manifest.backups.some(({ engine }) => findPlaceKind(engine) !== undefined);
  const lost = own.filter((entry) => !isPlaced(entry) && entry.manifest.volumes.length > 0);
  if (lost.length > 0)
    throw new CommandError(
      `only a person can restore ${lost.map(({ service }) => service).join(", ")} (no backup of it goes back into place): ` +
        `let it begin empty with ${lost.map(({ service }) => `--without ${service}`).join(" ")}, and restore it afterwards; nothing was written`,
    );
  const services = own.filter(isPlaced).map(({ service }) => service);
  const mayStart = new Set(services);
  for (const name of mayStart) {
    const requires = manifests.find(({ service }) => service === name)?.manifest.requires ?? [];
    for (const { target } of requires)
      if (target.kind === "service" && (target.node === undefined || target.node === node))
        mayStart.add(target.service);
  }
  const byHand = own.flatMap(({ service, manifest }) =>
    manifest.backups.flatMap(({ name, engine }) => (findPlaceKind(engine) === undefined ? [`${service}/${name}`] : [])),
  );
  return { services, mayStart: [...mayStart], byHand };
}

/** Of stores of one service that go back into the same place, the one whose best backup is the newest; undefined where none has any. */
export function chooseStore(stores: readonly StoreStatus[]): { store: string; best: KnownBackup } | undefined {
  const placed = stores.filter(({ engine }) => findPlaceKind(engine) !== undefined);
  const found = placed.flatMap(({ store, backups }) => {
    const best = chooseBest(backups);
    return best === undefined ? [] : [{ store, best }];
  });
  return found.toSorted((left, right) => right.best.startedMs - left.best.startedMs)[0];
}

/** Every manifest of a node; the agent says what is wrong with one that does not parse. */
export async function readManifests(directory: string, node: string): Promise<Placed> {
  const { root } = await findLayout(directory);
  const folder = join(root, "manifests", node);
  const files = (await readdir(folder)).filter((file) => file.endsWith(".toml"));
  const read = files.map(async (file) => {
    const parsed = await parseManifest(await readFile(join(folder, file), "utf8"), file);
    return parsed.ok ? [{ service: file.slice(0, -".toml".length), manifest: parsed.value }] : [];
  });
  return (await Promise.all(read)).flat();
}
