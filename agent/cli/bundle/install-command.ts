// `orca bundle install`: verifies a bundle and brings this node what is in it, without any network. Configuration and packages in it are for a
// person: nothing is written below /etc, and nothing is installed beside images, files in volumes and manifests.

import { existsSync, readFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";

import { buildEvidence, type BundleEvidence } from "../../bundle/core/bundle-evidence.ts";
import { type BundleFault, describeBundleFault, judgeAge } from "../../bundle/core/bundle-fault.ts";
import { chooseShare, type NamedManifest, type NodeShare } from "../../bundle/core/named-parts.ts";
import { InstallFailure, installBundle, type InstallParts } from "../../bundle/install-bundle.ts";
import { nameBefore } from "../../bundle/place-repository.ts";
import type { SignedBundle } from "../../bundle/read-bundle.ts";
import { type Engine, openEngine } from "../../docker/engine.ts";
import { readBundleState } from "../../host/files/bundle-state.ts";
import { statePath } from "../../host/state-layout.ts";
import { parseManifest } from "../../../shared/manifest/parse-manifest.ts";
import { describeCount } from "../../../shared/text/count.ts";
import { readMessage } from "../../../shared/text/read-message.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { printFault, printText } from "../frame/terminal.ts";
import { type BundleHost, openRecorder, readBundleHost, type Recorder } from "./bundle-host.ts";
import { TransferProgress } from "./transfer-progress.ts";
import { readWithProgress } from "./verify-command.ts";

/** The options of `orca bundle install`. */
export interface BundleInstallOptions {
  config: string;
}

/** Runs it; answers the exit code. */
export async function installBundleCommand(directory: string, { config }: BundleInstallOptions): Promise<number> {
  const host = await readBundleHost(config);
  const recorder = await openRecorder(host);
  try {
    const bundle = await verify(directory, host, recorder);
    if (bundle === undefined) return EXIT.failed;
    const share = chooseShare(bundle.manifest, await readManifests(bundle), host.config.node);
    await carryOut(bundle, share, { host, recorder });
    tellInstalled(bundle, share, host);
    return EXIT.ok;
  } finally {
    await recorder.close();
  }
}

/** Refuses what is not whole, not by a known key, not for this node, or older than what is installed; each of these is recorded. */
async function verify(directory: string, host: BundleHost, recorder: Recorder): Promise<SignedBundle | undefined> {
  const { signed, faults } = await readWithProgress(directory, { keys: host.keys, policy: host.policyFile });
  const all: readonly BundleFault[] = signed === undefined ? faults : [...faults, ...judgeForHost(signed, host)];
  const lines = all.map(describeBundleFault);
  await recorder.record(buildEvidence("bundle-verify", { directory, signed, faults: lines }));
  for (const line of lines) printFault(`orca: ${directory}: ${line}`);
  return lines.length === 0 ? signed : undefined;
}

function judgeForHost({ manifest, mark }: SignedBundle, { config }: BundleHost): BundleFault[] {
  const { kind, nodes } = manifest;
  if (kind !== "bundle") return [{ code: "wrong-kind", kind }];
  const { installed } = readBundleState(statePath(config.state.dir, "bundles"));
  const newest = installed.toSorted((left, right) => (left.createdAt < right.createdAt ? -1 : 1)).at(-1);
  const { node } = config;
  return [...(nodes.includes(node) ? [] : [{ code: "not-for-node", node, nodes } as const]), ...judgeAge(mark, newest)];
}

/** The manifests in a bundle: what was checked a moment ago is checked again as it is read. */
async function readManifests({ directory, manifest }: SignedBundle): Promise<NamedManifest[]> {
  const found: NamedManifest[] = [];
  for (const { path, sha256 } of manifest.files) {
    const [, node, service] = /^repository\/orca\/manifests\/([^/]+)\/([^/]+)\.toml$/.exec(path) ?? [];
    if (node === undefined || service === undefined) continue;
    const content = readFileSync(join(directory, path));
    if (createHash("sha256").update(content).digest("hex") !== sha256)
      throw new CommandError(`${path} has changed since it was checked`);
    const parsed = await parseManifest(content.toString("utf8"), path);
    if (parsed.ok) found.push({ node, service, manifest: parsed.value });
    else
      throw new CommandError(
        `${path} is no manifest for this version of Orca: install the package in the bundle first`,
      );
  }
  return found;
}

async function carryOut(
  bundle: SignedBundle,
  share: NodeShare,
  { host, recorder }: { host: BundleHost; recorder: Recorder },
): Promise<void> {
  const { config } = host;
  const engine = openEngine(config.docker.socket);
  const totalBytes = [...share.images, ...share.models].reduce((sum, { size }) => sum + size, 0);
  const progress = new TransferProgress(process.stderr, { doing: "installing", totalBytes });
  const note = (action: BundleEvidence["action"], faults: readonly string[]): Promise<void> =>
    recorder.record(buildEvidence(action, { directory: bundle.directory, signed: bundle, faults }));
  try {
    await installBundle(bundle, share, buildParts(host, engine, progress)).finally(() => progress.end());
    await note("bundle-install", []);
  } catch (error) {
    if (!(error instanceof InstallFailure)) throw error;
    await note("bundle-install", [error.message]);
    await note("bundle-undo", error.left);
    const left = error.left.length === 0 ? "" : `, except:\n${error.left.join("\n")}`;
    throw new CommandError(`install ${bundle.directory}: ${readMessage(error)}\nwhat was done was taken back${left}`);
  } finally {
    engine.close();
  }
}

function buildParts({ config }: BundleHost, engine: Engine, progress: TransferProgress): InstallParts {
  return {
    node: config.node,
    engine: { images: engine.bundledImages, reader: engine.reader },
    statePath: statePath(config.state.dir, "bundles"),
    sourceDir: config.source.dir,
    nowMs: Date.now(),
    onBytes: progress.add,
  };
}

function tellInstalled(
  { directory, manifest }: SignedBundle,
  { images, models }: NodeShare,
  { config }: BundleHost,
): void {
  const { dir } = config.source;
  printText(
    `${manifest.bundle_id} of ${manifest.created_at} is installed: ${describeCount(images.length, "image")}, ` +
      `${describeCount(models.length, "file")} in volumes, the manifests at ${manifest.revision}`,
  );
  if (dir === undefined) printText("this node's source is Git: the manifests of the bundle were left where they are");
  else if (!existsSync(nameBefore(dir))) printText(`the agent reads them from ${dir}`);
  else printText(`the agent reads them from ${dir}; what was there before lies at ${nameBefore(dir)}`);
  const others = manifest.files.filter(({ path }) => !path.startsWith("repository/"));
  if (others.length > 0) printText(`for you, in ${directory}: ${others.map(({ path }) => path).join(", ")}`);
}
