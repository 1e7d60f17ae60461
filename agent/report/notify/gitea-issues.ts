// Alerts as issues of the forge, for the case that a chat does not take them: one issue for each kind of alert and week, a comment for
// each message. What a container or a program printed stands in a block of its own, where it is no mark-up and mentions nobody.

import type { Clock } from "../../host/os/clock.ts";
import type { ForgeIssues } from "../../sources/forge/gitea-issues-api.ts";
import { ApiFailure } from "../../sources/forge/gitea-failure.ts";
import { type AlertChannel, type Attempt, type Delivery, Patience } from "./alert-channel.ts";
import type { AlertMessage } from "./alert-message.ts";

/** What it needs. */
export interface GiteaIssueOptions {
  /** Opened when it is first needed. */
  open: () => Promise<ForgeIssues>;
  clock: Clock;
  waitsMs: () => readonly number[];
}

/** Answers that mean "later", besides those from 500 on. */
const LATER: ReadonlySet<number> = new Set([408, 425, 429]);
const DAY_MS = 86_400_000;

/** Writes issues. */
export class GiteaIssues implements AlertChannel {
  readonly #options: GiteaIssueOptions;
  readonly #patience: Patience;
  #issues: ForgeIssues | undefined;

  constructor(options: GiteaIssueOptions) {
    this.#options = options;
    this.#patience = new Patience(options.clock);
  }

  deliver(message: AlertMessage): Promise<Delivery> {
    return this.#patience.keepTrying(() => this.#write(message), this.#options.waitsMs());
  }

  close(): void {
    this.#patience.close();
  }

  async #write(message: AlertMessage): Promise<Attempt> {
    try {
      this.#issues ??= await this.#options.open();
      const title = nameIssue(message);
      const body = printBody(message);
      const found = await this.#issues.find(title);
      if (found !== undefined) {
        await this.#issues.comment(found.number, body);
        // A person has closed it, and it is not over.
        if (found.closed && !message.resolved) await this.#issues.reopen(found.number);
      } else if (!message.resolved) await this.#issues.create(title, body);
      return { kind: "delivered" };
    } catch (error) {
      return readFailure(error);
    }
  }
}

function readFailure(error: unknown): Attempt {
  if (!(error instanceof ApiFailure)) return { kind: "failed", reason: (error as Error).message, retryAfterMs: 0 };
  const { status, retryAfterMs = 0, message } = error;
  if (status !== undefined && status >= 400 && status < 500 && !LATER.has(status)) return { kind: "refused", status };
  return { kind: "failed", reason: message, retryAfterMs };
}

/** The kind and the week: what is over is told where its trouble was. */
export function nameIssue({
  state,
  previous,
  resolved,
  at,
}: Pick<AlertMessage, "state" | "previous" | "resolved" | "at">): string {
  return `Orca alert ${resolved ? (previous ?? state) : state}, week ${nameWeek(Date.parse(at))}`;
}

/** The ISO week: the one that the week's Thursday lies in. */
function nameWeek(atMs: number): string {
  const day = Math.floor(atMs / DAY_MS);
  // The epoch was a Thursday.
  const thursday = day - ((((day + 3) % 7) + 7) % 7) + 3;
  const year = new Date(thursday * DAY_MS).getUTCFullYear();
  const first = Date.UTC(year, 0, 1) / DAY_MS;
  return `${year}-W${String(Math.floor((thursday - first) / 7) + 1).padStart(2, "0")}`;
}

function printBody({ text, at, revision }: AlertMessage): string {
  const lines = [text, `at ${at}`, ...(revision === null ? [] : [`revision ${revision}`])];
  return lines.map((line) => `    ${line.replaceAll(/[\r\n]+/g, " ")}`).join("\n");
}
