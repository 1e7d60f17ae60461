// Finds what a bundle is made from: the repository at a commit, the files that the TOML file names, the images of this host's engine. Whatever
// is missing is told at once and all together, before the first byte is written.

import { lstatSync, readdirSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";

import type { BundleInput, FileInput, ImageInput, ModelInput } from "../../bundle/create-bundle.ts";
import { judgePath } from "../../bundle/core/bundle-manifest.ts";
import {
  type BundleSpec,
  bundleSpecSchema,
  OWN_DIRECTORIES,
  printSecretTemplate,
} from "../../bundle/core/bundle-spec.ts";
import { listImageNames, listVolumeNames, type NamedManifest } from "../../bundle/core/named-parts.ts";
import { listSecretPaths } from "../../desired/secrets/secret-choice.ts";
import type { BundledImages } from "../../docker/bundled-images.ts";
import { readHostFile } from "../../host/files/host-files.ts";
import { GitWorkTree } from "../../sources/git/store/git-work-tree.ts";
import {
  type NodeTree,
  readCommitTree,
  readDiskTree,
  type RepositoryTree,
} from "../../sources/git/store/repository-tree.ts";
import { findLayout } from "../../sources/tree/repository-layout.ts";
import { parseImageReference } from "../../../shared/manifest/image-reference.ts";
import { parseManifest } from "../../../shared/manifest/parse-manifest.ts";
import { sha256 } from "../../../shared/state/identity.ts";
import { describeProblem } from "../../../shared/text/problem.ts";
import { CommandError } from "../frame/exit-codes.ts";

/** What to gather. */
export interface GatherRequest {
  specFile: string;
  /** A revision's name; `HEAD` where the repository is in Git. */
  commit: string | undefined;
  nowMs: number;
}

/** Gathers it. */
export async function gatherBundle(
  { specFile, commit, nowMs }: GatherRequest,
  engine: Pick<BundledImages, "find">,
): Promise<BundleInput> {
  const spec = await readHostFile(bundleSpecSchema, specFile, "bundle");
  const at = (path: string): string => (isAbsolute(path) ? path : resolve(dirname(specFile), path));
  const { tree, revision } = await readTree(at(spec.repository), commit);
  const nodes = chooseNodes(tree, spec);
  const faults = nodes.flatMap(
    ([
      node,
      {
        faults: { manifests, files },
      },
    ]) =>
      [...Object.entries(manifests), ...Object.entries(files)].map(
        ([path, { message }]) => `manifests/${node}/${path}: ${message}`,
      ),
  );
  const manifests = await parseAll(nodes, faults);
  const volumes = listVolumeNames(manifests);
  for (const { name, volume } of spec.models)
    if (!volumes.has(volume)) faults.push(`models: ${name}: no manifest of these nodes has a volume ${volume}`);
  const models = spec.models.flatMap((entry) => listModel(entry, at(entry.source), faults));
  const files = spec.files.flatMap((entry) => listFile(entry, at(entry.source), faults));
  const images = await findImages(
    [...new Set([...listImageNames(manifests.map(({ manifest }) => manifest)), ...spec.images])],
    engine,
    faults,
  );
  if (faults.length > 0) throw new CommandError(`make a bundle of ${specFile}:\n${faults.join("\n")}`);
  const uses = manifests.flatMap(({ node, service, manifest }) =>
    listSecretPaths(manifest).map((path) => ({ path, service: `${node}/${service}` })),
  );
  const texts = [...listTexts(tree.fleet, nodes), { path: "secrets.template", content: printSecretTemplate(uses) }];
  return {
    bundleId: spec.bundle_id,
    createdAtMs: nowMs,
    revision: revision ?? `dir:${hashTexts(texts)}`,
    nodes: nodes.map(([node]) => node),
    texts,
    files,
    models,
    images,
  };
}

async function readTree(
  directory: string,
  commit: string | undefined,
): Promise<{ tree: RepositoryTree; revision: string | undefined }> {
  const layout = await findLayout(directory);
  const git = await GitWorkTree.open(layout.root).catch(() => undefined);
  if (git === undefined) {
    if (commit !== undefined) throw new CommandError(`${directory} is not in a Git work tree: leave --commit out`);
    return { tree: await readDiskTree(layout, new Map()), revision: undefined };
  }
  const found = await git.findRevision(commit ?? "HEAD");
  const tree = await readCommitTree(git, { tree: found.tree, path: git.locate(layout.root) }, new Map());
  if (tree === undefined) throw new CommandError(`commit ${found.sha.slice(0, 12)} has no manifests in ${directory}`);
  return { tree, revision: found.sha };
}

function chooseNodes(tree: RepositoryTree, { nodes }: BundleSpec): [string, NodeTree][] {
  const missing = (nodes ?? []).filter((node) => !tree.nodes.has(node));
  if (missing.length > 0)
    throw new CommandError(
      `there is no node ${missing.join(", ")}; there are ${[...tree.nodes.keys()].join(", ") || "none"}`,
    );
  return [...tree.nodes].filter(([node]) => nodes === undefined || nodes.includes(node));
}

async function parseAll(nodes: readonly [string, NodeTree][], faults: string[]): Promise<NamedManifest[]> {
  const all: NamedManifest[] = [];
  for (const [node, { manifests }] of nodes) {
    for (const [service, text] of Object.entries(manifests)) {
      const parsed = await parseManifest(text, `manifests/${node}/${service}.toml`);
      if (parsed.ok) all.push({ node, service, manifest: parsed.value });
      else faults.push(...parsed.problems.map(describeProblem));
    }
  }
  return all;
}

/** The whole repository goes along for fleet.toml; of the nodes, those that were chosen. */
function listTexts(
  fleet: string | undefined,
  nodes: readonly [string, NodeTree][],
): { path: string; content: Uint8Array | string }[] {
  const texts: { path: string; content: Uint8Array | string }[] = [];
  if (fleet !== undefined) texts.push({ path: "repository/orca/fleet.toml", content: fleet });
  for (const [node, { manifests, files }] of nodes) {
    const below = `repository/orca/manifests/${node}`;
    for (const [service, content] of Object.entries(manifests))
      texts.push({ path: `${below}/${service}.toml`, content });
    for (const [path, content] of Object.entries(files)) texts.push({ path: `${below}/${path}`, content });
  }
  return texts;
}

function hashTexts(texts: readonly { path: string; content: Uint8Array | string }[]): string {
  return sha256(
    JSON.stringify(texts.map(({ path, content }) => [path, sha256(Buffer.from(content).toString("base64"))])),
  ).slice(0, 12);
}

async function findImages(
  names: readonly string[],
  engine: Pick<BundledImages, "find">,
  faults: string[],
): Promise<ImageInput[]> {
  const images: ImageInput[] = [];
  for (const name of names) {
    const held = await engine.find(name);
    if (held === undefined) faults.push(`the image ${name} is not on this host: docker pull ${name}`);
    else images.push({ name, digest: findDigest(name, held.digests), id: held.id, sizeBytes: held.sizeBytes });
  }
  return images;
}

/** The digest that the reference names, else the one that its registry gave; null for an image that comes from none. */
function findDigest(name: string, digests: readonly string[]): string | null {
  const parsed = parseImageReference(name);
  if (typeof parsed === "string") return null;
  if (parsed.digest !== undefined) return parsed.digest;
  const same = digests
    .map(parseImageReference)
    .find(
      (other) =>
        typeof other !== "string" && other.registry === parsed.registry && other.repository === parsed.repository,
    );
  return same === undefined || typeof same === "string" ? null : (same.digest ?? null);
}

function listModel(
  { name, volume, target }: BundleSpec["models"][number],
  source: string,
  faults: string[],
): ModelInput[] {
  return walk(source, faults).map(({ below, sizeBytes, path: from }) => {
    const to = below === "" ? target : `${target}/${below}`;
    return {
      name: below === "" ? name : `${name}/${below}`,
      source: from,
      path: `models/${volume}/${to}`,
      volume,
      target: to,
      sizeBytes,
    };
  });
}

function listFile({ path }: BundleSpec["files"][number], source: string, faults: string[]): FileInput[] {
  const [top = ""] = path.split("/");
  if (OWN_DIRECTORIES.includes(top)) faults.push(`files: ${path}: ${top} is filled by Orca: write another directory`);
  return walk(source, faults).map(({ below, sizeBytes, path: from }) => ({
    source: from,
    path: below === "" ? path : `${path}/${below}`,
    sizeBytes,
  }));
}

/** A file, or every plain file below a directory; links are told, and not followed. */
function walk(source: string, faults: string[]): { below: string; path: string; sizeBytes: number }[] {
  const found: { below: string; path: string; sizeBytes: number }[] = [];
  const look = (below: string): void => {
    const path = below === "" ? source : join(source, below);
    const info = lstatSync(path, { throwIfNoEntry: false });
    if (info?.isDirectory() === true) {
      for (const name of readdirSync(path).toSorted()) look(below === "" ? name : `${below}/${name}`);
      return;
    }
    const wrong = below === "" ? undefined : judgePath(below);
    if (info === undefined) faults.push(`${path} does not exist`);
    else if (!info.isFile()) faults.push(`${path} is no plain file, and a bundle holds nothing else`);
    else if (wrong !== undefined) faults.push(`${path}: ${wrong}`);
    else found.push({ below, path, sizeBytes: info.size });
  };
  look("");
  return found;
}
