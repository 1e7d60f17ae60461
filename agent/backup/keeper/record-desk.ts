// The one writer of what stands in a record after it was published: pins, verdicts, releases, and what retention marks and removes. All
// of a store's are made one after the other, each of the record as it lies there at that moment, so that no word is lost and nothing
// that was pinned goes.

import type { StorePlan } from "../../../shared/state/backup.ts";
import { RECORD_ENDING } from "../core/backup-name.ts";
import { type BackupRecord, backupRecordSchema, writeRecordText } from "../core/backup-record.ts";
import { openRepository, type RepositoryPlace } from "../repository/repository-place.ts";
import type { StoreFolder } from "../repository/repository-port.ts";
import { nameStore } from "./store-memories.ts";

/** Which record is meant. */
interface RecordPlace {
  place: RepositoryPlace;
  folder: StoreFolder;
  backup: string;
}

/** Changes a record in one repository. Rejects where it is not there any more, or cannot be written. */
export type ChangeRecord = (which: RecordPlace, change: (record: BackupRecord) => BackupRecord) => Promise<void>;

type Reach = (place: RepositoryPlace, work: () => Promise<void>) => Promise<void>;

/** Whose turn it is to write the records of a store. */
export class RecordDesk {
  /** By store, the last work that was asked for. */
  readonly #last = new Map<string, Promise<unknown>>();
  readonly #reach: Reach;

  /** @param reach asks a place, and gives up on one that hangs */
  constructor(reach: Reach = (_place, work) => work()) {
    this.#reach = reach;
  }

  /** Does work that writes records of a store, once what was asked for before has ended; only such work can change one. */
  alone<T>(store: Pick<StorePlan, "service" | "store">, work: (change: ChangeRecord) => Promise<T>): Promise<T> {
    const key = nameStore(store);
    const done = (this.#last.get(key) ?? Promise.resolve()).then(() =>
      work((which, change) => this.#reach(which.place, () => changeRecord(which, change))),
    );
    const ended = done.catch(() => undefined);
    this.#last.set(key, ended);
    void ended.then(() => this.#last.get(key) === ended && this.#last.delete(key));
    return done;
  }
}

async function changeRecord(
  { place, folder, backup }: RecordPlace,
  change: (record: BackupRecord) => BackupRecord,
): Promise<void> {
  const opened = await openRepository(place);
  const { repository } = opened;
  try {
    const file = `${backup}${RECORD_ENDING}`;
    const record = backupRecordSchema.parse(JSON.parse(await repository.readText(folder, file)));
    await repository.replaceText(folder, file, writeRecordText(change(record)));
  } finally {
    opened.close();
  }
}
