// Images that travel in a bundle: out of an engine and into one as streams, and by name. Given a dockerode instance by engine.ts; handed to
// bundle/ alone. Nothing here removes an image that it has not loaded, and nothing by force.

import type { Readable } from "node:stream";

import { LABEL } from "../../shared/state/identity.ts";
import { call, callUnless } from "./call.ts";
import { EngineError } from "./reader.ts";

/** An image on this host. */
interface HeldImage {
  id: string;
  /** `repository@sha256:…`, as registries know it. */
  digests: readonly string[];
  tags: readonly string[];
  sizeBytes: number;
}

/** Every call may throw an `EngineError`. */
export interface BundledImages {
  /** By reference or id; undefined where it is not here. */
  find(reference: string): Promise<HeldImage | undefined>;
  /** The image as a tar, piece by piece. */
  save(id: string): Promise<AsyncIterable<Uint8Array>>;
  /** Loads such a tar, of which each piece need be good only until the next one is asked for; answers the ids and names that the engine says it has loaded. */
  load(pieces: AsyncIterable<Uint8Array>): Promise<string[]>;
  /** Gives an image a name, which another one may lose by it. */
  tag(id: string, name: { repository: string; tag: string }): Promise<void>;
  /** Takes a name away; with its last name the image goes. One that is not there, or that a container has, is fine. */
  remove(reference: string): Promise<void>;
  /** Makes a volume for a service, as its start would. */
  makeVolume(request: { name: string; node: string; service: string }): Promise<void>;
  /** Removes a volume that was just made and that no container has; one that is gone is fine. */
  discardVolume(name: string, node: string): Promise<void>;
  /** How this host's directory of a volume is called; undefined where there is no such volume or no such directory. */
  findVolumePath(volume: string): Promise<string | undefined>;
}

interface ImageJson {
  Id: string;
  RepoDigests?: string[] | null;
  RepoTags?: string[] | null;
  Size: number;
}

/** The corner of dockerode that is needed here; only engine.ts knows the rest. */
interface ImageDocker {
  getImage(reference: string): {
    inspect(): Promise<ImageJson>;
    get(): Promise<NodeJS.ReadableStream>;
    tag(options: { repo: string; tag: string }): Promise<unknown>;
    remove(options: object): Promise<unknown>;
  };
  loadImage(pieces: Readable, options: object): Promise<NodeJS.ReadableStream>;
  createVolume(options: object): Promise<unknown>;
  getVolume(name: string): {
    remove(): Promise<unknown>;
    inspect(): Promise<{
      Driver: string;
      Mountpoint: string;
      Options?: Record<string, string> | null;
      Labels?: Record<string, string> | null;
    }>;
  };
}

/** Of what the engine says while it loads. */
const LONGEST_ANSWER = 1_000_000;

/** Builds it. */
export function createBundledImages(docker: ImageDocker): BundledImages {
  return {
    find: (reference) =>
      callUnless("inspect image", [404], async () => {
        const { Id, RepoDigests, RepoTags, Size } = await docker.getImage(reference).inspect();
        return { id: Id, digests: RepoDigests ?? [], tags: RepoTags ?? [], sizeBytes: Size };
      }),
    save: (id) =>
      call(`save image ${id}`, async () => (await docker.getImage(id).get()) as unknown as AsyncIterable<Uint8Array>),
    load: (pieces) => call("load image", () => load(docker, pieces)),
    tag: async (id, { repository, tag }) => {
      await call(`tag image ${id}`, () => docker.getImage(id).tag({ repo: repository, tag }));
    },
    remove: async (reference) => {
      await callUnless(`remove image ${reference}`, [404, 409], () =>
        docker.getImage(reference).remove({ force: false }),
      );
    },
    makeVolume: async ({ name, node, service }) => {
      const labels = { [LABEL.node]: node, [LABEL.service]: service };
      await call(`make volume ${name}`, () => docker.createVolume({ Name: name, Labels: labels }));
    },
    discardVolume: async (name, node) => {
      const labels = await callUnless(
        "inspect volume",
        [404],
        async () => (await docker.getVolume(name).inspect()).Labels ?? {},
      );
      if (labels?.[LABEL.node] !== node) return;
      await callUnless(`remove volume ${name}`, [404, 409], () => docker.getVolume(name).remove());
    },
    findVolumePath: (volume) =>
      callUnless("inspect volume", [404], async () => {
        const { Driver, Mountpoint, Options } = await docker.getVolume(volume).inspect();
        if (Driver !== "local" || Object.keys(Options ?? {}).length > 0)
          throw new EngineError(
            `fill volume ${volume}: it is no directory of this host's engine (driver ${Driver})`,
            400,
          );
        return Mountpoint;
      }),
  };
}

async function load(docker: ImageDocker, pieces: AsyncIterable<Uint8Array>): Promise<string[]> {
  const { Readable: Stream } = await import("node:stream");
  // The request reads ahead, and a piece is good only until the next one is asked for.
  const body = Stream.from(copyPieces(pieces), { objectMode: false });
  // A bundle that cannot be read to its end ends the request, and that is what is told.
  let broken: Error | undefined;
  body.once("error", (error: Error) => (broken = error));
  let text = "";
  try {
    const answer = (await docker.loadImage(body, { quiet: true })) as AsyncIterable<Buffer>;
    for await (const piece of answer) text = (text + piece.toString()).slice(0, LONGEST_ANSWER);
  } catch (error) {
    throw broken ?? error;
  }
  if (broken !== undefined) throw broken;
  return readLoaded(text);
}

async function* copyPieces(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) yield Buffer.from(piece);
}

/** `{"stream":"Loaded image ID: sha256:…\n"}`, a line for each image; or an error in its place. */
function readLoaded(text: string): string[] {
  const loaded: string[] = [];
  for (const line of text.split("\n").filter((entry) => entry.trim() !== "")) {
    const { stream, error } = JSON.parse(line) as { stream?: string; error?: string };
    if (error !== undefined) throw new EngineError(`load image: ${error}`, 400);
    const [, name] = /^Loaded image(?: ID)?: (\S+)\s*$/.exec(stream ?? "") ?? [];
    if (name !== undefined) loaded.push(name);
  }
  return loaded;
}
