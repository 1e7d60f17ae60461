// An installation on an engine that is a directory: whatever step fails, everything is as it was before, and what a service has put into its
// volume leads nowhere else.

import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { createBundle } from "../../../agent/bundle/create-bundle.ts";
import type { NodeShare } from "../../../agent/bundle/core/named-parts.ts";
import { placeFile, type VolumeFile } from "../../../agent/bundle/fill-volume.ts";
import { installBundle, InstallFailure, type InstallParts } from "../../../agent/bundle/install-bundle.ts";
import type { SignedBundle } from "../../../agent/bundle/read-bundle.ts";
import type { BundledImages } from "../../../agent/docker/bundled-images.ts";
import { createImageIds, readBundleState } from "../../../agent/host/files/bundle-state.ts";

const DIGEST = `sha256:${"d".repeat(64)}`;
const REFERENCE = `quay.io/acme/web:1@${DIGEST}`;

function idOf(content: string): string {
  return `sha256:${createHash("sha256").update(content).digest("hex")}`;
}

/** An engine whose images are texts, and whose volumes are directories. It does what it is told, until a call that it refuses. */
class DirectoryEngine implements BundledImages {
  readonly root: string;
  readonly images = new Map<string, string>();
  readonly tags = new Map<string, string>();
  readonly volumes = new Set<string>();
  /** Which call fails, counted from 0. */
  failsAt = Infinity;
  calls = 0;

  constructor(root: string) {
    this.root = root;
  }

  #count(): void {
    this.calls += 1;
    if (this.calls - 1 === this.failsAt) throw new Error("the engine went away");
  }

  async find(reference: string): ReturnType<BundledImages["find"]> {
    const id = this.images.has(reference) ? reference : this.tags.get(reference);
    return Promise.resolve(id === undefined ? undefined : { id, digests: [], tags: [], sizeBytes: 1 });
  }

  async save(id: string): Promise<AsyncIterable<Uint8Array>> {
    return Promise.resolve(new Blob([this.images.get(id) ?? ""]).stream() as unknown as AsyncIterable<Uint8Array>);
  }

  async load(pieces: AsyncIterable<Uint8Array>): Promise<string[]> {
    this.#count();
    const content = await text(pieces);
    this.images.set(idOf(content), content);
    return [idOf(content)];
  }

  tag(id: string, { repository, tag }: { repository: string; tag: string }): Promise<void> {
    this.#count();
    this.tags.set(`${repository}:${tag}`, id);
    return Promise.resolve();
  }

  remove(reference: string): Promise<void> {
    if (!this.tags.delete(reference)) this.images.delete(reference);
    return Promise.resolve();
  }

  makeVolume({ name }: { name: string }): Promise<void> {
    this.#count();
    mkdirSync(join(this.root, name));
    this.volumes.add(name);
    return Promise.resolve();
  }

  discardVolume(name: string): Promise<void> {
    rmSync(join(this.root, name), { recursive: true });
    this.volumes.delete(name);
    return Promise.resolve();
  }

  findVolumePath(volume: string): Promise<string | undefined> {
    this.#count();
    return Promise.resolve(this.volumes.has(volume) ? join(this.root, volume) : undefined);
  }
}

let root: string;
let engine: DirectoryEngine;
let bundle: SignedBundle;
let share: NodeShare;
let parts: InstallParts;

/** Everything that an installation may change, as text. */
function look(): string {
  const files = readdirSync(join(root, "host"), { recursive: true, encoding: "utf8" }).toSorted();
  const contents = files.map((name) => {
    const path = join(root, "host", name);
    return `${name} ${statSync(path).isFile() ? readFileSync(path, "utf8") : ""}`;
  });
  return JSON.stringify([contents, [...engine.images], [...engine.tags], [...engine.volumes]]);
}

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "orca-install-"));
  for (const name of ["host/volumes", "host/manifests/orca", "maker"]) mkdirSync(join(root, name), { recursive: true });
  writeFileSync(join(root, "host/manifests/orca/fleet.toml"), "before\n");
  writeFileSync(join(root, "maker/model"), "weights\n");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(root, "maker/key")]);
  engine = new DirectoryEngine(join(root, "host/volumes"));
  const maker = new DirectoryEngine(root);
  maker.images.set(idOf("an image"), "an image");
  const model = {
    name: "m",
    source: join(root, "maker/model"),
    path: "models/m",
    volume: "models",
    target: "a/b/model",
    sizeBytes: 8,
  };
  const manifest = await createBundle(
    {
      bundleId: "tiny",
      createdAtMs: Date.UTC(2026, 1, 11),
      revision: "none",
      nodes: ["vm"],
      texts: [{ path: "repository/orca/fleet.toml", content: "after\n" }],
      files: [],
      models: [model, { ...model, path: "models/n", target: "a/n" }],
      images: [
        { name: REFERENCE, digest: DIGEST, id: idOf("an image"), sizeBytes: 8 },
        { name: "acme/web:1", digest: null, id: idOf("an image"), sizeBytes: 8 },
      ],
    },
    maker,
    { directory: join(root, "bundle"), keyFile: join(root, "maker/key") },
  );
  bundle = {
    directory: join(root, "bundle"),
    manifest,
    key: { line: "", fingerprint: "SHA256:x" },
    mark: { createdAt: manifest.created_at, sha256: "0" },
  };
  share = { images: manifest.images, models: manifest.models.map((entry) => ({ ...entry, service: "web" })) };
  parts = {
    node: "vm",
    engine: {
      images: engine,
      reader: {
        info: () => Promise.resolve({ id: "e", version: "1", cgroupVersion: "2", rootDir: root }),
        inspectVolume: (name) =>
          Promise.resolve(engine.volumes.has(name) ? { labels: {}, leadsTo: undefined } : undefined),
        listGenerations: () => Promise.resolve([]),
      },
    },
    statePath: join(root, "host/bundles.json"),
    sourceDir: join(root, "host/manifests"),
    nowMs: Date.UTC(2026, 1, 12),
  };
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

