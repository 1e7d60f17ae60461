// All that tells people of trouble: the webhook of agent.toml and the channels of fleet.toml, each with a memory of its own. The report
// hands it what is known after each event.

import type { DrillStanding } from "../../../shared/drill/drill.ts";
import type { StoreStanding, ServiceStanding } from "../../../shared/state/promise.ts";
import type { PeerView } from "../../gossip/core/gossip.ts";
import type { ReportState } from "../status/report-state.ts";
import { type AlertMemory, type Condition, listConditions } from "./alert-judge.ts";
import { type AlertOptions, type AlertParts, type Alerts, openWebhookAlerts } from "./alerts.ts";
import { judgeAuditCopies, listBackupConditions } from "./backup-conditions.ts";
import { FleetAlerts, type FleetAlertParts } from "./fleet-alerts.ts";
import {
  listCapacityConditions,
  listDrillConditions,
  listOomConditions,
  listPeerConditions,
  listPromiseConditions,
} from "./promise-conditions.ts";

/** What was told so far, to be kept over a restart. */
export interface AlertMemories {
  alerts: AlertMemory | undefined;
  fleetAlerts: AlertMemory | undefined;
}

/** What is known besides the state. */
export interface AlertFacts {
  auditTrouble: string | undefined;
  auditCopyTrouble?: string | undefined;
  standings: readonly StoreStanding[];
  services: readonly ServiceStanding[];
  drills: readonly DrillStanding[];
  peers: readonly PeerView[];
}

/** Tells on every way there is. */
export class AlertDesk {
  readonly #node: string;
  readonly #clock: AlertParts["clock"];
  readonly #own: Alerts | undefined;
  readonly #fleet: FleetAlerts;
  readonly #before: AlertMemories;

  constructor(own: AlertOptions | undefined, parts: Omit<FleetAlertParts, "memory">, before: AlertMemories) {
    this.#node = parts.node;
    this.#clock = parts.clock;
    this.#before = before;
    this.#own = own === undefined ? undefined : openWebhookAlerts(own, { ...parts, memory: before.alerts });
    this.#fleet = new FleetAlerts({ ...parts, memory: before.fleetAlerts });
  }

  /** What was told so far; of a way that is not there now, what was told before. */
  get memories(): AlertMemories {
    return { alerts: this.#own?.memory ?? this.#before.alerts, fleetAlerts: this.#fleet.memory };
  }

  /** What is wrong with telling, in words. */
  get troubles(): string[] {
    return [...(this.#own?.trouble === undefined ? [] : [this.#own.trouble]), ...this.#fleet.troubles];
  }

  /** True while every way takes messages; undefined where there is none. */
  get ok(): boolean | undefined {
    const known = [this.#own === undefined ? undefined : this.#own.trouble === undefined, this.#fleet.ok].filter(
      (ok) => ok !== undefined,
    );
    return known.length === 0 ? undefined : known.every(Boolean);
  }

  /** The wall clock was set by so much. */
  move(stepMs: number): void {
    this.#own?.move(stepMs);
    this.#fleet.move(stepMs);
  }

  /** Looks at what is known, and tells what is new. */
  look(state: ReportState, read: () => AlertFacts): void {
    // A desired state that is not known yet says nothing of where alerts go.
    if (!state.known) return;
    this.#fleet.follow(state.alerts);
    if (this.ok === undefined) return;
    const conditions = listAll(state, read(), { node: this.#node, nowMs: this.#clock.nowMs() });
    this.#own?.look(state, conditions);
    this.#fleet.look(state, conditions);
  }

  /** Ends; what waits is told by the next agent. */
  async close(): Promise<void> {
    await Promise.all([this.#own?.close(), this.#fleet.close()]);
  }
}

function listAll(state: ReportState, facts: AlertFacts, { node, nowMs }: { node: string; nowMs: number }): Condition[] {
  return [
    ...listConditions(state, nowMs, facts.auditTrouble),
    ...listBackupConditions(facts.standings, nowMs),
    judgeAuditCopies(facts.auditCopyTrouble, state.source?.revision),
    ...listPromiseConditions(facts.services, nowMs),
    ...listDrillConditions(facts.drills, nowMs),
    ...listOomConditions(state, nowMs),
    ...listCapacityConditions(state, nowMs),
    ...listPeerConditions(facts.peers, node),
  ];
}
