// The steps of a recovery, each with the time it may take and the time it took: printed as they come, and as a table at the end.

import { describeDuration } from "../../../shared/text/duration.ts";

const MINUTE_MS = 60_000;

/** Every step, with its budget: 15 minutes are promised for all of them. */
export const RECOVERY_STEPS = {
  provision: {
    title: "open the escrow, manifests and images, sign the takeover, start the agent",
    budgetMs: 3 * MINUTE_MS,
  },
  data: { title: "restore the data", budgetMs: 5 * MINUTE_MS },
  names: { title: "swap the name servers (by a person, at the registrar)", budgetMs: 2 * MINUTE_MS },
  services: { title: "start the services", budgetMs: 3 * MINUTE_MS },
} as const;

const TOTAL_MS = 15 * MINUTE_MS;

/** The name of a step. */
export type RecoveryStep = keyof typeof RECOVERY_STEPS;

/** Times the steps. */
export class RecoveryTable {
  readonly #nowMs: () => number;
  readonly #took = new Map<RecoveryStep, number>();

  /** @param nowMs a clock that is never set */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Runs one step; what it takes counts also where it fails. */
  async time<T>(step: RecoveryStep, act: () => Promise<T>): Promise<T> {
    const beganMs = this.#nowMs();
    try {
      return await act();
    } finally {
      this.#took.set(step, this.#nowMs() - beganMs);
    }
  }

  /** Everything that was measured. */
  get tookMs(): number {
    return [...this.#took.values()].reduce((sum, ms) => sum + ms, 0);
  }

  /** The table as text. */
  print(): string {
    const rows = (Object.keys(RECOVERY_STEPS) as RecoveryStep[]).map((step) => {
      const { title, budgetMs } = RECOVERY_STEPS[step];
      const took = this.#took.get(step);
      const measured = took === undefined ? "not measured" : describeDuration(Math.ceil(took / 1_000) * 1_000);
      return [
        title,
        describeDuration(budgetMs),
        took !== undefined && took > budgetMs ? `${measured}, LATE` : measured,
      ];
    });
    const total = ["all of it", describeDuration(TOTAL_MS), describeDuration(Math.ceil(this.tookMs / 1_000) * 1_000)];
    const lines = [["step", "budget", "measured"], ...rows, total];
    const widths = [0, 1].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
    return lines
      .map(
        ([step = "", budget = "", measured = ""]) =>
          `${step.padEnd(widths[0] ?? 0)}  ${budget.padEnd(widths[1] ?? 0)}  ${measured}`,
      )
      .join("\n");
  }
}
