// From what the agent tells to what the audit log records: one entry for each mutation. Pure. Parameters are listed key by
// key, so that no value of a spec gets into the log by itself.

import type { GossipEvent } from "../../../shared/fleet/gossip-event.ts";
import { describeSaid } from "../../../shared/text/describe-reason.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import type { RestoreRecord } from "../../../shared/state/restore.ts";
import { type Cause, MUTATING_STEPS, type Step } from "../../../shared/state/step.ts";
import type { AuditActor, AuditEntry } from "./audit-chain.ts";
import type { ReportState } from "../status/report-state.ts";
import { nameContent } from "../../../shared/state/file-content.ts";

type Done = Extract<AgentEvent, { kind: "step-done" | "step-failed" }>;

/** A message is cut so that a line of the log stays a line. */
const LONGEST_MESSAGE = 2_000;
const LONGEST_NAME = 200;

/** The entry for a step, or undefined when it changed nothing that is recorded. */
export function buildStepEntry(event: Done, state: ReportState): AuditEntry | undefined {
  const { step, cause } = event;
  if (!MUTATING_STEPS.has(step.kind) || (event.kind === "step-done" && !event.changed)) return undefined;
  const from = findPrevious(step, state);
  return {
    actor: describeActor(cause, state),
    action: step.kind,
    what: describeStep(step),
    cause: `${cause.kind}: ${cause.detail}`.slice(0, LONGEST_MESSAGE),
    ...(from === undefined ? {} : { from }),
    ...(event.kind === "step-done"
      ? { result: "ok" }
      : { result: "failed", message: describeSaid(event, true).slice(0, LONGEST_MESSAGE) }),
  };
}

/** Who stands behind a cause. */
function describeActor({ kind, revision, uid }: Cause, { source }: ReportState): AuditActor {
  if (uid !== undefined) return { kind: "user", uid };
  const byCommit = kind === "commit" || kind === "first-start" || kind === "config" || kind === "removal";
  const actor = { kind: byCommit ? "commit" : "agent", ...(revision === undefined ? {} : { revision }) } as const;
  if (!byCommit || source?.commit === undefined || source.revision !== revision) return actor;
  const { author, committer, signer } = source.commit;
  const { approval } = source;
  return {
    ...actor,
    kind: "commit",
    author: author.slice(0, LONGEST_NAME),
    committer: committer.slice(0, LONGEST_NAME),
    ...(signer === undefined ? {} : { signer: signer.slice(0, LONGEST_NAME) }),
    ...(approval === undefined ? {} : { approval: approval.slice(0, LONGEST_NAME) }),
  };
}

function findPrevious(step: Step, state: ReportState): unknown {
  if (step.kind === "update-caps") return { ...step.from };
  if (step.kind !== "create-container") return undefined;
  const view = state.services.get(step.service)?.view;
  if (view?.container === undefined) return undefined;
  const { revision, image, container } = view;
  return { container, ...(revision === undefined ? {} : { revision }), ...(image === undefined ? {} : { image }) };
}

/** What a step did, without values of environment and without contents. */
function describeStep(step: Step): AuditEntry["what"] {
  if (step.kind === "switch-traffic")
    return { service: step.service, front: step.front, address: step.address ?? "none", ports: [...step.ports] };
  if (step.kind === "drain-traffic")
    return { service: step.service, front: step.front, address: step.address, timeoutMs: step.timeoutMs };
  return describeOwnStep(step);
}

