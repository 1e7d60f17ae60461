// What a prune takes and why the rest stays. Pure. It takes what it can say the uselessness of, and nothing else: images that services
// of this node have used and nobody needs, images that no name leads to, own containers that ended long ago, and old build cache.
// A volume cannot be said here.

import type {
  ImageMemory,
  KeepReason,
  PruneChoice,
  PruneContainer,
  PruneImage,
  PruneInventory,
  PruneItem,
  PruneNeeds,
} from "../../../shared/state/prune.ts";
import { compareText } from "../../../shared/text/problem.ts";

/** How long something must have been useless. */
export interface PruneAges {
  imageMs: number;
  containerMs: number;
  cacheMs: number;
}

const HOUR_MS = 3_600_000;
/** A week, as behaviour promises: 168 h. */
export const WEEK_MS = 168 * HOUR_MS;

/** By the weekly schedule, and when a person asks. */
export const WEEKLY_AGES: PruneAges = { imageMs: WEEK_MS, containerMs: WEEK_MS, cacheMs: WEEK_MS };
/** A disk that runs full: what nobody needs goes sooner. A container's last words are still worth a week. */
export const EARLY_AGES: PruneAges = { imageMs: HOUR_MS, containerMs: WEEK_MS, cacheMs: HOUR_MS };

/** What is remembered of images, by id. */
export type ImageMemories = Readonly<Record<string, ImageMemory>>;

const NO_NEED: ImageMemory = { sinceMs: Number.POSITIVE_INFINITY, idle: false, used: false, tags: [] };

/**
 * Chooses what goes.
 * @param inventory what the engine has
 * @param needs what the node needs; whoever does not know that must not ask
 * @param memory as `rememberImages` has made it of this same inventory
 */
export function choosePrune(
  inventory: PruneInventory,
  needs: PruneNeeds,
  memory: ImageMemories,
  { nowMs, ages }: { nowMs: number; ages: PruneAges },
): PruneChoice {
  const remove: PruneItem[] = [];
  const keep: PruneChoice["keep"][number][] = [];
  for (const container of sortById(inventory.containers)) {
    const { id, name } = container;
    const judged = judgeContainer(container, { inventory, needs, nowMs, ageMs: ages.containerMs });
    if ("code" in judged) keep.push({ kind: "container", id, name, reason: judged });
    else remove.push({ kind: "container", id: judged.id, name, service: judged.service });
  }
  const holders = findHolders(inventory, new Set(remove.map((item) => ("id" in item ? item.id : ""))));
  const shared = inventory.containers.some(({ owner }) => owner.kind === "peer");
  for (const image of sortById(inventory.images)) {
    const { id, tags, digests, freesBytes } = image;
    const known = memory[id] ?? NO_NEED;
    const reason = judgeImage(image, { needs, known, shared, holder: holders.get(id), nowMs, ageMs: ages.imageMs });
    if (reason === undefined) remove.push({ kind: "image", id, tags, digests, freesBytes });
    else keep.push({ kind: "image", id, name: tags[0] ?? id, reason });
  }
  return { remove: [...remove, { kind: "build-cache", unusedMs: ages.cacheMs }], keep };
}

interface ContainerGround {
  inventory: PruneInventory;
  needs: PruneNeeds;
  nowMs: number;
  ageMs: number;
}

type OwnOwner = Extract<PruneContainer["owner"], { kind: "own" }>;

/** Why a container stays, or as whose it goes. */
function judgeContainer(
  container: PruneContainer,
  { inventory, needs, nowMs, ageMs }: ContainerGround,
): KeepReason | OwnOwner {
  const { owner, status, pinned, hasUnnamedData, stoppedMs } = container;
  if (owner.kind !== "own") return { code: owner.kind === "peer" ? "other-node" : owner.kind };
  if (status !== "exited" && status !== "created" && status !== "dead") return { code: "not-stopped" };
  if (pinned) return { code: "pinned" };
  if (hasUnnamedData) return { code: "unnamed-data" };
  const { service } = owner;
  const specs = needs.services.get(service);
  const isOnly = countOwn(inventory, service) < 2;
  if (specs !== undefined && (isOnly || specs.has(owner.specHash))) return { code: "of-service", service };
  return judgeAge(stoppedMs, nowMs, ageMs) ?? owner;
}

