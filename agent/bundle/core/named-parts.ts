// Which images and volumes manifests name, and what of a bundle one node takes. Pure.

import { parseImageReference } from "../../../shared/manifest/image-reference.ts";
import type { Manifest } from "../../../shared/manifest/manifest.ts";
import { FRONT_IMAGE } from "../../../shared/state/front.ts";
import type { BundleImage, BundleManifest, BundleModel } from "./bundle-manifest.ts";

/** A manifest, and whose it is. */
export interface NamedManifest {
  node: string;
  service: string;
  manifest: Manifest;
}

/** Every image that manifests name: of services, of their backups and proofs, and of fronts. */
export function listImageNames(manifests: readonly Pick<Manifest, "image" | "backups" | "update">[]): string[] {
  const named = manifests.flatMap(({ image, backups, update }) => [
    image,
    ...(backups ?? []).flatMap((backup) => [backup.image, backup.verify?.image]),
    update.order === "start-first" ? FRONT_IMAGE : undefined,
  ]);
  return [...new Set(named)].filter((image) => image !== undefined);
}

/** Named volume → the first service that has it. */
export function listVolumeNames(manifests: readonly NamedManifest[]): Map<string, string> {
  const volumes = new Map<string, string>();
  for (const { service, manifest } of manifests)
    for (const volume of manifest.volumes ?? [])
      if ("name" in volume && volume.name !== undefined && !volumes.has(volume.name)) volumes.set(volume.name, service);
  return volumes;
}

/** What one node takes of a bundle. */
export interface NodeShare {
  images: readonly BundleImage[];
  models: readonly (BundleModel & { service: string })[];
}

/** Chooses it: what only other nodes name is left; an image that nobody names was added by hand, and is for every node. */
export function chooseShare(
  { images, models }: Pick<BundleManifest, "images" | "models">,
  manifests: readonly NamedManifest[],
  node: string,
): NodeShare {
  const own = manifests.filter((entry) => entry.node === node);
  const [mine, all] = [own, manifests].map((list) => new Set(listImageNames(list.map(({ manifest }) => manifest))));
  const volumes = listVolumeNames(own);
  return {
    images: images.filter(({ name }) => mine?.has(name) === true || all?.has(name) === false),
    models: models.flatMap((model) => {
      const service = volumes.get(model.volume);
      return service === undefined ? [] : [{ ...model, service }];
    }),
  };
}

/** The name under which an image that was loaded stays in the engine: without one it would count as left over. */
export function namePin(reference: string): { repository: string; tag: string } | undefined {
  const parsed = parseImageReference(reference);
  if (typeof parsed === "string") return undefined;
  const named = reference.replace(/@.*$/, "");
  const repository = parsed.tag === undefined ? named : named.slice(0, -parsed.tag.length - 1);
  const { digest, tag = "latest" } = parsed;
  return {
    repository,
    tag: digest === undefined ? tag : `orca-${digest.slice("sha256:".length, "sha256:".length + 12)}`,
  };
}