/** Steps on the node's own things and on containers. */
function describeOwnStep(step: Exclude<Step, { kind: "switch-traffic" | "drain-traffic" }>): AuditEntry["what"] {
  switch (step.kind) {
    case "ensure-network":
      return {
        network: step.network,
        internal: step.internal,
        ...(step.subnet === undefined ? {} : { subnet: step.subnet }),
      };
    case "write-hosts":
      return { hosts: Object.keys(step.hosts) };
    case "ensure-image":
      return { service: step.service, image: step.image };
    case "ensure-volume":
      return { service: step.service, volume: step.volume };
    case "write-files":
      return {
        service: step.service,
        files: step.files.map(({ target, content }) => ({ target, hash: nameContent(content) })),
      };
    case "remove-files":
      return { service: step.service, specHash: step.specHash };
    case "create-container":
      return describeCreation(step);
    case "start-container":
    case "unpause-container":
    case "remove-container":
      return { service: step.service, container: step.container };
    case "rename-container":
      return { service: step.service, container: step.container, name: step.name };
    case "stop-container":
      return { service: step.service, container: step.container, timeoutMs: step.timeoutMs };
    case "update-caps":
      return { service: step.service, container: step.container, caps: { ...step.to } };
    case "connect-network": {
      const { service, container, network, aliases } = step;
      return { service, container, network, aliases: [...aliases] };
    }
    case "signal-container":
      return { service: step.service, container: step.container, signal: step.signal };
    case "exec-in-container":
      return { service: step.service, container: step.container, command: [...step.command] };
    default:
      return step satisfies never;
  }
}

function describeCreation(step: Extract<Step, { kind: "create-container" }>): AuditEntry["what"] {
  const { spec } = step;
  const names = (map: object | undefined): string[] => Object.keys(map ?? {}).toSorted();
  return {
    service: step.service,
    name: step.name,
    image: spec.image,
    specHash: step.specHash,
    revision: step.revision,
    network: spec.network ?? step.network,
    caps: { ...step.caps },
    env: names(spec.env),
    secretEnv: names(spec.secretEnv),
    secretFiles: names(spec.secretFiles),
    files: (spec.files ?? []).map((file) => file.target),
    ports: [...(spec.ports ?? [])],
    volumes: (spec.volumes ?? []).map((volume) => `${volume.name ?? volume.source ?? ""}:${volume.target}`),
    ...(spec.privileged === true ? { privileged: true } : {}),
  };
}

/** A spare that stands in a node's place, as this node has heard. */
export function buildTakeoverEntry({ node, spare, term }: Extract<GossipEvent, { kind: "takeover" }>): AuditEntry {
  return {
    actor: { kind: "agent" },
    action: "takeover",
    what: { node, spare, term },
    cause: "signed with the recovery key",
    result: "ok",
  };
}

/** What retention has removed. */
export function buildRemovalEntry({
  service,
  store,
  backup,
}: Extract<AgentEvent, { kind: "backup-removed" }>): AuditEntry {
  return {
    actor: { kind: "agent" },
    action: "backup-remove",
    what: { service, store, backup },
    cause: "retention",
    result: "ok",
  };
}

/** What a prune has chosen, before it removes anything, and each thing that it has removed. */
export function buildPruneEntry(event: Extract<AgentEvent, { kind: "prune-began" | "pruned" }>): AuditEntry {
  const common = { actor: { kind: "agent" }, cause: `prune: ${event.trigger}`, result: "ok" } as const;
  if (event.kind === "prune-began") return { ...common, action: "prune", what: { chosen: [...event.chosen] } };
  const { kind, name, freedBytes } = event.item;
  return { ...common, action: "prune-remove", what: { kind, name, freedBytes } };
}

/** An ephemeral volume that is gone. */
export function buildVolumeEntry({ service, volume }: Extract<AgentEvent, { kind: "volume-removed" }>): AuditEntry {
  const cause = "ephemeral: no release needs it any more";
  return { actor: { kind: "agent" }, action: "volume-remove", what: { service, volume }, cause, result: "ok" };
}

/** A restore that has come to another stage: the volumes it is about, and who asked for it. */
export function buildRestoreEntry({ uid, stage, outcome, ...record }: RestoreRecord): AuditEntry {
  const { service, store, backup, from, to } = record;
  const isBad = outcome !== undefined && outcome.kind !== "restored";
  return {
    actor: { kind: "user", uid },
    action: "backup-restore",
    what: { service, store, backup, from, to, stage },
    cause: "asked on the socket",
    ...(isBad ? { result: "failed", message: outcome.detail.slice(0, LONGEST_MESSAGE) } : { result: "ok" }),
  };
}
