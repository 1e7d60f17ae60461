// Writes the listing of one run, file by file while it goes on: each is published and read back, so that a run that is killed has lost
// little. What it names goes into the references at the end.

import { createHash } from "node:crypto";

import { nameFile } from "../core/backup-name.ts";
import type { BackupFile, SourceFacts } from "../core/backup-record.ts";
import { Meter } from "../dump-gate.ts";
import { readBack } from "../copy-backup.ts";
import type { Repository, StoreFolder } from "../repository/repository-port.ts";
import { type ListedObject, type ListingHead, packListing } from "./object-listing.ts";
import { ReferenceSorter } from "./object-references.ts";

/** What is written where. */
export interface ListingPlace {
  repository: Repository;
  folder: StoreFolder;
  /** The backup's own name. */
  name: string;
  head: ListingHead;
  spool: string;
  nowMs: () => number;
}

/** A file has so many entries, or what was copied in so long, whichever comes first. */
const ENTRIES = 5_000;
const FILE_MS = 60_000;
const NUMBER_LETTERS = 4;

/** One listing. */
export class ListingWriter {
  readonly #place: ListingPlace;
  readonly #references: ReferenceSorter;
  readonly #files: BackupFile[] = [];
  #entries: ListedObject[] = [];
  /** Stored by this run, and named by no listing yet. */
  readonly #fresh = new Set<string>();
  /** A file is being published: it may lie there although the word of it was lost, and then names what was stored. */
  #isPublishing = false;
  #begunMs: number;

  private constructor(place: ListingPlace, references: ReferenceSorter) {
    this.#place = place;
    this.#references = references;
    this.#begunMs = place.nowMs();
  }

  static async open(place: ListingPlace): Promise<ListingWriter> {
    return new ListingWriter(place, await ReferenceSorter.open(place.spool));
  }

  /** An object was stored, which is to be listed in its turn. */
  note(file: string): void {
    this.#fresh.add(file);
  }

  /** What this run has stored and no listing names: for whoever fails, nobody would ever use it. */
  get unlisted(): readonly string[] {
    return this.#isPublishing ? [] : [...this.#fresh];
  }

  /** In the order of keys. */
  async add(entry: ListedObject): Promise<void> {
    this.#entries.push(entry);
    await this.#references.add(entry);
    const isLong = this.#place.nowMs() - this.#begunMs >= FILE_MS;
    if (this.#entries.length >= ENTRIES || isLong) await this.#publish();
  }

  /** Publishes what is left, and the references; answers all files, for the record. */
  async finish(facts: SourceFacts, warning: string | undefined): Promise<BackupFile[]> {
    if (this.#entries.length > 0) await this.#publish();
    const { name, head } = this.#place;
    const file = nameFile(name, { label: "", ending: ".references.gz" }, { encrypted: false, taken: [] });
    const stored = await this.#write(file, this.#references.pack());
    const references: BackupFile = {
      file,
      kind: "references",
      content: describeBucket(head),
      plain: stored,
      stored,
      facts,
      ...(warning === undefined ? {} : { warning }),
    };
    return [...this.#files, references];
  }

  /** Takes away what lies on this host. */
  close(): Promise<void> {
    return this.#references.remove();
  }

  async #publish(): Promise<void> {
    const { name, head } = this.#place;
    const label = String(this.#files.length + 1).padStart(NUMBER_LETTERS, "0");
    const naming = { encrypted: head.recipients.length > 0, taken: [] };
    const file = nameFile(name, { label, ending: ".listing.gz" }, naming);
    const { plain, stored: content } = packListing(head, this.#entries);
    const stored = await this.#write(file, content);
    const sha256 = createHash("sha256").update(plain).digest("hex");
    this.#files.push({
      file,
      kind: "listing",
      content: describeBucket(head),
      plain: { bytes: plain.length, sha256 },
      stored,
    });
    for (const entry of this.#entries) this.#fresh.delete(entry.file);
    this.#entries = [];
    this.#begunMs = this.#place.nowMs();
  }

  async #write(file: string, content: AsyncIterable<Uint8Array>): Promise<BackupFile["stored"]> {
    const { repository, folder } = this.#place;
    const pending = await repository.create(folder, file);
    try {
      const meter = new Meter();
      for await (const piece of content) {
        meter.take(piece);
        await pending.write(piece);
      }
      this.#isPublishing = true;
      await pending.publish();
      const stored = meter.read();
      await readBack({ repository, folder, file: { file, stored } });
      this.#isPublishing = false;
      return stored;
    } catch (error) {
      await pending.abandon().catch(() => undefined);
      throw error;
    }
  }
}

function describeBucket({ bucket, prefix }: ListingHead): string {
  return `s3://${bucket}/${prefix}`;
}
