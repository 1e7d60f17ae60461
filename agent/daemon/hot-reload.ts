// The parts of agent.toml that are taken over while the agent runs, and what is said of the others. Made by daemon.ts, which
// calls `apply` at the start and after each change of the file.

import type { Emit } from "../../shared/state/event.ts";
import type { Agent } from "../loop/agent.ts";
import type { DaemonConfig, WebhookSettings } from "./daemon-config.ts";
import type { Clock } from "../host/os/clock.ts";
import type { CommitStatus } from "../report/notify/commit-status.ts";
import type { PushReceiver } from "../sources/forge/push-receiver.ts";

/** What the parts work with. */
export interface LiveOptions {
  agent: Pick<Agent, "lookAtSource">;
  commitStatus: Pick<CommitStatus, "configure">;
  clock: Clock;
  emit: Emit;
}

/** Holds what can change while the agent runs. */
export class HotReload {
  readonly #options: LiveOptions;
  #webhook: { settings: WebhookSettings; receiver: PushReceiver } | undefined;
  /** One change after the other. */
  #applying: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: LiveOptions) {
    this.#options = options;
  }

  /** Takes over a configuration. */
  apply(config: DaemonConfig): Promise<void> {
    this.#options.commitStatus.configure(config.commitStatus);
    this.#applying = this.#applying.then(() => this.#applyWebhook(config));
    return this.#applying;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#applying;
    await this.#webhook?.receiver.close();
  }

  async #applyWebhook({ webhook, source, node }: DaemonConfig): Promise<void> {
    const { agent, clock, emit } = this.#options;
    const before = this.#webhook;
    if (this.#closed) return;
    if (isSame(before?.settings, webhook)) return before?.receiver.check();
    await before?.receiver.close();
    this.#webhook = undefined;
    if (webhook === undefined || source.kind !== "git") {
      emit({ kind: "webhook", atMs: clock.nowMs(), listen: undefined, trouble: undefined });
      return;
    }
    // Loaded only where it is used.
    const { PushReceiver } = await import("../sources/forge/push-receiver.ts");
    const { url, branch } = source.git.location;
    const onPush = (): void => agent.lookAtSource();
    const receiver = new PushReceiver({ ...webhook, interest: { url, branch, node }, clock, emit, onPush });
    this.#webhook = { settings: webhook, receiver };
    await receiver.start();
  }
}

/** Says which changed parts of agent.toml need a restart of the agent; undefined where none does. */
export function describeFixed(before: DaemonConfig, after: DaemonConfig): string | undefined {
  const fixed: Partial<Record<keyof DaemonConfig, string>> = {
    node: "node",
    source: "source",
    stateDir: "state.dir",
    docker: "docker",
    listen: "status.listen",
    policyFile: "policy.file",
    alerts: "alerts",
    secrets: "secrets",
    output: "log",
    gossip: "gossip",
  };
  const changed = Object.entries(fixed).flatMap(([key, shown]) => {
    const [old, now] = [before[key as keyof DaemonConfig], after[key as keyof DaemonConfig]];
    // A policy's file that is gone is told where it is read.
    return isSame(old, now) || (key === "policyFile" && now === undefined) ? [] : [shown];
  });
  if (changed.length === 0) return undefined;
  return `agent.toml was changed in ${changed.join(", ")}: that takes a restart of the agent`;
}

function isSame(left: unknown, right: unknown): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}
