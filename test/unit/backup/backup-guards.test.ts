// What is looked at before a program of a backup may read anything: the bind mounts that it shares with its service, by a start that
// finds them swapped before, on the way or after; and the images that it takes, which are pulled where they are not on the host.

import { PassThrough } from "node:stream";

import { expect, test } from "vitest";

import { createImageFetcher } from "../../../agent/docker/fetch-image.ts";
import { createOneShots, type StartGuard } from "../../../agent/docker/one-shot.ts";

const FINE: StartGuard = async (_container, { start: begin }) => {
  await begin();
  return undefined;
};
const REQUEST = {
  job: "backup:mail/files",
  node: "vm1",
  image: "tar:1",
  argv: ["tar"],
  env: {},
  user: undefined,
  network: "none",
  memoryBytes: 1,
  binds: [],
  volumesOf: "c1",
};

/** Starts a one-shot with a guard; answers what was called, and why it was not run. */
async function start(guard: StartGuard, starts = true): Promise<{ calls: string[]; error: string | undefined }> {
  const calls: string[] = [];
  const container = {
    id: "one",
    attach: async () => new PassThrough(),
    start: async () => {
      calls.push("start");
      if (!starts) throw new Error("the engine says that it was killed");
    },
    wait: () => new Promise<{ StatusCode: number }>(() => undefined),
    inspect: async () => ({ Image: "tar:1", State: { ExitCode: 0, Pid: 7 } }),
    remove: async () => void calls.push("remove"),
    putArchive: async () => undefined,
  };
  const docker = {
    createContainer: async () => container,
    listContainers: async () => [],
    getContainer: () => container,
    listNetworks: async () => [],
    getNetwork: () => ({ remove: async () => undefined }),
  };
  const exec = { run: async () => ({ exitCode: 0, output: "" }), stream: async () => Promise.reject(new Error("no")) };
  const run = createOneShots(docker, exec).run({ ...REQUEST, guard });
  const error = await run.then(
    () => undefined,
    (failure: unknown) => (failure instanceof Error ? failure.message : String(failure)),
  );
  return { calls, error };
}

test("a swapped bind mount makes no backup, whenever it is found", async () => {
  const moved = "what is mounted at /srv is not /data";
  expect(await start(FINE)).toEqual({ calls: ["start"], error: undefined });
  expect((await start(FINE, false)).error).toContain("the engine says that it was killed");
  const error = expect.stringContaining(moved) as string;
  expect(await start(async () => moved)).toEqual({ calls: ["remove"], error });
  const after: StartGuard = async (id, { start: begin, findPid }) => {
    await begin();
    return id === "one" && (await findPid()) === 7 ? moved : undefined;
  };
  expect(await start(after)).toEqual({ calls: ["start", "remove"], error });
});

test("an image is pulled with its registry's credentials where it is not on the host, and what is in the way is said", async () => {
  const pulled: unknown[] = [];
  let here = false;
  const engine = {
    reader: { findImage: async () => (here ? "sha256:1" : undefined) },
    writer: {
      pullImage: async (image: string, { auth }: { auth: unknown }) => {
        if (image === "gone:1") throw new Error("manifest unknown");
        pulled.push([image, auth]);
      },
    },
  };
  const auth = { username: "ci", password: "x", serveraddress: "registry.example.org" };
  const fetch = createImageFetcher(engine, async () => auth);
  const { signal } = new AbortController();
  expect(await fetch("registry.example.org/pg:16", signal)).toBe(undefined);
  expect(await fetch("gone:1", signal)).toBe(
    "the image gone:1 is not on this host, and cannot be pulled: manifest unknown",
  );
  here = true;
  expect(await fetch("registry.example.org/pg:16", signal)).toBe(undefined);
  expect(pulled).toEqual([["registry.example.org/pg:16", auth]]);
});
