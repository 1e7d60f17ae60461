// A bind mount leads where it was judged to lead: sources that others could lead elsewhere are refused, the engine is given
// the real path, and what is mounted is compared by the kernel's own word.

import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { startChecked } from "../../../agent/apply/checked-start.ts";
import { HOST_BINDS } from "../../../agent/host/os/bind-look.ts";
import type { RemoteService } from "../../../agent/desired/build/constraints.ts";
import { findUnsteadySource } from "../../../agent/desired/build/host-paths.ts";
import { buildCreateBody } from "../../../agent/docker/mapping.ts";
import type { DockerReader } from "../../../agent/docker/reader.ts";
import type { CreateRequest, DockerWriter } from "../../../agent/docker/writer.ts";
import { findLooseDirectory, findOtherNames, readRealPath } from "../../../agent/host/files/host-facts.ts";
import { findWrongBind, locatePath, parseMountinfo } from "../../../agent/host/os/mounts.ts";
import type { OwnContainerId } from "../../../shared/state/identity.ts";
import type { Manifest } from "../../../shared/manifest/manifest.ts";

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "orca-binds-"));
  mkdirSync(join(root, "data/sub"), { recursive: true });
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

const isRoot = process.getuid?.() === 0;

function bind(source: string, target = "/m", isReadOnly = false): Manifest["volumes"][number] {
  return { name: undefined, source, target, read_only: isReadOnly, ephemeral: false };
}

function neighbour(service: string, ...volumes: Manifest["volumes"]): RemoteService {
  return { node: "vm1", service, manifest: { volumes } as unknown as RemoteService["manifest"] };
}

describe("a directory that others can change", () => {
  it("is found above a source: writable by all, by a group, or of another user; not with the sticky bit", async () => {
    const source = join(root, "data/sub");
    expect(await findLooseDirectory(source)).toBeUndefined();
    chmodSync(join(root, "data"), 0o777);
    expect(await findLooseDirectory(source)).toEqual({ directory: join(root, "data"), who: "every user" });
    chmodSync(join(root, "data"), 0o1777);
    expect(await findLooseDirectory(source)).toBeUndefined();
    // What is not there yet, anybody could make there.
    expect(await findLooseDirectory(join(root, "data/later"))).toMatchObject({ directory: join(root, "data") });
    chmodSync(join(root, "data"), 0o755);
    // The source itself may be anybody's: who owns it can change what is in it, and not what it is.
    chmodSync(source, 0o777);
    expect(await findLooseDirectory(source)).toBeUndefined();
  });

  it.runIf(isRoot)("is another user's or group's", async () => {
    chownSync(join(root, "data"), 1_000, 1_000);
    expect(await findLooseDirectory(join(root, "data/sub"))).toEqual({
      directory: join(root, "data"),
      who: "user 1000",
    });
    chownSync(join(root, "data"), 0, 1_000);
    chmodSync(join(root, "data"), 0o775);
    expect(await findLooseDirectory(join(root, "data/sub"))).toMatchObject({ who: "group 1000" });
  });

  it("is refused, and so is a source inside what a container can write to", async () => {
    const host = { realPath: readRealPath, findLoose: findLooseDirectory };
    const [outer, inner] = [join(root, "data"), join(root, "data/sub")];
    const judge = async (neighbours: readonly RemoteService[]): Promise<string | undefined> => {
      const judged = { service: "a", volumes: [bind(inner)] };
      const found = await findUnsteadySource(judged, { [inner]: inner }, { host, neighbours, before: () => undefined });
      return found?.message;
    };
    expect(await judge([neighbour("a", bind(inner))])).toBeUndefined();
    expect(await judge([neighbour("b", bind(outer, "/d", true))])).toBeUndefined();
    expect(await judge([neighbour("b", bind(outer))])).toMatch(
      /^volumes\[0\]\.source: b can write to .*mount .* itself/,
    );
    symlinkSync(outer, join(root, "way"));
    expect(await judge([neighbour("b", bind(join(root, "way")))])).toMatch(/b can write to/);
    chmodSync(outer, 0o777);
    expect(await judge([])).toMatch(/every user can change .*data, and so what .*sub is/);
  });

  it("is not the fault of who mounted it before: the mount that comes above it is refused", async () => {
    const [outer, inner] = [join(root, "data"), join(root, "data/sub")];
    const host = { realPath: readRealPath, findLoose: findLooseDirectory };
    const neighbours = [neighbour("a", bind(inner)), neighbour("b", bind(outer))];
    const judge = async (service: string, old: Record<string, string>): Promise<string | undefined> => {
      const source = service === "a" ? inner : outer;
      const before = (name: string): Manifest["volumes"] | undefined => {
        const was = old[name];
        return was === undefined ? undefined : [bind(was)];
      };
      const judged = { service, volumes: [bind(source)] };
      return (await findUnsteadySource(judged, { [source]: source }, { host, neighbours, before }))?.message;
    };
    // The newcomer lies above: it is refused, and the one that ran goes on.
    expect(await judge("a", { a: inner })).toBeUndefined();
    expect(await judge("b", { a: inner })).toMatch(
      /^volumes\[0\]\.source: it could change what a mounts, .*sub, which was there/,
    );
    // The newcomer lies below: it is refused.
    expect(await judge("a", { b: outer })).toMatch(/b can write to/);
    expect(await judge("b", { b: outer })).toBeUndefined();
  });
});

