// `orca plan DIR --against REV`: what the repository on disk would change on each node, compared with a revision of it. For
// people before they merge, and for CI. Reads files and Git objects; asks no engine, no agent and no network.

import { readPolicy } from "../../host/files/host-files.ts";
import { type FoundRevision, GitWorkTree } from "../../sources/git/store/git-work-tree.ts";
import { findLayout } from "../../sources/tree/repository-layout.ts";
import {
  type KnownBlobs,
  readCommitTree,
  readDiskTree,
  type RepositoryTree,
} from "../../sources/git/store/repository-tree.ts";
import { GUARDED_ULIMITS } from "../../../shared/manifest/manifest-limits.ts";
import { parseManifest } from "../../../shared/manifest/parse-manifest.ts";
import { buildStrictPolicy, type Policy } from "../../../shared/policy/policy.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { isNotFollowed } from "./change-text.ts";
import { compareFleet, compareNodes, type Comparison } from "./plan-compare.ts";
import { type ComparisonReport, describeComparison, type PlanFormat } from "./plan-output.ts";
import { printJsonText, printText } from "../frame/terminal.ts";

/** The options of `orca plan --against`. */
export interface PlanAgainstOptions {
  against: string;
  node?: string;
  policy?: string;
  format: PlanFormat;
}

/** Runs the comparison; answers 0 for no change, 2 for changes, 1 where something would not be followed. */
export async function planAgainst(directory: string, options: PlanAgainstOptions): Promise<number> {
  const layout = await findLayout(directory);
  const git = await GitWorkTree.open(layout.root);
  const against = await git.findRevision(options.against);
  const head = await git.findRevision("HEAD").catch((): FoundRevision | undefined => undefined);
  const known: KnownBlobs = new Map();
  const after = await readDiskTree(layout, known);
  const path = git.locate(layout.root);
  const before = (await readCommitTree(git, { tree: against.tree, path }, known)) ?? {
    fleet: undefined,
    nodes: new Map(),
  };
  refuseUnknownNode(options.node, [before, after]);
  const policy =
    options.policy === undefined ? await buildOpenPolicy([before, after]) : await readPolicy(options.policy);
  const comparison: Comparison = {
    before: { tree: before, revision: against.sha, trailers: [] },
    after: { tree: after, revision: "this work tree", trailers: head?.trailers ?? [] },
    shown: layout.shown,
    policy,
  };
  const changes = await compareNodes(comparison, options.node);
  const fleet = options.node === undefined ? compareFleet(comparison) : [];
  const nodes = options.node === undefined ? new Set([...before.nodes.keys(), ...after.nodes.keys()]).size : 1;
  const report = { against: options.against, sha: against.sha, nodes, fleet, changes };
  const text = describeComparison(report, options.format);
  if (options.format === "json") printJsonText(text);
  else printText(text.trimEnd());
  return chooseExit(report);
}

function chooseExit({ changes, fleet }: ComparisonReport): number {
  const isError = changes.some(({ refused, services }) => refused !== undefined || services.some(isNotFollowed));
  if (isError) return EXIT.failed;
  return changes.length + fleet.length === 0 ? EXIT.ok : EXIT.changes;
}

function refuseUnknownNode(node: string | undefined, trees: readonly RepositoryTree[]): void {
  const names = [...new Set(trees.flatMap(({ nodes }) => [...nodes.keys()]))].toSorted();
  if (node !== undefined && !names.includes(node))
    throw new CommandError(`there is no node ${node}; there are ${names.join(", ") || "none"}`);
}

/** Without a host's policy nothing is said of what hosts allow: the policy that allows what these manifests take. */
async function buildOpenPolicy(trees: readonly RepositoryTree[]): Promise<Policy> {
  const services = new Set<string>();
  const [devices, capabilities, bootstrap, ports] = [
    new Set<string>(),
    new Set<string>(),
    new Set<string>(),
    new Set<number>(),
  ];
  for (const { nodes } of trees) {
    for (const { manifests } of nodes.values()) {
      for (const [service, text] of Object.entries(manifests)) {
        // Most manifests take nothing of the kind, and parsing all of a large fleet takes time.
        services.add(service);
        if (!/devices|cap_add|bootstrap|ports/.test(text)) continue;
        const parsed = await parseManifest(text, service);
        if (!parsed.ok) continue;
        for (const device of parsed.value.devices ?? []) devices.add(device.split(":", 1)[0] ?? device);
        for (const capability of parsed.value.cap_add ?? []) capabilities.add(capability);
        for (const port of parsed.value.ports) ports.add(port.hostPort);
        if (parsed.value.bootstrap !== undefined) bootstrap.add(parsed.value.bootstrap.env_file);
      }
    }
  }
  const strict = buildStrictPolicy();
  const all = [...services];
  return {
    ...strict,
    mounts: { allowed_prefixes: ["/"], docker_socket: true },
    volumes: { allow_ephemeral: true, foreign: [] },
    endpoints: { allowed: ["*"] },
    log: { syslog: ["*"] },
    ports: { public: [...ports] },
    security: {
      privileged: all,
      host_network: all,
      host_pid: all,
      host_ipc: all,
      devices: [...devices],
      cap_add: [...capabilities],
      ulimits: [...GUARDED_ULIMITS],
    },
    bootstrap: { allowed_files: [...bootstrap] },
  };
}
