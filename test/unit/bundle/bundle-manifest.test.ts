// What a bundle's manifest may say, what is refused of it, and what lies beside what is listed.

import { describe, expect, test } from "vitest";

import {
  describeBundleFault,
  type FoundEntry,
  judgeAge,
  judgeListing,
} from "../../../agent/bundle/core/bundle-fault.ts";
import {
  type BundleManifest,
  judgePath,
  parseBundleManifest,
  printBundleManifest,
} from "../../../agent/bundle/core/bundle-manifest.ts";

const SUM = { sha256: "0".repeat(64), size: 3 };
const ID = `sha256:${"a".repeat(64)}`;

function build(change: Partial<BundleManifest> = {}): BundleManifest {
  return {
    version: "1.0",
    kind: "bundle",
    bundle_id: "offline",
    created_at: "2026-02-11T12:00:00.000Z",
    orca: "0.1.0",
    revision: "0123456789abcdef0123456789abcdef01234567",
    nodes: ["vm"],
    images: [{ name: "quay.io/a/web:1", file: "images/web.tar", ...SUM, digest: ID, id: ID }],
    models: [{ name: "m", path: "models/m.gguf", ...SUM, volume: "models", target: "m.gguf" }],
    files: [{ path: "repository/orca/fleet.toml", ...SUM }],
    ...change,
  };
}

function refuse(change: object): string {
  const parsed = parseBundleManifest(JSON.stringify({ ...build(), ...change }));
  return parsed.ok ? "" : parsed.why;
}

test("what is printed is read again as it was", () => {
  const parsed = parseBundleManifest(printBundleManifest(build()));
  expect(parsed).toEqual({ ok: true, manifest: build() });
});

test.each([
  [{ hash: "x" }, /unrecognized/i],
  [{ version: "2.0" }, /^version: /],
  [{ created_at: "2026-02-11 12:00" }, /^created_at: /],
  [{ created_at: "2026-02-11T12:00:00.000+01:00" }, /^created_at: /],
  [{ files: [{ path: "a", ...SUM, mode: 1 }] }, /^files.0: /],
  [
    {
      files: [
        { path: "a", ...SUM },
        { path: "a", ...SUM },
      ],
    },
    /a is listed twice/,
  ],
  [
    {
      files: [
        { path: "a", ...SUM },
        { path: "a/b", ...SUM },
      ],
    },
    /a is a file and a directory/,
  ],
  [{ files: [{ path: "MANIFEST.json", ...SUM }] }, /cannot list itself/],
  [{ images: [{ ...build().images[0], name: "UPPER" }] }, /names no image/],
  [{ images: [build().images[0], build().images[0]] }, /quay.io\/a\/web:1 is listed twice/],
  [
    { images: [build().images[0], { ...build().images[0], name: "b", id: `sha256:${"b".repeat(64)}` }] },
    /images\/web.tar is listed twice/,
  ],
  [{ models: [build().models[0], { ...build().models[0], path: "models/n" }] }, /models:m.gguf is filled twice/],
])("%j is refused", (change, words) => {
  expect(refuse(change)).toMatch(words);
});

test("several names may share one image's file", () => {
  expect(refuse({ images: [build().images[0], { ...build().images[0], name: "web:2" }] })).toBe("");
});

test.each([
  "",
  "/a",
  "a/",
  "a//b",
  ".",
  "a/../b",
  "../a",
  "a\\b",
  "a\nb",
  "a\u0000",
  "x".repeat(256),
  "a/".repeat(600) + "a",
  "\uD800",
])("%j is no path of a bundle", (path) => {
  expect(judgePath(path)).toBeDefined();
});

test.each(["a", ".env.example", "models/clam av/main.cvd", "ä/ö", "..a/b.."])("%j is one", (path) => {
  expect(judgePath(path)).toBeUndefined();
});

describe("what lies there", () => {
  const all: FoundEntry[] = [
    "images/web.tar",
    "models/m.gguf",
    "repository/orca/fleet.toml",
    "MANIFEST.json",
    "MANIFEST.json.sig",
  ].map((path) => ({
    path,
    kind: "file",
    size: 3,
  }));

  test("as listed is fine", () => {
    expect(judgeListing(build(), all)).toEqual([]);
  });

  test("each difference is told once, by name", () => {
    const found: FoundEntry[] = [
      ...all.slice(1).map((entry) => (entry.path.startsWith("models") ? { ...entry, size: 4 } : entry)),
      { path: "x.sh", kind: "file", size: 0 },
      { path: "dev", kind: "special", size: 0 },
    ];
    expect(judgeListing(build(), found)).toEqual([
      { code: "missing", path: "images/web.tar" },
      { code: "size", path: "models/m.gguf", listed: 3, found: 4 },
      { code: "unlisted", path: "x.sh" },
      { code: "strange", path: "dev", kind: "special" },
    ]);
  });
});

describe("an older bundle", () => {
  const mark = (createdAt: string, sha256 = createdAt): { createdAt: string; sha256: string } => ({
    createdAt,
    sha256,
  });

  test("is refused, and so is another one of the same moment; the same one again and a newer one are not", () => {
    const installed = mark("2026-02-11T12:00:00.000Z");
    expect(judgeAge(installed, undefined)).toEqual([]);
    expect(judgeAge(installed, installed)).toEqual([]);
    expect(judgeAge(mark("2026-02-11T12:00:00.001Z"), installed)).toEqual([]);
    for (const own of [mark("2026-02-10T12:00:00.000Z"), mark(installed.createdAt, "other")])
      expect(judgeAge(own, installed).map(describeBundleFault)).toEqual([
        `this bundle is from ${own.createdAt}, and one from ${installed.createdAt} is installed: make a newer bundle of the commit that you want`,
      ]);
  });
});
