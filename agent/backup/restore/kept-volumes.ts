// Which volumes are kept beside the ones in force, for the notes of status: data from before a restore, or of one that was taken back.
// They are a person's to remove. Made by the restore keeper, and told of each turn. Held by test/scenario/backup/restore.test.ts.

import type { TurnSummary } from "../../../shared/state/event.ts";
import type { Note } from "../../../shared/state/note.ts";
import type { DockerReader } from "../../docker/reader.ts";
import type { Clock } from "../../host/os/clock.ts";

/** What it looks with. */
interface Look {
  node: string;
  clock: Pick<Clock, "monotonicMs">;
  reader: Pick<DockerReader, "inspectVolume" | "listGenerations">;
}

/** They are looked at again so often: people remove old ones. */
const LOOK_MS = 600_000;

/** The volumes that are kept. */
export class KeptVolumes {
  readonly #look: Look;
  /** All that are there, in force or not, by the one that manifests name. */
  #there: readonly { of: string; name: string }[] = [];
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(look: Look) {
    this.#look = look;
  }

  /** Looks where it is time. Never throws, never waits. */
  follow(turn: TurnSummary): void {
    void this.#lookAgain(turn);
  }

  /** Something has changed: the next turn looks. */
  lookSoon(): void {
    this.#lookedMs = Number.NEGATIVE_INFINITY;
  }

  /** A note for each that is not in force by this turn. @param filled what is being filled, and not kept yet */
  listNotes(turn: TurnSummary | undefined, filled: readonly string[]): Note[] {
    return this.#there
      .filter(({ of: base, name }) => turn?.generations?.[base]?.inForce !== name && !filled.includes(name))
      .map(({ name, of: base }) => ({
        name: `volume ${name} kept`,
        text: `the volume ${name} is kept beside the one of ${base} that is in force: docker volume rm ${name} removes it (orca help restore)`,
      }));
  }

  async #lookAgain({ generations, observed }: TurnSummary): Promise<void> {
    const { clock, node, reader } = this.#look;
    const nowMs = clock.monotonicMs();
    if (generations === undefined || !observed.engine.reachable || nowMs - this.#lookedMs < LOOK_MS) return;
    this.#lookedMs = nowMs;
    try {
      const listed = await reader.listGenerations(node);
      const bases = Object.keys(generations);
      const first = await Promise.all(bases.map((base) => reader.inspectVolume(base)));
      const there = bases.filter((_base, at) => first[at] !== undefined).map((base) => ({ of: base, name: base }));
      this.#there = [...there, ...listed];
    } catch {
      // An engine that does not answer is looked at again.
      this.lookSoon();
    }
  }
}
