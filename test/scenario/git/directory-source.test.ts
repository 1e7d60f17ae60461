// The directory source reads what others have put there: whatever an entry is, it is that one file's fault, and nothing
// hangs, follows or is refused as a whole.

import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { describeUnread } from "../../../shared/text/words/source-words.ts";
import { systemClock } from "../../../agent/host/os/clock.ts";
import { readPlainFile } from "../../../agent/host/files/plain-file.ts";
import { DirectorySource } from "../../../agent/sources/directory/directory-source.ts";
import type { Snapshot } from "../../../shared/state/snapshot.ts";
import { type Kind, KINDS } from "../../builders/node/hostile-directory.ts";
import { buildManifest } from "../../builders/node/manifest.ts";

let root: string;
let source: DirectorySource;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "orca-directory-"));
  put("orca/manifests/vm1/a.toml", buildManifest());
  put("orca/manifests/vm1/files/app.conf", "x = 1\n");
  put("orca/manifests/vm2/web.toml", buildManifest());
  source = new DirectorySource({ directory: root, node: "vm1", clock: systemClock });
});

afterEach(async () => {
  await source.close();
  rmSync(root, { recursive: true, force: true });
});

function put(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
}

function make(kind: Kind, path: string): void {
  KINDS[kind](Buffer.from(join(root, path), "latin1"));
}

async function read(): Promise<Snapshot> {
  source.invalidate();
  const reading = await source.read();
  if (reading.kind === "failed") throw new Error(describeUnread(reading.why));
  return reading.snapshot;
}

const FAULTS: readonly [Kind, string, string][] = [
  ["fifo", "file-kind", "it is a FIFO, and no plain file"],
  ["zero", "file-kind", "it is a link, which is not followed, and no plain file"],
  ["tty", "file-kind", "it is a link, which is not followed, and no plain file"],
  ["dangling", "file-kind", "it is a link, which is not followed, and no plain file"],
  ["circle", "file-kind", "it is a link, which is not followed, and no plain file"],
  ["root", "file-kind", "it is a link, which is not followed, and no plain file"],
  ["outside", "file-kind", "it is a link, which is not followed, and no plain file"],
  ["large", "file-size", "it has 1048577 bytes, and the agent reads no file above 1 MiB"],
  ["binary", "encoding", "this is no UTF-8"],
];

describe("a manifest that is no text of its own", () => {
  test.each(FAULTS)("%s: is a fault of its service, and all else is read", async (kind, code, message) => {
    make(kind, "orca/manifests/vm1/bad.toml");
    make(kind, "orca/manifests/vm2/bad.toml");
    const { manifests, files, faults } = await read();
    expect(Object.keys(manifests["vm1"] ?? {})).toEqual(["a"]);
    expect(Object.keys(manifests["vm2"] ?? {})).toEqual(["web"]);
    expect(faults?.manifests).toMatchObject({ vm1: { bad: { code, message } }, vm2: { bad: { code, message } } });
    expect(Object.keys(files)).toEqual(["files/app.conf"]);
  });

  test("a socket too", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(root, "orca/manifests/vm1/bad.toml"), resolve));
    expect((await read()).faults?.manifests["vm1"]).toMatchObject({
      bad: { message: "it is a socket, and no plain file" },
    });
    await new Promise((resolve) => server.close(resolve));
  });

  test("a name that is no UTF-8 is shown as people can read it", async () => {
    writeFileSync(Buffer.from(`${root}/orca/manifests/vm1/\xff\xfe.toml`, "latin1"), buildManifest());
    writeFileSync(Buffer.from(`${root}/orca/manifests/vm1/files/\xff`, "latin1"), "");
    mkdirSync(Buffer.from(`${root}/orca/manifests/\xff`, "latin1"));
    const { manifests, files } = await read();
    expect(Object.keys(manifests["vm1"] ?? {})).toEqual(["\\xff\\xfe", "a"]);
    expect(Object.keys(files)).toEqual(["files/app.conf"]);
  });
});