function countOwn({ containers }: PruneInventory, service: string): number {
  return containers.filter(({ owner }) => owner.kind === "own" && owner.service === service).length;
}

/** What ended at a time that nobody knows, or that lies ahead, is taken for young. */
function judgeAge(sinceMs: number | undefined, nowMs: number, ageMs: number): KeepReason | undefined {
  const forMs = sinceMs === undefined || !Number.isFinite(sinceMs) ? 0 : Math.max(0, nowMs - sinceMs);
  return forMs < ageMs ? { code: "young", forMs } : undefined;
}

/** Image → the container that has it; one that goes holds nothing. */
function findHolders({ containers }: PruneInventory, going: ReadonlySet<string>): ReadonlyMap<string, string> {
  return new Map(
    sortById(containers)
      .filter(({ id }) => !going.has(id))
      .map(({ imageId, name }) => [imageId, name]),
  );
}

interface ImageGround {
  needs: PruneNeeds;
  known: ImageMemory;
  /** Another node of Orca uses this engine: what it would go back to is not known here. */
  shared: boolean;
  holder: string | undefined;
  nowMs: number;
  ageMs: number;
}

/** Why an image stays; undefined for one that may go. */
function judgeImage(
  { id, tags, digests, pinned }: PruneImage,
  { needs, known, shared, holder, nowMs, ageMs }: ImageGround,
): KeepReason | undefined {
  const by = needs.images.get(id);
  if (by !== undefined) return { code: "needed", by };
  if (holder !== undefined) return { code: "has-container", container: holder };
  if (pinned) return { code: "pinned" };
  if (!known.used && (tags.length > 0 || digests.length > 0)) return { code: "foreign" };
  if (shared && known.used) return { code: "other-node" };
  const other = tags.find((tag) => !known.tags.includes(tag));
  if (other !== undefined) return { code: "other-name", name: other };
  return judgeAge(known.sinceMs, nowMs, ageMs);
}

/**
 * Takes over what is seen now: since when each image was used by nobody here. What is gone from the engine is forgotten.
 * @param names the tags that services of this node name
 */
export function rememberImages(
  before: ImageMemories,
  inventory: PruneInventory,
  { needs, names, nowMs }: { needs: PruneNeeds; names: ReadonlySet<string>; nowMs: number },
): Record<string, ImageMemory> {
  const ours = new Set(
    inventory.containers
      .filter(({ owner }) => owner.kind === "own" || owner.kind === "job")
      .map(({ imageId }) => imageId),
  );
  const held = new Set(inventory.containers.map(({ imageId }) => imageId));
  const after: [string, ImageMemory][] = inventory.images.flatMap(({ id, tags, digests }) => {
    const known = before[id];
    const isNeeded = needs.images.has(id) || ours.has(id);
    if (!isNeeded && known === undefined && (tags.length > 0 || digests.length > 0)) return [];
    const used = isNeeded || known?.used === true;
    const idle = !isNeeded && !held.has(id);
    // Between two looks it may have been in use until now: the agent may have been away. A clock that was ahead makes nothing younger.
    const sinceMs = idle && known?.idle === true ? Math.min(known.sinceMs, nowMs) : nowMs;
    const own = tags.filter((tag) => known?.tags.includes(tag) === true || (isNeeded && names.has(tag)));
    return [[id, { sinceMs, idle, used, tags: own }]];
  });
  return Object.fromEntries(after);
}

function sortById<T extends { id: string }>(items: readonly T[]): T[] {
  return items.toSorted((one, other) => compareText(one.id, other.id));
}
