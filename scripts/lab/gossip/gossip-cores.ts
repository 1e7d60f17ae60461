// The cores that a simulated fleet shares: processes of one thread each, in the order in which they have something to do. For
// holding the simulation to a real run in which thirty members share two cores: there, work and not the network takes the time.

/** What work costs, in milliseconds on a core, as measured on the machine. */
export interface CpuModel {
  cores: number;
  /** To send a record on one link, and to take one in. */
  sendMs: number;
  receiveMs: number;
  /** To send or take in anything smaller. */
  smallMs: number;
  /** To dial a port that is closed. */
  dialMs: number;
}

interface Task {
  process: string;
  costMs: number;
  act: () => void;
}

/** Cores, and what waits for them. */
export class Cores {
  readonly #after: (delayMs: number, act: () => void) => void;
  readonly #waiting: Task[] = [];
  readonly #busy = new Set<string>();
  #free: number;

  constructor(cores: number, after: (delayMs: number, act: () => void) => void) {
    this.#free = cores;
    this.#after = after;
  }

  /** Does something in a process, once it and a core are free and it has taken its time there. */
  run(process: string, costMs: number, act: () => void): void {
    this.#waiting.push({ process, costMs, act });
    this.#begin();
  }

  #begin(): void {
    while (this.#free > 0) {
      const at = this.#waiting.findIndex(({ process }) => !this.#busy.has(process));
      const [task] = at === -1 ? [] : this.#waiting.splice(at, 1);
      if (task === undefined) return;
      const { process, costMs, act } = task;
      this.#free -= 1;
      this.#busy.add(process);
      this.#after(costMs, () => {
        this.#free += 1;
        this.#busy.delete(process);
        act();
        this.#begin();
      });
    }
  }
}