describe("a file with more names than one", () => {
  const file = (): string => join(root, "data/app.conf");
  const judge = async (isReadOnly: boolean): Promise<string | undefined> => {
    const host = { realPath: readRealPath, findLoose: findLooseDirectory, findOtherNames };
    const volumes = [bind(file(), "/app.conf", isReadOnly)];
    const facts = { host, neighbours: [], before: () => undefined };
    return (await findUnsteadySource({ service: "a", volumes }, { [file()]: file() }, facts))?.message;
  };

  it.runIf(isRoot)(
    "is refused, unless everybody may read it, root alone may write, and the service only reads",
    async () => {
      writeFileSync(join(root, "private"), "x", { mode: 0o600 });
      linkSync(join(root, "private"), file());
      const refused = /^volumes\[0\]\.source: .*app\.conf is a file with 2 names.*mount a copy/;
      expect(await judge(true)).toMatch(refused);
      chmodSync(file(), 0o666);
      expect(await judge(true)).toMatch(refused);
      chmodSync(file(), 0o644);
      expect(await judge(false)).toMatch(refused);
      expect(await judge(true)).toBeUndefined();
      chownSync(file(), 1_000, 1_000);
      expect(await judge(true)).toMatch(refused);
      rmSync(join(root, "private"));
      expect(await judge(true)).toBeUndefined();
    },
  );

  it("is no matter of a directory, whose names count what is in it", async () => {
    expect(await findOtherNames(join(root, "data"))).toBeUndefined();
    expect(await findOtherNames(join(root, "nothing"))).toBeUndefined();
  });
});

describe("what the engine is given", () => {
  it("is the real path of each source", () => {
    const volumes = [
      { source: "/mnt/way", target: "/m" },
      { name: "v", target: "/v" },
    ];
    const request = { spec: { image: "app:1", volumes }, sources: { "/mnt/way": "/mnt/real" } };
    const rest = { binds: [], carried: [], extraEnv: {}, caps: { memoryBytes: 1, nanoCpus: 0, cpuShares: 0, pids: 1 } };
    const body = buildCreateBody({ ...request, ...rest } as unknown as CreateRequest);
    const { Mounts: mounts } = body["HostConfig"] as { Mounts: { Source: string }[] };
    expect(mounts.map(({ Source }) => Source)).toEqual(["/mnt/real", "v"]);
  });
});

