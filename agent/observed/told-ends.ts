// Ends that the engine has told of and has not finished: it takes the container's mounts and networks away first, lists it as
// running meanwhile and answers no inspection. What the event says is shown at once; whatever is remembered of an end waits for
// the inspection, which is asked for beside the turns and wakes the loop with its answer. Used by the observer alone.

import type { ContainerRow } from "../docker/reader.ts";
import type { ContainerEnd, EventNews } from "./event-watcher.ts";

/** An end without an inspection. */
export interface ToldEnd extends ContainerEnd {
  oomKilled: boolean;
  /** When someone other than the agent sent it an ending signal, where someone did. */
  killedMs: number | undefined;
}

interface Entry {
  end: ToldEnd;
  asking: "not-yet" | "asked" | "answered";
}

/** What was told of ends, by container. */
export class ToldEnds {
  readonly #entries = new Map<string, Entry>();

  /** Takes over what the events said. To be called before the engine is listed: what was answered by then shows in the list. */
  hear(news: EventNews): void {
    for (const [id, { asking }] of this.#entries) if (asking === "answered") this.#entries.delete(id);
    for (const [id, end] of news.ended) {
      this.#entries.delete(id);
      if (end === undefined) continue;
      const killedMs = news.killedByHand.get(id);
      this.#entries.set(id, { end: { ...end, oomKilled: false, killedMs }, asking: "not-yet" });
    }
    for (const id of news.oom) {
      const entry = this.#entries.get(id);
      if (entry !== undefined) entry.end.oomKilled = true;
    }
  }

  /** How a container has ended that the engine still lists as running. */
  find({ id, status }: Pick<ContainerRow, "id" | "status">): ToldEnd | undefined {
    return status === "running" || status === "paused" ? this.#entries.get(id)?.end : undefined;
  }

  /** Asks the engine once for each end; `answered` is called with what was told when it has answered or failed. */
  ask(id: string, inspect: () => Promise<unknown>, answered: (end: ToldEnd, failed: boolean) => void): void {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.asking !== "not-yet") return;
    entry.asking = "asked";
    const settle = (failed: boolean): void => {
      entry.asking = "answered";
      answered(entry.end, failed);
    };
    void inspect().then(
      () => settle(false),
      () => settle(true),
    );
  }
}
