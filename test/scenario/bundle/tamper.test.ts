// A bundle is refused by name for every byte that is changed, for what is missing and for what nobody has listed. Real keys and the real
// ssh-keygen.

import { execFileSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { assert, asyncProperty, integer } from "fast-check";

import { describeBundleFault } from "../../../agent/bundle/core/bundle-fault.ts";
import { type BundleManifest, MANIFEST_NAME, SIGNATURE_NAME } from "../../../agent/bundle/core/bundle-manifest.ts";
import { readBundle } from "../../../agent/bundle/read-bundle.ts";
import { BundleWriter } from "../../../agent/bundle/write-bundle.ts";
import { parseSshKey, type SshKey } from "../../../shared/fleet/ssh-key.ts";

const root = mkdtempSync(join(tmpdir(), "orca-tamper-"));
const bundle = join(root, "bundle");
const RUNS = process.env["ORCA_SLOW"] === "1" ? 20_000 : 150;

function makeKey(name: string): SshKey {
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", join(root, name)]);
  const key = parseSshKey(readFileSync(join(root, `${name}.pub`), "utf8"));
  if (typeof key === "string") throw new Error(key);
  return key;
}

const own = makeKey("own");
const other = makeKey("other");

/** Reads the bundle; answers the sentences that refuse it. */
async function refuse(directory = bundle, keys: readonly SshKey[] = [own]): Promise<string[]> {
  const { signed, faults } = await readBundle(directory, { keys, policy: "/etc/orca/policy.toml" });
  expect(signed !== undefined || faults.length > 0).toBe(true);
  return faults.map(describeBundleFault);
}

async function makeBundle(directory: string, change: Partial<BundleManifest> = {}, key = "own"): Promise<void> {
  const writer = await BundleWriter.open(directory);
  const image = await writer.add("images/web.tar", "an image");
  const model = await writer.add("models/tiny/model.gguf", Buffer.from([0, 1, 2, 255]));
  const files = [await writer.add("repository/orca/fleet.toml", "[nodes]\n"), await writer.add("config/empty", "")];
  const id = `sha256:${"a".repeat(64)}`;
  await writer.seal(
    {
      version: "1.0",
      kind: "bundle",
      bundle_id: "tiny",
      created_at: "2026-02-11T12:00:00.000Z",
      orca: "0.1.0",
      revision: "none",
      nodes: ["vm"],
      images: [{ name: "web:1", file: image.path, sha256: image.sha256, size: image.size, digest: null, id }],
      models: [{ name: "tiny", ...model, volume: "models", target: "model.gguf" }],
      files,
      ...change,
    },
    join(root, key),
  );
}

/** Every file of the bundle, by relative path. */
function listFiles(): string[] {
  return readdirSync(bundle, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(bundle.length + 1));
}

beforeAll(() => makeBundle(bundle));
afterAll(() => rmSync(root, { recursive: true, force: true }));

test("a bundle that nobody has touched is taken", async () => {
  const { signed, faults } = await readBundle(bundle, { keys: [other, own], policy: "p" });
  expect(faults).toEqual([]);
  expect(signed?.key).toEqual(own);
});

describe("one byte that is changed", () => {
  test("in any file: it is named", async () => {
    for (const path of listFiles().filter((file) => !file.startsWith(MANIFEST_NAME))) {
      const content = readFileSync(join(bundle, path));
      for (const [at, byte] of content.entries()) {
        const changed = Buffer.from(content);
        changed[at] = byte ^ (1 << (at % 8));
        writeFileSync(join(bundle, path), changed);
        expect(await refuse()).toEqual([expect.stringContaining(`${path} was changed`)]);
      }
      writeFileSync(join(bundle, path), content);
    }
  });

  test.each([MANIFEST_NAME, SIGNATURE_NAME])(
    "in %s: it is named, whichever byte it is and whatever it becomes",
    async (path) => {
      const content = readFileSync(join(bundle, path));
      const change = asyncProperty(
        integer({ min: 0, max: content.length - 1 }),
        integer({ min: 1, max: 255 }),
        async (at, bits) => {
          const changed = Buffer.from(content);
          changed[at] = (content[at] ?? 0) ^ bits;
          writeFileSync(join(bundle, path), changed);
          expect(await refuse()).toEqual([expect.stringContaining(path)]);
        },
      );
      await assert(change, { numRuns: RUNS }).finally(() => writeFileSync(join(bundle, path), content));
      expect(await refuse()).toEqual([]);
    },
  );

  test("one byte more or less is named with both sizes", async () => {
    const path = join(bundle, "images/web.tar");
    const content = readFileSync(path);
    writeFileSync(path, Buffer.concat([content, Buffer.from([0])]));
    expect(await refuse()).toEqual(["images/web.tar has 9 bytes and should have 8: copy the bundle again"]);
    writeFileSync(path, content.subarray(1));
    expect(await refuse()).toEqual(["images/web.tar has 7 bytes and should have 8: copy the bundle again"]);
    writeFileSync(path, content);
  });
});

describe("what is not as listed", () => {
  let copy: string;
  beforeAll(() => {
    copy = join(root, "copy");
  });
  const fresh = (): void => {
    rmSync(copy, { recursive: true, force: true });
    cpSync(bundle, copy, { recursive: true });
  };

  test("a file that is missing, one that is not listed, and one in its place that is none", async () => {
    for (const path of listFiles()) {
      fresh();
      unlinkSync(join(copy, path));
      expect(await refuse(copy)).toEqual([expect.stringMatching(`^${path} is missing`)]);
    }
    fresh();
    mkdirSync(join(copy, "scripts"));
    writeFileSync(join(copy, "scripts", "install.sh"), "");
    expect(await refuse(copy)).toEqual([expect.stringMatching(/^scripts\/install.sh is not in the bundle's list/)]);
    fresh();
    renameSync(join(copy, "images/web.tar"), join(root, "web.tar"));
    symlinkSync(join(root, "web.tar"), join(copy, "images/web.tar"));
    expect(await refuse(copy)).toEqual(["images/web.tar is a link: a bundle holds plain files alone"]);
  });

  test("a manifest whose sums were made anew is not by a known key, whoever else has signed it", async () => {
    const forged = join(root, "forged");
    await makeBundle(forged, {}, "other");
    expect(await refuse(forged)).toEqual([
      expect.stringMatching(/^MANIFEST.json or .* was changed, or neither is by a key/),
    ]);
    expect(await refuse(forged, [own, other])).toEqual([]);
  });

  test("a signature for another purpose does not count, nor one of a key where the policy has none", async () => {
    fresh();
    unlinkSync(join(copy, SIGNATURE_NAME));
    execFileSync("ssh-keygen", ["-q", "-Y", "sign", "-f", join(root, "own"), "-n", "git", join(copy, MANIFEST_NAME)], {
      stdio: "pipe",
    });
    expect(await refuse(copy)).toEqual([expect.stringContaining("neither is by a key")]);
    expect(await refuse(bundle, [])).toEqual([expect.stringMatching(/^\/etc\/orca\/policy.toml names no key/)]);
  });

  test("a path that leads out is refused before anything is read", async () => {
    const out = { path: "../../etc/passwd", sha256: "0".repeat(64), size: 1 };
    await expect(makeBundle(join(root, "out"), { files: [out] })).rejects.toThrow("..");
  });
});
