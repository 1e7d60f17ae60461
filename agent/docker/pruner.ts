// The pruning part of the Docker port: reads what the engine keeps, and removes one thing at a call. It removes what is not in use, never
// by force, and knows no call for a volume. Given a dockerode instance by engine.ts; handed to prune/ alone.

import { claimContainer, LABEL } from "../../shared/state/identity.ts";
import type { PruneContainer, PruneImage, PruneItem } from "../../shared/state/prune.ts";
import { call, callUnless } from "./call.ts";
import type { InspectJson, ListJson } from "./mapping.ts";
import { mapContainer, mapDetail } from "./mapping.ts";
import { JOB_LABEL } from "./job-label.ts";
import { EngineError } from "./reader.ts";

/** Whoever carries this label stays, whatever it is. */
const KEEP_LABEL = "orca.keep";

/** Reads and removes. Every call may throw an `EngineError`. */
export interface Pruner {
  /** `sizes` asks what each would free, which the engine must count. */
  readImages(sizes: boolean): Promise<PruneImage[]>;
  /** Every container; of those that ended, when. */
  readContainers(node: string): Promise<PruneContainer[]>;
  /** Removes one thing where nothing uses it; answers what that freed, or why it stays. */
  remove(item: PruneItem): Promise<Removal>;
}

/** What came of one removal. */
type Removal = { freedBytes: number } | { stays: string };

interface ImageJson {
  Id: string;
  RepoTags?: string[] | null;
  RepoDigests?: string[] | null;
  Size: number;
  SharedSize?: number;
  Labels?: Record<string, string> | null;
}

type PruneListJson = ListJson & { ImageID: string; Created: number };

/** The corner of dockerode that is needed here; only engine.ts knows the rest. */
interface PruneDocker {
  listImages(options: object): Promise<ImageJson[]>;
  listContainers(options: object): Promise<PruneListJson[]>;
  getContainer(id: string): { inspect(): Promise<InspectJson>; remove(options: object): Promise<unknown> };
  getImage(name: string): { remove(options: object): Promise<unknown> };
  modem: { dial(request: object, done: (error: Error | null, answer: unknown) => void): void };
}

/** Builds it. */
export function createPruner(docker: PruneDocker): Pruner {
  return {
    readImages: (sizes) =>
      call("list images", async () =>
        (await docker.listImages(sizes ? { "shared-size": true } : {})).map((json) => mapImage(json)),
      ),
    readContainers: (node) => call("list containers", () => readContainers(docker, node)),
    remove: async (item) => {
      try {
        switch (item.kind) {
          case "container":
            return await removeContainer(docker, item.id);
          case "image":
            return await removeImage(docker, item);
          case "build-cache":
            return await pruneBuildCache(docker, item.unusedMs);
          default:
            return item satisfies never;
        }
      } catch (error) {
        // Something has come to need it, which only the engine can know for sure.
        if (error instanceof EngineError && error.status === 409) return { stays: error.message };
        throw error;
      }
    },
  };
}

/** A name or digest of nothing, as the engine writes it. */
const NONE = "<none>";

function mapImage({ Id, RepoTags, RepoDigests, Size, SharedSize = 0, Labels }: ImageJson): PruneImage {
  const select = (names: string[] | null | undefined): string[] =>
    (names ?? []).filter((name) => !name.startsWith(NONE));
  return {
    id: Id,
    tags: select(RepoTags).filter((tag) => !tag.endsWith(`:${NONE}`)),
    digests: select(RepoDigests),
    freesBytes: Math.max(0, Size - Math.max(0, SharedSize)),
    pinned: Labels?.[KEEP_LABEL] !== undefined,
  };
}

async function readContainers(docker: PruneDocker, node: string): Promise<PruneContainer[]> {
  const found: PruneContainer[] = [];
  for (const json of await docker.listContainers({ all: true })) {
    const { id, name, labels, status } = mapContainer(json);
    const owner = findOwner(id, labels, node);
    const isOver = status === "exited" || status === "created" || status === "dead";
    const detail =
      owner.kind === "own" && isOver
        ? await callUnless("inspect container", [404], async () => mapDetail(await docker.getContainer(id).inspect()))
        : undefined;
    found.push({
      id,
      name,
      imageId: json.ImageID,
      status,
      owner,
      stoppedMs: detail && (detail.finishedMs ?? json.Created * 1_000),
      hasUnnamedData: (detail?.ownVolumes.length ?? 0) > 0,
      pinned: labels[KEEP_LABEL] !== undefined,
    });
  }
  return found;
}

function findOwner(id: string, labels: Readonly<Record<string, string>>, node: string): PruneContainer["owner"] {
  if (labels[JOB_LABEL] !== undefined) return { kind: "job" };
  const own = claimContainer(id, labels, node);
  if (own !== undefined)
    return { kind: "own", id: own, service: labels[LABEL.service] ?? "", specHash: labels[LABEL.spec] ?? "" };
  return { kind: labels[LABEL.node] === undefined ? "foreign" : "peer" };
}

/** Without force the engine refuses one that runs; without `v` its volumes stay. */
async function removeContainer(docker: PruneDocker, id: string): Promise<Removal> {
  await callUnless("remove container", [404], async () => {
    await docker.getContainer(id).remove({ force: false, v: false });
    return true;
  });
  return { freedBytes: 0 };
}

async function removeImage(
  docker: PruneDocker,
  { id, tags, digests, freesBytes }: Extract<PruneItem, { kind: "image" }>,
): Promise<Removal> {
  // Taking one of several names asks for no container: the engine would leave one without its image's name.
  const holders = await call("list containers", () =>
    docker.listContainers({ all: true, filters: { ancestor: [id] } }),
  );
  const [holder] = holders;
  if (holder !== undefined) return { stays: `the container ${mapContainer(holder).name} has it by now` };
  const names = [...tags, ...digests];
  const repositories = new Set(names.map((name) => name.replace(/@.*$|:[^:/]*$/, "")));
  // By its id the engine takes one away with all its names, unless they are of several repositories.
  for (const name of repositories.size > 1 ? names : [id])
    await callUnless("remove image", [404], async () => {
      await docker.getImage(name).remove({ force: false, noprune: true });
      return true;
    });
  return { freedBytes: freesBytes };
}

async function pruneBuildCache(docker: PruneDocker, unusedMs: number): Promise<Removal> {
  const answer = await call("prune build cache", () => {
    const filters = JSON.stringify({ until: [`${Math.ceil(unusedMs / 1_000)}s`] });
    const request = {
      path: "/build/prune?",
      method: "POST",
      options: { all: true, filters },
      statusCodes: { 200: true, 404: "no builder", 500: "server error" },
    };
    return new Promise<{ SpaceReclaimed?: number }>((resolve, reject) => {
      docker.modem.dial(request, (error, body) =>
        error ? reject(error) : resolve(body as { SpaceReclaimed?: number }),
      );
    });
  });
  return { freedBytes: answer.SpaceReclaimed ?? 0 };
}
