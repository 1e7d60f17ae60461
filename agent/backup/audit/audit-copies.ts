// Has the audit log copied into this node's repositories, once a day each, and says where that failed. Made by daemon.ts, which names the
// log's file; told of each turn, and never holds one up. Changes nothing on the log, and removes no copy.

import type { AgentEvent } from "../../../shared/state/event.ts";
import type { RepositoryPlan, StorePlan } from "../../../shared/state/backup.ts";
import type { Note } from "../../../shared/state/note.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import { readMessage } from "../../../shared/text/read-message.ts";
import { setNewerAside } from "../../host/newer-document.ts";
import { type Clock, nameMoment } from "../../host/os/clock.ts";
import { askAuditCopy, type ChildParts } from "../ask-child.ts";
import type { AuditCopy, AuditCopyRequest } from "../backup-exchange.ts";
import { findBackupDue } from "../core/backup-due.ts";
import type { OwnKey } from "../keeper/own-key.ts";
import type { RepositoryDesk } from "../keeper/repository-desk.ts";
import { findLogFolder } from "../repository/backup-path.ts";
import type { RepositoryPlace } from "../repository/repository-place.ts";
import { AUDIT_COPIES_VERSION, type AuditCopyMemory, readAuditCopies, writeAuditCopies } from "./audit-copy-state.ts";

/** What it is made from. */
export interface AuditCopiesOptions extends Pick<ChildParts, "node" | "program"> {
  clock: Clock;
  /** The log's file, which another room writes. */
  auditPath: string;
  statePath: string;
  desk: Pick<RepositoryDesk, "resolve">;
  identity: Pick<OwnKey, "ensure" | "listRecipients">;
  runLightChild: ChildParts["runChild"];
  emit(event: AgentEvent): void;
}

/** A repository that this node's stores name, and one of them. */
interface Target {
  plan: RepositoryPlan;
  store: StorePlan;
  recipients: string[];
}

/** In UTC; each repository has its jitter. */
const SCHEDULE = "30 1 * * *";
/** A copy that failed is tried again so soon. */
const RETRY_MS = 900_000;
/** After the agent's start a repository that is not known yet waits so long: a host that comes up has more urgent work. */
const FIRST_MS = 120_000;

/** Copies the log of one node. */
export class AuditCopies {
  readonly #options: AuditCopiesOptions;
  readonly #memories: Map<string, AuditCopyMemory>;
  readonly #abort = new AbortController();
  readonly #startedMs: number;
  #plans: readonly StorePlan[] = [];
  #copying: Promise<void> | undefined;

  constructor(options: AuditCopiesOptions) {
    this.#options = options;
    this.#startedMs = options.clock.monotonicMs();
    const newer = setNewerAside(options.statePath, AUDIT_COPIES_VERSION);
    if (newer !== undefined) this.#tell(newer);
    this.#memories = readAuditCopies(options.statePath);
  }

