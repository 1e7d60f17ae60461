// Whether this node takes the version that fleet.toml pins now, and if not, why. Pure; asked by the keeper in the agent.

import type { AgentPin, AgentWord } from "../../../shared/fleet/agent-version.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import { findOutcome, type UpdateOutcome } from "./update-record.ts";

/** What is known. */
export interface UpdateView {
  node: string;
  nowMs: number;
  /** Undefined where fleet.toml pins none. */
  pin: AgentPin | undefined;
  arch: string;
  /** The version that runs. */
  running: string;
  /** The version that the link names; undefined where this agent was not installed by its package. */
  current: string | undefined;
  onTrial: boolean;
  outcomes: readonly UpdateOutcome[];
  /** True where agent.toml says where packages are. */
  hasSource: boolean;
  /** True where the policy pins a release key. */
  hasKey: boolean;
  /** What the canary says of its agent, where that is its present word. */
  canary: AgentWord | undefined;
  /** When an update was last asked for, by this agent. */
  askedMs: number | undefined;
}

/** What is to be done. */
export type UpdateChoice =
  | { kind: "none" }
  | { kind: "trial" }
  /** Something else has to happen first. */
  | { kind: "waits"; why: string }
  /** Somebody has to do something. */
  | { kind: "stuck"; why: string }
  | { kind: "go"; version: string; sha256: string };

/** A package that could not be had is tried again after so long; so is a request of which nothing came. */
const RETRY_MS = 900_000;

/** Chooses. */
export function chooseUpdate(view: UpdateView): UpdateChoice {
  const { pin, running, nowMs } = view;
  if (view.onTrial) return { kind: "trial" };
  if (pin === undefined || pin.version === running) return { kind: "none" };
  const { version } = pin;
  const sha256 = findSum(pin, view.arch);
  const outcome = findOutcome(view.outcomes, sha256 ?? "");
  const why = findObstacle(view, version, { sha256, outcome });
  if (sha256 === undefined || why !== undefined) return { kind: "stuck", why: why ?? "" };
  if (pin.canary !== view.node && (view.canary?.version !== version || !view.canary.confirmed))
    return { kind: "waits", why: `${pin.canary} goes first, and has not said that ${version} is confirmed there` };
  const lastMs = Math.max(outcome?.atMs ?? -Infinity, view.askedMs ?? -Infinity);
  if (lastMs > nowMs || nowMs - lastMs >= RETRY_MS) return { kind: "go", version, sha256 };
  const said = outcome === undefined ? "it is being fetched" : outcome.reason;
  return { kind: "waits", why: `${said}; tried again in ${describeDuration(RETRY_MS - (nowMs - lastMs))}` };
}

function findSum({ sha256 }: AgentPin, arch: string): string | undefined {
  return arch === "amd64" || arch === "arm64" ? sha256[arch] : undefined;
}

/** What somebody has to do first. */
function findObstacle(
  view: UpdateView,
  version: string,
  { sha256, outcome }: { sha256: string | undefined; outcome: UpdateOutcome | undefined },
): string | undefined {
  if (view.current === undefined) return `this agent was not installed by its package: install ${version} by hand`;
  if (sha256 === undefined) return `fleet.toml has no sha256 for ${view.arch}`;
  if (outcome?.result === "failed")
    return `it has failed here: ${outcome.reason}; it is not tried again: pin another version, or orca update --retry`;
  if (outcome?.result === "refused")
    return `it is refused: ${outcome.reason}; after that is mended: orca update --retry`;
  if (!view.hasSource) return "agent.toml has no [update]: it does not say where packages are";
  if (!view.hasKey) return "the policy pins no release_key: nothing that is fetched is trusted";
  return undefined;
}
