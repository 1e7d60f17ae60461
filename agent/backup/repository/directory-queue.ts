// Asks directories that may be mounts: one question at a time to each, and no longer than a while. A mount whose server is away holds a
// thread of the process for every call, and there are four: nothing else of the agent may wait for it.

import type { Clock } from "../../host/os/clock.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import { RepositoryError } from "./repository-port.ts";

/** Asks each directory one thing after the other. */
export class DirectoryQueue {
  readonly #clock: Pick<Clock, "after">;
  readonly #asking = new Map<string, Promise<unknown>>();
  /** Directories that owe an answer for too long: nothing more is asked there until it comes. */
  readonly #hanging = new Set<string>();

  constructor(clock: Pick<Clock, "after">) {
    this.#clock = clock;
  }

  /**
   * Asks, once what was asked before is answered. Rejects with a `RepositoryError` where no answer comes in time; the question goes on
   * then, and until it has ended the directory is asked nothing.
   */
  async ask<T>(directory: string, deadlineMs: number, question: () => Promise<T>): Promise<T> {
    if (this.#hanging.has(directory)) throw describeHanging(directory, deadlineMs);
    const before = this.#asking.get(directory) ?? Promise.resolve();
    const answer = before.then(() => {
      if (this.#hanging.has(directory)) throw describeHanging(directory, deadlineMs);
      return this.#begin(directory, deadlineMs, question);
    });
    this.#asking.set(
      directory,
      answer.catch(() => undefined),
    );
    return answer;
  }

  #begin<T>(directory: string, deadlineMs: number, question: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const cancel = this.#clock.after(deadlineMs, () => {
        this.#hanging.add(directory);
        reject(describeHanging(directory, deadlineMs));
      });
      void question()
        .then(resolve, reject)
        .finally(() => {
          cancel();
          this.#hanging.delete(directory);
        });
    });
  }
}

function describeHanging(directory: string, deadlineMs: number): RepositoryError {
  const words = `${directory} gives no answer within ${describeDuration(deadlineMs)}`;
  return new RepositoryError(`${words}: is it a mount whose server is away?`);
}
