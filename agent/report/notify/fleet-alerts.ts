// Alerts by fleet.toml: follows its table as it changes, opens the channels, and keeps what was told apart from what agent.toml's own
// webhook was told. Made by report.ts. Never logs a URL.

import type { AlertChannelPlan, AlertPlan } from "../../../shared/fleet/alert-plan.ts";
import { Secret } from "../../../shared/secret/secret.ts";
import type { GiteaApiOptions } from "../../sources/forge/gitea-api.ts";
import type { ReportState } from "../status/report-state.ts";
import { AlertChain, type ChainLink } from "./alert-chain.ts";
import type { AlertMemory, Condition, Severity } from "./alert-judge.ts";
import { RANK } from "./alert-judge.ts";
import { Webhook } from "./alert-webhook.ts";
import { type AlertParts, Alerts } from "./alerts.ts";
import { GiteaIssues } from "./gitea-issues.ts";
import { Heartbeat } from "./heartbeat.ts";

/** The forge's issues: where they are, and a token that may write them. */
export type ForgePlace = Pick<GiteaApiOptions, "url" | "apiUrl" | "caFile"> & { tokenFile: string };

/** What it needs besides what alerts need. */
export interface FleetAlertParts extends AlertParts {
  /** A secret that the node may read, or why it has no value now. */
  readSecret: (path: string) => { value: string } | { reason: string };
  /** Undefined where agent.toml names no token for the forge. */
  forge: ForgePlace | undefined;
  isAlive: () => boolean;
}

/** Three more attempts, and then the next channel is asked. */
const WAITS_MS = [1_000, 5_000, 25_000];
const ONCE: readonly number[] = [];

/** Tells by whatever fleet.toml in force says. */
export class FleetAlerts {
  readonly #parts: FleetAlertParts;
  #planned = "";
  #memory: AlertMemory | undefined;
  #alerts: Alerts | undefined;
  #chain: AlertChain | undefined;
  #heartbeat: Heartbeat | undefined;
  /** Those before, until they have ended. */
  #closing: Promise<unknown> = Promise.resolve();

  constructor(parts: FleetAlertParts) {
    this.#parts = parts;
    this.#memory = parts.memory;
  }

  /** What was told so far, to be kept over a restart. */
  get memory(): AlertMemory | undefined {
    return this.#alerts?.memory ?? this.#memory;
  }

  /** What is wrong with telling, in words. */
  get troubles(): string[] {
    return [this.#alerts?.trouble, this.#chain?.trouble, this.#heartbeat?.trouble].filter((text) => text !== undefined);
  }

  /** True while somebody is told; undefined where nobody is to be. */
  get ok(): boolean | undefined {
    return this.#alerts === undefined ? undefined : this.#alerts.trouble === undefined;
  }

  /** Takes what fleet.toml says now. */
  follow(plan: AlertPlan | undefined): void {
    const planned = plan === undefined ? "" : JSON.stringify(plan);
    if (planned === this.#planned) return;
    this.#planned = planned;
    this.#end();
    if (plan === undefined) return;
    const { clock, version, timeoutMs, isAlive } = this.#parts;
    const userAgent = `orca/${version}`;
    if (plan.heartbeat !== undefined) {
      const { secret, everyMs } = plan.heartbeat;
      this.#heartbeat = new Heartbeat({
        readUrl: this.#readUrl(secret),
        everyMs,
        clock,
        userAgent,
        isAlive,
        timeoutMs,
      });
    }
    if (plan.channels.length === 0) return;
    const min = plan.channels.map((channel) => channel.min).toSorted((a, b) => RANK[a] - RANK[b])[0] as Severity;
    this.#chain = new AlertChain(
      plan.channels.map((channel) => this.#buildLink(channel, userAgent)),
      clock,
    );
    const limits = { min, repeatMs: plan.repeatMs };
    this.#alerts = new Alerts(limits, {
      ...this.#parts,
      channel: this.#chain,
      who: "no alert channel of fleet.toml takes messages",
      memory: this.#memory,
    });
  }

  /** The wall clock was set by so much. */
  move(stepMs: number): void {
    this.#alerts?.move(stepMs);
  }

  /** Looks at how everything is, and tells what is new. */
  look(state: ReportState, conditions: readonly Condition[]): void {
    this.#alerts?.look(state, conditions);
  }

  /** Ends; what waits is told by the next agent. */
  async close(): Promise<void> {
    this.#end();
    await this.#closing;
  }

  #end(): void {
    this.#heartbeat?.close();
    this.#heartbeat = undefined;
    const alerts = this.#alerts;
    if (alerts === undefined) return;
    const closed = alerts.close();
    // What waited is forgotten at once, and what is under way is known when it has ended.
    this.#memory = alerts.memory;
    this.#closing = Promise.all([this.#closing, closed]);
    this.#alerts = undefined;
    this.#chain = undefined;
  }

  #buildLink(channel: AlertChannelPlan, userAgent: string): ChainLink {
    const { clock, timeoutMs } = this.#parts;
    if (channel.kind === "webhook")
      return {
        name: `the webhook of ${channel.secret}`,
        min: channel.min,
        open: (isPatient) =>
          new Webhook({
            readUrl: this.#readUrl(channel.secret),
            clock,
            userAgent,
            timeoutMs,
            waitsMs: () => (isPatient() ? WAITS_MS : ONCE),
          }),
      };
    return {
      name: "the forge's issues",
      min: channel.min,
      open: (isPatient) =>
        new GiteaIssues({
          clock,
          waitsMs: () => (isPatient() ? WAITS_MS : ONCE),
          open: async () => this.#openIssues(),
        }),
    };
  }

  async #openIssues() {
    const { forge, timeoutMs } = this.#parts;
    if (forge === undefined)
      throw new Error("gitea_issues needs source.status_token_file in agent.toml, with the right to write issues");
    const { GiteaIssuesApi } = await import("../../sources/forge/gitea-issues-api.ts");
    const limits = timeoutMs === undefined ? {} : { deadlineMs: timeoutMs };
    return new GiteaIssuesApi({ ...forge, tokenKey: "source.status_token_file", ...limits });
  }

  #readUrl(path: string): () => Secret | { reason: string } {
    return () => {
      const read = this.#parts.readSecret(path);
      if ("reason" in read) return read;
      return URL.canParse(read.value.trim()) ? new Secret(read.value.trim()) : { reason: `${path} holds no URL` };
    };
  }
}