  /** Takes over what a turn has found, and begins what is due. Never throws, never waits. */
  follow(plans: readonly StorePlan[]): void {
    this.#plans = plans;
    if (this.#copying !== undefined || this.#abort.signal.aborted) return;
    const nowMs = this.#options.clock.nowMs();
    const isDue = this.#listTargets().some(({ plan }) => this.#findDue(plan.name, nowMs) <= nowMs);
    if (!isDue) return;
    this.#copying = this.#copy()
      .catch((error: unknown) => this.#tell(readMessage(error)))
      .finally(() => (this.#copying = undefined));
  }

  /** What is not as it should be. */
  get notes(): Note[] {
    return this.#listTroubles().map(({ name, text }) => ({
      name: `audit copy ${name}`,
      text: `${text}: see orca help repositories`,
    }));
  }

  /** All of it in one text, for an alert; undefined where every repository has its copy. */
  get trouble(): string | undefined {
    const troubles = this.#listTroubles().map(({ text }) => text);
    return troubles.length === 0 ? undefined : troubles.join("; ");
  }

  /** Resolves once nothing is being copied. */
  get settled(): Promise<void> {
    return this.#copying ?? Promise.resolve();
  }

  /** Ends; what is not published then is made anew. */
  async close(): Promise<void> {
    this.#abort.abort();
    await this.settled;
  }

  #listTroubles(): { name: string; text: string }[] {
    const nowMs = this.#options.clock.nowMs();
    return this.#listTargets().flatMap(({ plan: { name } }) => {
      const { reason, altered, copiedMs, triedMs } = this.#memories.get(name) ?? {};
      const age = copiedMs === undefined ? "it has none" : `its last one is ${describeDuration(nowMs - copiedMs)} old`;
      const again = `it is tried again ${describeDuration(RETRY_MS)} after ${new Date(triedMs ?? nowMs).toISOString().slice(0, 16)}Z`;
      return [
        ...(reason === undefined
          ? []
          : [{ name, text: `the audit log is not copied into ${name} (${age}; ${again}): ${reason}` }]),
        ...(altered === undefined
          ? []
          : [
              {
                name: `${name} altered`,
                text: `line ${altered} of the audit log is not the one that was copied into ${name}: the log of this host was written anew`,
              },
            ]),
      ];
    });
  }

  /** Each repository but `local`, which lies on the disk of the log itself. It encrypts for whomever one of its stores does. */
  #listTargets(): Target[] {
    const targets = new Map<string, Target>();
    for (const store of this.#plans) {
      for (const plan of store.repositories) {
        if (plan.kind === "local") continue;
        const known = targets.get(plan.name)?.recipients ?? [];
        const recipients = [...new Set([...known, ...this.#options.identity.listRecipients(store)])];
        targets.set(plan.name, { plan, store, recipients });
      }
    }
    return [...targets.values()];
  }

  /** A day that was missed is made up once, however many were. */
  #findDue(name: string, nowMs: number): number {
    const memory = this.#memories.get(name);
    const agentStartedMs = nameMoment(this.#options.clock, this.#startedMs);
    if (memory === undefined) return agentStartedMs + FIRST_MS;
    // What was tried in the future was tried by a clock that was wrong.
    if (memory.reason !== undefined) return memory.triedMs > nowMs ? nowMs : memory.triedMs + RETRY_MS;
    const times = { key: `${this.#options.node}/_log/${name}`, nowMs, agentStartedMs };
    return findBackupDue(SCHEDULE, { accountedMs: memory.triedMs }, times).atMs;
  }

  async #copy(): Promise<void> {
    const { clock, identity, node, auditPath, statePath, program, runLightChild } = this.#options;
    await identity.ensure();
    const nowMs = clock.nowMs();
    const due = this.#listTargets().filter(({ plan }) => this.#findDue(plan.name, nowMs) <= nowMs);
    const copies: AuditCopy[] = [];
    const repositories: { place: RepositoryPlace; recipients: string[] }[] = [];
    for (const target of due) {
      const place = this.#resolve(target);
      if (typeof place === "string") copies.push({ repository: target.plan.name, reason: place });
      else repositories.push({ place, recipients: target.recipients });
    }
    if (repositories.length > 0) {
      const request: AuditCopyRequest = { kind: "copy-audit", node, path: auditPath, repositories };
      const answer = await askAuditCopy({ program, runChild: runLightChild }, this.#abort.signal, request);
      if (this.#abort.signal.aborted) return;
      const reason = answer.kind === "failed" ? answer.reason : "the child gave no answer";
      if (answer.kind === "audit-copied") copies.push(...answer.repositories);
      else copies.push(...repositories.map(({ place }) => ({ repository: place.name, reason })));
    }
    for (const copy of copies) this.#memories.set(copy.repository, this.#remember(copy, nowMs));
    await writeAuditCopies(statePath, this.#memories);
  }

  /** A mount that is gone leaves an empty directory: what is known to lie there must be there. */
  #resolve({ plan, store }: Target): RepositoryPlace | string {
    const place = this.#options.desk.resolve(plan, store);
    if (typeof place === "string" || place.kind === "s3" || place.holds !== undefined) return place;
    if ((this.#memories.get(plan.name)?.lines ?? 0) === 0) return place;
    return { ...place, holds: findLogFolder(this.#options.node) };
  }

  #remember({ repository, log, lines, reason, altered }: AuditCopy, nowMs: number): AuditCopyMemory {
    const before = this.#memories.get(repository);
    const mark = log ?? before?.log;
    // It stays so until this host has another log.
    const found = altered ?? (mark === before?.log ? before?.altered : undefined);
    const known = lines ?? before?.lines;
    const copiedMs = reason === undefined ? nowMs : before?.copiedMs;
    return {
      triedMs: nowMs,
      ...(copiedMs === undefined ? {} : { copiedMs }),
      ...(mark === undefined ? {} : { log: mark }),
      ...(known === undefined ? {} : { lines: known }),
      ...(reason === undefined ? {} : { reason }),
      ...(found === undefined ? {} : { altered: found }),
    };
  }

  #tell(message: string): void {
    const atMs = this.#options.clock.nowMs();
    this.#options.emit({ kind: "state-not-saved", atMs, message: `copies of the audit log: ${message}` });
  }
}