describe("what the kernel has mounted", () => {
  const OWN = parseMountinfo(
    [
      "20 1 8:1 / / rw - ext4 /dev/sda1 rw",
      "30 20 8:16 / /mnt/data rw - ext4 /dev/sdb rw",
      "31 30 8:32 /@vol /mnt/data/with\\040space rw - btrfs /dev/sdc rw",
      "32 20 0:40 / /tmp rw - tmpfs tmpfs rw",
      "33 32 0:41 / /tmp rw - tmpfs tmpfs rw",
    ].join("\n"),
  );

  it("is told by file system and path", () => {
    expect(locatePath(OWN, "/srv/app")).toEqual({ device: "8:1", root: "/srv/app" });
    expect(locatePath(OWN, "/mnt/data")).toEqual({ device: "8:16", root: "/" });
    expect(locatePath(OWN, "/mnt/data/db")).toEqual({ device: "8:16", root: "/db" });
    expect(locatePath(OWN, "/mnt/database")).toEqual({ device: "8:1", root: "/mnt/database" });
    expect(locatePath(OWN, "/mnt/data/with space/x")).toEqual({ device: "8:32", root: "/@vol/x" });
    expect(locatePath(OWN, "/tmp/x")).toEqual({ device: "0:41", root: "/x" });
  });

  it("nobody can say of a process that has ended", async () => {
    const binds = [{ source: "/a", target: "/m", real: "/a" }];
    expect(await findWrongBind(0, binds)).toBeUndefined();
    // No process has this number: the kernel's numbers end before it.
    expect(await findWrongBind(2 ** 30, binds)).toBeUndefined();
  });

  it("is wrong where the process sees another directory, or none", async () => {
    // This process has its own root mounted at "/", and nothing at /m.
    const good = { source: "/", target: "/", real: "/" };
    expect(await findWrongBind(process.pid, [good])).toBeUndefined();
    const wrong = { source: "/etc", target: "/", real: "/etc" };
    expect(await findWrongBind(process.pid, [good, wrong])).toEqual(wrong);
  });
});

describe("a start", () => {
  const id = "a".repeat(64) as OwnContainerId;
  const calls: string[] = [];
  const writer = {
    startContainer: () => Promise.resolve(void calls.push("start")),
    removeContainer: () => Promise.resolve(void calls.push("remove")),
  } as unknown as DockerWriter;
  const reader = { inspectContainer: () => Promise.resolve({ pid: 0 }) } as unknown as DockerReader;

  beforeEach(() => void (calls.length = 0));

  it("is not made where a source leads elsewhere than when it was judged", async () => {
    const source = join(root, "data/sub");
    const binds = [{ source, target: "/m", real: source }];
    await startChecked(id, binds, { reader, writer, look: HOST_BINDS });
    expect(calls).toEqual(["start"]);
    renameSync(source, join(root, "data/was"));
    symlinkSync("/etc", source);
    await expect(startChecked(id, binds, { reader, writer, look: HOST_BINDS })).rejects.toThrow(
      /what is mounted at \/m is not .*not started/,
    );
    expect(calls).toEqual(["start"]);
  });

  it("is not made where a hard link lies in the place of a file", async () => {
    const source = join(root, "data/app.conf");
    writeFileSync(source, "judged");
    const binds = [{ source, target: "/m", real: source }];
    await startChecked(id, binds, { reader, writer, look: HOST_BINDS });
    writeFileSync(join(root, "private"), "x", { mode: 0o600 });
    rmSync(source);
    linkSync(join(root, "private"), source);
    await expect(startChecked(id, binds, { reader, writer, look: HOST_BINDS })).rejects.toThrow(/not started/);
    expect(calls).toEqual(["start"]);
  });

  it("that shows another directory is undone at once", async () => {
    const source = join(root, "data/sub");
    const swapping = {
      ...writer,
      startContainer: () => {
        calls.push("start");
        renameSync(source, join(root, "data/was"));
        symlinkSync("/etc", source);
        return Promise.resolve();
      },
    } as unknown as DockerWriter;
    const binds = [{ source, target: "/m", real: source }];
    await expect(startChecked(id, binds, { reader, writer: swapping, look: HOST_BINDS })).rejects.toThrow(
      /removed at once/,
    );
    expect(calls).toEqual(["start", "remove"]);
  });

  it("that shows what the kernel has mounted from elsewhere is undone, although the source is back", async () => {
    const own = { inspectContainer: () => Promise.resolve({ pid: process.pid }) } as unknown as DockerReader;
    const real = join(root, "data/sub");
    const binds = [{ source: real, target: "/", real }];
    await expect(startChecked(id, binds, { reader: own, writer, look: HOST_BINDS })).rejects.toThrow(/removed at once/);
    expect(calls).toEqual(["start", "remove"]);
  });
});