describe("another file of the node", () => {
  test.each(["fifo", "zero", "dangling", "circle", "root", "outside", "large"] as const)(
    "%s: cannot be delivered, and all else is read",
    async (kind) => {
      make(kind, "orca/manifests/vm1/files/bad");
      const { manifests, files, faults } = await read();
      expect(Object.keys(files)).toEqual(["files/app.conf"]);
      expect(Object.keys(faults?.files ?? {})).toEqual(["files/bad"]);
      expect(Object.keys(manifests["vm1"] ?? {})).toEqual(["a"]);
    },
  );

  test("a link inside the directory is what it leads to", async () => {
    symlinkSync("app.conf", join(root, "orca/manifests/vm1/files/same.conf"));
    const { files } = await read();
    expect(Buffer.from(files["files/same.conf"] ?? []).toString()).toBe("x = 1\n");
  });

  test("files that come to too much together cost the largest of them, and not those of others", async () => {
    for (let index = 0; index < 34; index += 1) put(`orca/manifests/vm1/files/big-${index}`, "x".repeat(2 ** 20));
    const { files, faults } = await read();
    expect(Object.keys(files)).toContain("files/app.conf");
    expect(Object.keys(files)).toHaveLength(32);
    expect(Object.keys(faults?.files ?? {})).toHaveLength(3);
  });

  test("directories in directories are read no deeper than a config file lies, those at the top first", async () => {
    put(`orca/manifests/vm1/${"d/".repeat(200)}deep.conf`, "");
    put("orca/manifests/vm1/d/d/app.conf", "");
    const { files } = await read();
    expect(Object.keys(files)).toEqual(["files/app.conf", "d/d/app.conf"]);
  });
});

describe("what decides for all", () => {
  test.each(["fifo", "zero", "large", "binary"] as const)(
    "fleet.toml is %s: the reading fails and says why",
    async (kind) => {
      make(kind, "orca/fleet.toml");
      await expect(read()).rejects.toThrow(/^orca\/fleet\.toml: /);
    },
  );

  test("a revision changes with what cannot be read, and is the same for the same", async () => {
    const before = (await read()).revision;
    make("fifo", "orca/manifests/vm1/bad.toml");
    const after = (await read()).revision;
    expect(after).not.toBe(before);
    expect((await read()).revision).toBe(after);
    rmSync(join(root, "orca/manifests/vm1/bad.toml"));
    expect((await read()).revision).toBe(before);
  });
});

describe("watching", () => {
  test("begins beside links to everywhere, and hears of a change", async () => {
    make("root", "orca/manifests/vm1/files/root");
    make("fifo", "orca/manifests/vm1/fifo.toml");
    let hear: () => void = () => undefined;
    const heard = new Promise<void>((resolve) => (hear = resolve));
    await source.watch(() => hear());
    put("orca/manifests/vm1/b.toml", buildManifest());
    await heard;
    expect(Object.keys((await read()).manifests["vm1"] ?? {})).toEqual(["a", "b"]);
  });

  test("follows an orca/ that is a link, and is led elsewhere", async () => {
    renameSync(join(root, "orca"), join(root, "first"));
    mkdirSync(join(root, "second/manifests"), { recursive: true });
    renameSync(join(root, "first"), join(tmpdir(), `${root.slice(-6)}-first`));
    symlinkSync(join(tmpdir(), `${root.slice(-6)}-first`), join(root, "orca"));
    expect(Object.keys((await read()).manifests)).toEqual(["vm1", "vm2"]);
    let hear: () => void = () => undefined;
    const heard = new Promise<void>((resolve) => (hear = resolve));
    await source.watch(() => hear());
    writeFileSync(join(root, "orca/manifests/vm1/b.toml"), buildManifest());
    await heard;
    rmSync(join(tmpdir(), `${root.slice(-6)}-first`), { recursive: true });
  });
});

describe("a file that is swapped while it is read", () => {
  test("is judged by where the open file really lies", () => {
    mkdirSync(join(root, "elsewhere"));
    put("elsewhere/secret", "TOP");
    symlinkSync(join(root, "elsewhere"), join(root, "orca/manifests/vm1/files/way"));
    const inside = join(root, "orca/manifests/vm1");
    expect(readPlainFile(join(inside, "files/way/secret"), inside)).toMatchObject({
      ok: false,
      fault: { message: "it is a link that leaves the node's directory, and no plain file" },
    });
    expect(readPlainFile("/proc/self/stat").ok).toBe(true);
  });
});
