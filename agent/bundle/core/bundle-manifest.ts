// MANIFEST.json of a bundle: every file with its size and SHA-256, and which image each digest is. Pure. What it says counts only after its
// signature was found good.

import * as z from "zod";

import { name } from "../../../shared/text/schema-leaf.ts";
import { parseImageReference } from "../../../shared/manifest/image-reference.ts";

/** The manifest's own name in a bundle. */
export const MANIFEST_NAME = "MANIFEST.json";
/** Its signature, as `ssh-keygen -Y sign` writes it. */
export const SIGNATURE_NAME = "MANIFEST.json.sig";
/** What a signature of a bundle is for: one made for Git or a release does not count. */
export const BUNDLE_NAMESPACE = "orca-bundle";
/** A manifest is read whole. */
export const LARGEST_MANIFEST_BYTES = 8 * 2 ** 20;
const MOST_FILES = 20_000;
/** Of a path, and of each name in it, in bytes (Linux' own NAME_MAX). */
const [LONGEST_PATH, LONGEST_NAME] = [1_024, 255];

/** Why a text is no path of a file in a bundle; undefined for one that is. */
export function judgePath(path: string): string | undefined {
  if (Buffer.byteLength(path) > LONGEST_PATH) return `it is longer than ${LONGEST_PATH} bytes`;
  if (/[\p{Cc}\\]/u.test(path) || !path.isWellFormed()) return "it holds a control character or a backslash";
  for (const part of path.split("/")) {
    if (part === "" || part === "." || part === "..") return 'it begins or ends with /, or has //, "." or ".." in it';
    if (Buffer.byteLength(part) > LONGEST_NAME) return `a name in it is longer than ${LONGEST_NAME} bytes`;
  }
  return undefined;
}

/** A relative path with `/` that stays where it begins. */
export const bundlePath = z.string().superRefine((path, ctx) => {
  const wrong = judgePath(path);
  if (wrong === undefined) return;
  ctx.addIssue({ code: "custom", message: wrong, params: { hint: 'write a relative path, such as "models/a.gguf"' } });
});

const hex = z.string().regex(/^[0-9a-f]{64}$/, "write 64 hex digits");
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/, "write sha256: and 64 hex digits");
const sized = { sha256: hex, size: z.int().min(0).describe("In bytes.") };

const image = z.strictObject({
  name: z
    .string()
    .refine((text) => typeof parseImageReference(text) !== "string", "this names no image")
    .describe("As manifests write it."),
  file: bundlePath.describe("What the engine's save has written; several names may share one."),
  ...sized,
  digest: digest.nullable().describe("The registry's, which the engine forgets when it loads an image."),
  id: digest.describe("The engine's id of the image."),
});

const model = z.strictObject({
  name: z.string().min(1).max(200),
  path: bundlePath,
  ...sized,
  volume: z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/, "write a volume's name"),
  target: bundlePath.describe("Where it goes in the volume."),
});

const file = z.strictObject({ path: bundlePath, ...sized });

const manifestSchema = z
  .strictObject({
    version: z.literal("1.0").describe("Of this schema."),
    kind: z.enum(["bundle", "export"]),
    bundle_id: name,
    created_at: z.iso.datetime({ precision: 3 }).describe("UTC. An older bundle than the installed one is refused."),
    orca: z.string().min(1).max(100).describe("The version that made it."),
    revision: z
      .string()
      .regex(/^(?:[0-9a-f]{40}|dir:[0-9a-f]{12}|none)$/, "write a commit")
      .describe("What the manifests were read from."),
    nodes: z.array(name).max(1_000),
    images: z.array(image).max(2_000),
    models: z.array(model).max(MOST_FILES),
    files: z.array(file).max(MOST_FILES),
  })
  .superRefine((manifest, ctx) => {
    for (const message of judgePaths(manifest)) ctx.addIssue({ code: "custom", message });
  });

/** A bundle's manifest. */
export type BundleManifest = z.output<typeof manifestSchema>;
export type BundleImage = z.output<typeof image>;
export type BundleModel = z.output<typeof model>;

/** A manifest whose signature is good: by which key, and which manifest exactly. */
export interface SignedBundleFacts {
  manifest: BundleManifest;
  key: { fingerprint: string };
  mark: { sha256: string };
}

/** One file that a bundle has to hold, and nothing else. */
export interface BundleFile {
  path: string;
  sha256: string;
  /** In bytes. */
  size: number;
}

/** Every file that a manifest lists, once, by path. */
export function listBundleFiles({
  images,
  models,
  files,
}: Pick<BundleManifest, "images" | "models" | "files">): BundleFile[] {
  const all = [...images.map(({ file: path, sha256, size }) => ({ path, sha256, size })), ...models, ...files];
  const byPath = new Map(all.map(({ path, sha256, size }) => [path, { path, sha256, size }]));
  return [...byPath.values()].toSorted((left, right) => (left.path < right.path ? -1 : 1));
}

/** What two entries cannot both say. */
function judgePaths({ images, models, files }: Pick<BundleManifest, "images" | "models" | "files">): string[] {
  const faults: string[] = [];
  const known = new Map<string, string>();
  const take = (path: string, sum: string, mayShare: boolean): void => {
    const before = known.get(path);
    if (before !== undefined && !(mayShare && before === sum)) faults.push(`${path} is listed twice`);
    known.set(path, sum);
  };
  for (const { file: path, sha256, size, id } of images) take(path, `image ${sha256} ${size} ${id}`, true);
  for (const { path, sha256 } of [...models, ...files]) take(path, sha256, false);
  for (const path of known.keys()) {
    if (path === MANIFEST_NAME || path === SIGNATURE_NAME) faults.push(`${path} cannot list itself`);
    for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1))
      if (known.has(path.slice(0, at))) faults.push(`${path.slice(0, at)} is a file and a directory`);
  }
  const names = images.map((entry) => entry.name);
  for (const twice of new Set(names.filter((entry, at) => names.indexOf(entry) !== at)))
    faults.push(`the image ${twice} is listed twice`);
  const targets = models.map(({ volume, target }) => `${volume}:${target}`);
  for (const twice of new Set(targets.filter((entry, at) => targets.indexOf(entry) !== at)))
    faults.push(`${twice} is filled twice`);
  return faults;
}

/** A manifest, or why a text is none. */
export type ParsedBundleManifest = { ok: true; manifest: BundleManifest } | { ok: false; why: string };

/** Parses a manifest's text, strictly: a key that is not known is an error. */
export function parseBundleManifest(text: string): ParsedBundleManifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { ok: false, why: "it is no JSON" };
  }
  const parsed = manifestSchema.safeParse(json);
  if (parsed.success) return { ok: true, manifest: parsed.data };
  const [issue] = parsed.error.issues;
  const at = issue?.path.join(".") ?? "";
  return { ok: false, why: `${at === "" ? "" : `${at}: `}${issue?.message ?? "it is not as its schema has it"}` };
}

/** The text that is signed. Throws where it is not what the schema says: what is written must be read again. */
export function printBundleManifest(manifest: BundleManifest): string {
  return `${JSON.stringify(manifestSchema.parse(manifest), null, 2)}\n`;
}
