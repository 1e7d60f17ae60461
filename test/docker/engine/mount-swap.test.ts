// A directory that somebody swaps for a link at the very moment of the engine's start call: the container's first process is killed
// when its mounts show it, and the program never begins. Mounts that are right are let through, however they lie.

import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeEach, expect, test } from "vitest";

import { startChecked } from "../../../agent/apply/checked-start.ts";
import { HOST_BINDS } from "../../../agent/host/os/bind-look.ts";
import { openEngine } from "../../../agent/docker/engine.ts";
import type { DockerWriter } from "../../../agent/docker/writer.ts";
import type { OwnContainerId } from "../../../shared/state/identity.ts";
import { IMAGE } from "../../../scripts/lab/engine/real-node.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { docker } from "../../builders/engine/docker-cli.ts";

const NODE = nameForRun("mount-swap");
const engine = openEngine("/var/run/docker.sock");
/** What writes at once what it sees. */
const READER = ["sh", "-c", "echo begun; cat /m/word; cat /m/word >/out/word; exec sleep 7777"];

let root: string;
let source: string;
let out: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "orca-mount-swap-"));
  [source, out] = [join(root, "data/sub"), join(root, "out")];
  for (const name of ["data/sub", "forbidden", "out"]) mkdirSync(join(root, name), { recursive: true });
  writeFileSync(join(source, "word"), "judged\n");
  writeFileSync(join(root, "forbidden/word"), "forbidden\n");
});

afterEach(async () => {
  const left = await docker("ps", "-aq", "--filter", `label=orca.node=${NODE}`);
  for (const id of left.split("\n").filter(Boolean)) await docker("rm", "-f", id);
  rmSync(root, { recursive: true, force: true });
});

afterAll(() => engine.close());

interface Binds {
  target: string;
  image?: string;
  command?: readonly string[];
}

async function start({ target, image = IMAGE, command = READER }: Binds, writer: DockerWriter): Promise<string> {
  const mounts = [`${source}:${target}`, `${out}:/out`].flatMap((mount) => ["-v", mount]);
  const id = await docker("create", "--label", `orca.node=${NODE}`, ...mounts, image, ...command);
  const binds = [
    { source, target, real: source },
    { source: out, target: "/out", real: out },
  ];
  await startChecked(id as OwnContainerId, binds, { reader: engine.reader, writer, look: HOST_BINDS });
  return id;
}

test.each([1, 2, 3, 4, 5])("a swap at the start call: nothing of the program runs (%i)", async () => {
  let printed: string | undefined;
  const writer = {
    ...engine.writer,
    startContainer: (id: OwnContainerId) => {
      renameSync(source, join(root, "data/was"));
      symlinkSync(join(root, "forbidden"), source);
      return engine.writer.startContainer(id);
    },
    removeContainer: async (id: OwnContainerId) => {
      printed = await docker("logs", id);
      await engine.writer.removeContainer(id);
    },
  };
  await expect(start({ target: "/m" }, writer)).rejects.toThrow(
    /what is mounted at \/m is not .*killed while it started/,
  );
  expect(printed).toBe("");
  expect(existsSync(join(out, "word"))).toBe(false);
  expect(await docker("ps", "-aq", "--filter", `label=orca.node=${NODE}`)).toBe("");
});

test("what is mounted as it was judged runs: also where the host has a mount of that name, and behind a link of the image", async () => {
  const linked = nameForRun("mount-swap-image");
  await docker("run", "--name", linked, "--label", `orca.node=${NODE}`, IMAGE, "ln", "-s", "/tmp/there", "/m");
  await docker("commit", linked, `${linked}:1`);
  for (const bind of [{ target: "/m" }, { target: "/dev/shm" }, { target: "/m", image: `${linked}:1` }]) {
    const word = `${bind.target}/word`;
    const id = await start({ ...bind, command: ["sh", "-c", `cat ${word}; exec sleep 7777`] }, engine.writer);
    await expect.poll(() => docker("logs", id), { timeout: 20_000 }).toBe("judged");
    expect(await docker("inspect", "-f", "{{.State.Running}}", id)).toBe("true");
    await docker("rm", "-f", id);
  }
  await docker("rm", linked);
  await docker("rmi", `${linked}:1`);
});