describe("installing", () => {
  test("brings images under names, files into volumes, the manifests into place, and remembers digests", async () => {
    await installBundle(bundle, share, parts);
    expect([...engine.tags.keys()]).toEqual([`quay.io/acme/web:orca-${"d".repeat(12)}`, "acme/web:1"]);
    expect(readFileSync(join(root, "host/volumes/models/a/b/model"), "utf8")).toBe("weights\n");
    expect(readFileSync(join(root, "host/manifests/orca/fleet.toml"), "utf8")).toBe("after\n");
    expect(readFileSync(join(root, "host/.manifests.before-bundle/orca/fleet.toml"), "utf8")).toBe("before\n");
    const find = createImageIds(parts.statePath);
    expect([REFERENCE, `other.example/web@${DIGEST}`, "acme/web:1", "acme/web:2"].map(find)).toEqual([
      idOf("an image"),
      idOf("an image"),
      idOf("an image"),
      undefined,
    ]);
    expect(readBundleState(parts.statePath).installed).toMatchObject([{ bundleId: "tiny", key: "SHA256:x" }]);
  });

  test("again changes nothing but what was there before", async () => {
    await installBundle(bundle, share, parts);
    const [ids, calls] = [[...engine.images], engine.calls];
    await installBundle(bundle, share, parts);
    expect([...engine.images]).toEqual(ids);
    // Only the volume is looked up: nothing is loaded, tagged or made.
    expect(engine.calls - calls).toBe(2);
    expect(readBundleState(parts.statePath).installed).toHaveLength(1);
  });

  test("that fails at any call of the engine leaves everything as it was", async () => {
    const before = look();
    let failed = 0;
    for (let at = 0; ; at += 1) {
      engine.calls = 0;
      engine.failsAt = at;
      const error = await installBundle(bundle, share, parts).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      if (error === undefined) break;
      failed += 1;
      expect(error).toBeInstanceOf(InstallFailure);
      expect((error as InstallFailure).left).toEqual([]);
      // What was never kept before may be written down as empty.
      rmSync(join(root, "host/bundles.json"), { force: true });
      expect([at, look()]).toEqual([at, before]);
    }
    expect(failed).toBe(6);
  });

  test.each(["images/web-", "models/n", "repository/orca/fleet.toml"])(
    "of a file %s that changes after it was checked is taken back",
    async (start) => {
      const name =
        readdirSync(bundle.directory, { recursive: true, encoding: "utf8" }).find((path) => path.startsWith(start)) ??
        "";
      writeFileSync(join(bundle.directory, name), "another!");
      const before = look();
      await expect(installBundle(bundle, share, parts)).rejects.toThrow("has changed since it was checked");
      rmSync(join(root, "host/bundles.json"), { force: true });
      expect(look()).toBe(before);
    },
  );

  test("never replaces a Git work tree", async () => {
    mkdirSync(join(root, "host/manifests/.git"));
    await expect(installBundle(bundle, share, parts)).rejects.toThrow("is a Git work tree");
    expect(readFileSync(join(root, "host/manifests/orca/fleet.toml"), "utf8")).toBe("before\n");
  });
});

describe("a file for a volume", () => {
  let file: VolumeFile;
  let volume: string;
  beforeEach(() => {
    volume = join(root, "volume");
    for (const path of [volume, join(root, "elsewhere")]) mkdirSync(path);
    const sha256 = createHash("sha256").update("weights\n").digest("hex");
    file = { source: join(root, "maker/model"), sha256, size: 8, root: volume, target: "a/model" };
  });

  test("goes through no link that a service has put there", async () => {
    symlinkSync(join(root, "elsewhere"), join(volume, "a"));
    await expect(placeFile(file)).rejects.toThrow("it is a link or a file, which is not followed");
    expect(readdirSync(join(root, "elsewhere"))).toEqual([]);
  });

  test("takes the place of a link, and what the link leads to stays", async () => {
    writeFileSync(join(root, "elsewhere/passwd"), "root");
    mkdirSync(join(volume, "a"));
    symlinkSync(join(root, "elsewhere/passwd"), join(volume, "a/model"));
    const placed = await placeFile(file);
    expect(readFileSync(join(volume, "a/model"), "utf8")).toBe("weights\n");
    await placed?.keep();
    expect(readFileSync(join(root, "elsewhere/passwd"), "utf8")).toBe("root");
    expect(readdirSync(join(volume, "a"))).toEqual(["model"]);
  });

  test("comes back as it was when the installation fails later", async () => {
    mkdirSync(join(volume, "a"));
    writeFileSync(join(volume, "a/model"), "the old one");
    const placed = await placeFile(file);
    expect(readFileSync(join(volume, "a/model"), "utf8")).toBe("weights\n");
    await placed?.undo();
    expect(readFileSync(join(volume, "a/model"), "utf8")).toBe("the old one");
    expect(readdirSync(join(volume, "a"))).toEqual(["model"]);
  });

  test("that is there already is left alone, and a directory in its place is refused", async () => {
    await (await placeFile(file))?.keep();
    expect(await placeFile(file)).toBeUndefined();
    await expect(placeFile({ ...file, target: "a" })).rejects.toThrow("it is a directory");
    expect(existsSync(join(volume, "a/model"))).toBe(true);
  });
});
