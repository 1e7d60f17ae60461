// Who needs what on this node: the manifests in force, a change that is held, what a rollback goes to, and the backups. Pure.

import { parseImageReference } from "../../../shared/manifest/image-reference.ts";
import type { DesiredService, DesiredState } from "../../../shared/state/desired-state.ts";
import type { ReleaseRecord } from "../../../shared/state/memory.ts";
import type { ImageNeed } from "../../../shared/state/prune.ts";
import type { ServiceView } from "../../../shared/state/status.ts";

/** What a turn and the store know. */
export interface NeedSources {
  desired: DesiredState;
  /** Services as the last turn has shown them, those that leave among them. */
  views: readonly Pick<ServiceView, "name">[];
  /** What Git wants though an earlier release runs, and what a rollback goes to. */
  keeps: readonly Pick<DesiredService, "name" | "spec" | "specHash">[];
  /** The good releases of a service that are kept, newest first. */
  listReleases: (service: string, most: number) => readonly ReleaseRecord[];
  /** Images by which backups are restored; they are ids or references. */
  backupImages: readonly string[];
}

/** What is needed, by reference: an engine knows which images these are. */
export interface NamedNeeds {
  /** Reference or id of an image → who needs it. */
  images: ReadonlyMap<string, ImageNeed>;
  services: ReadonlyMap<string, ReadonlySet<string>>;
}

/** The release that runs and the one before it, which `orca rollback` goes to. */
const KEPT_RELEASES = 2;

/** Lists what a node needs. */
export function listNeeds({ desired, views, keeps, listReleases, backupImages }: NeedSources): NamedNeeds {
  const images = new Map<string, ImageNeed>();
  const services = new Map<string, Set<string>>();
  const need = (image: string, by: ImageNeed): unknown => images.has(image) || images.set(image, by);
  const know = (service: string): Set<string> => {
    const specs = services.get(service) ?? new Set<string>();
    services.set(service, specs);
    return specs;
  };
  const take = ({ name, spec, specHash }: Pick<DesiredService, "name" | "spec" | "specHash">, by: ImageNeed): void => {
    need(spec.image, by);
    know(name).add(specHash);
  };
  for (const service of listServices(desired)) take(service, "manifest");
  for (const service of keeps) take(service, "rollback");
  for (const service of listServices(desired.held?.desired)) take(service, "held-change");
  for (const name of [...views.map((view) => view.name), ...desired.objections.keys()]) know(name);
  for (const [service, specs] of services) {
    for (const { image, specHash } of listReleases(service, KEPT_RELEASES)) {
      need(image, "rollback");
      specs.add(specHash);
    }
  }
  for (const { verify } of desired.backups ?? []) if (verify?.image !== undefined) need(verify.image, "backup");
  for (const image of backupImages) need(image, "backup");
  return { images, services };
}

/** With the fronts, which are services too. */
function listServices(desired: DesiredState | undefined): DesiredService[] {
  return [...(desired?.services.values() ?? [])].flatMap((service) =>
    service.front === undefined ? [service] : [service, service.front.service],
  );
}

/** A reference as the engine lists its tag; undefined where it names none. */
export function nameTag(reference: string): string | undefined {
  const parsed = parseImageReference(reference);
  if (typeof parsed === "string") return undefined;
  const { registry, repository, tag, digest } = parsed;
  if (tag === undefined && digest !== undefined) return undefined;
  const path = registry === "docker.io" ? repository.replace(/^library\//, "") : `${registry}/${repository}`;
  return `${path}:${tag ?? "latest"}`;
}
