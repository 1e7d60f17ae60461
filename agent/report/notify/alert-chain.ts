// Several channels in the order in which fleet.toml names them: a message goes to the first one that takes it. Whether one refuses it or
// stays away, the next is asked; when none takes it, it is told anew later, so nothing is lost. Used by fleet-alerts.ts.

import type { Clock } from "../../host/os/clock.ts";
import { RANK, type Severity } from "./alert-judge.ts";
import type { AlertChannel, Delivery } from "./alert-channel.ts";
import type { AlertMessage } from "./alert-message.ts";

/** One channel, and what it is for. */
export interface ChainLink {
  /** How people know it. */
  name: string;
  /** What is less grave does not go there. */
  min: Severity;
  /** @param isPatient false while its last message has failed a short time ago: then it is tried once */
  open: (isPatient: () => boolean) => AlertChannel;
}

interface Link {
  name: string;
  min: Severity;
  channel: AlertChannel;
  failure: { reason: string; atMs: number } | undefined;
}

/** After a failure a channel is tried once for each message, for so long. */
const DOUBT_MS = 300_000;

/** Tries one after the other. */
export class AlertChain implements AlertChannel {
  readonly #clock: Clock;
  readonly #links: readonly Link[];
  /** Who has been told of each subject that is not over yet: that it is over goes there, too. */
  readonly #told = new Map<string, Severity>();

  constructor(links: readonly ChainLink[], clock: Clock) {
    this.#clock = clock;
    this.#links = links.map(({ name, min, open }) => {
      const link: Link = { name, min, channel: open(() => this.#isTrusted(link)), failure: undefined };
      return link;
    });
  }

  /** Which channels did not take their last message; those behind them got it. */
  get trouble(): string | undefined {
    const failed = this.#links.flatMap(({ name, failure }) =>
      failure === undefined ? [] : [`${name} ${failure.reason}`],
    );
    return failed.length === 0 ? undefined : `of the alert channels in fleet.toml ${failed.join("; ")}`;
  }

  async deliver(message: AlertMessage): Promise<Delivery> {
    const severity = message.resolved ? (this.#told.get(message.subject) ?? "critical") : message.severity;
    const reasons: string[] = [];
    for (const link of this.#links.filter(({ min }) => RANK[severity] >= RANK[min])) {
      const end = await link.channel.deliver(message);
      if (end.kind === "delivered") {
        link.failure = undefined;
        if (message.resolved) this.#told.delete(message.subject);
        else this.#told.set(message.subject, severity);
        return end;
      }
      const reason = end.kind === "refused" ? `refuses messages with ${end.status}` : `fails (${end.reason})`;
      link.failure = { reason, atMs: this.#clock.monotonicMs() };
      reasons.push(`${link.name} ${reason}`);
    }
    return { kind: "failed", reason: reasons.join("; ") };
  }

  close(): void {
    for (const { channel } of this.#links) channel.close();
  }

  #isTrusted({ failure }: Link): boolean {
    return failure === undefined || this.#clock.monotonicMs() - failure.atMs >= DOUBT_MS;
  }
}
