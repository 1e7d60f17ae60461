// Ships what is new of a log: from the directory that the receiver writes to into each repository, compressed and encrypted, read back. A
// closed segment goes whole, an open one in pieces. What every repository has goes from this host. Runs in the child.

import { open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { constants, zstdCompressSync } from "node:zlib";

import { readMessage } from "../../../shared/text/read-message.ts";
import type { RepositoryShipment, ShipRequest } from "../backup-exchange.ts";
import { openRepository, type RepositoryPlace } from "../repository/repository-place.ts";
import type { Repository, StoreFolder } from "../repository/repository-port.ts";
import { nameLogArea } from "./core/choose-base.ts";
import type { IndexEntry } from "./core/wal-index.ts";
import { findWhole, listWalObjects, nameWalObject } from "./core/wal-object.ts";
import {
  formatPosition,
  nameSegment,
  parsePosition,
  parseSegment,
  startOfSegment,
  type WalPosition,
} from "./core/wal-position.ts";
import { giveOnce, storeObject } from "../repository/stored-object.ts";

/** What the receiver calls a segment that is open. */
export const PARTIAL = ".partial";
/** It tells where a timeline began: recovery asks for it by its name. */
const HISTORY = /^[0-9A-F]{8}\.history$/;

/** A piece that is read and compressed once, whoever gets it. */
interface Piece {
  from: WalPosition;
  to: WalPosition;
  packed: Buffer;
}

/** Ships it; answers how far each repository is. Rejects where this host's own directory cannot be read. */
export async function shipLog(request: ShipRequest, nowMs: () => number): Promise<RepositoryShipment[]> {
  const spool = new Spool(request);
  await spool.look();
  const shipments: RepositoryShipment[] = [];
  for (const { place, shipped } of request.repositories) {
    const shipment: RepositoryShipment = { repository: place.name, shipped };
    shipments.push(shipment);
    try {
      const opened = await openRepository(place);
      try {
        const repository = new LogRepository(opened.repository, request, nowMs);
        await repository.putHistories(spool);
        await fill(repository, { spool, shipment, lenders: request.lenders });
      } finally {
        opened.close();
      }
    } catch (error) {
      shipment.reason = readMessage(error);
    }
  }
  const positions = [...shipments.map(({ shipped }) => shipped), ...request.holdBack].map(
    (at) => parsePosition(at) ?? 0n,
  );
  await spool.forget(positions, request);
  return shipments;
}

interface Filling {
  spool: Spool;
  shipment: RepositoryShipment;
  lenders: readonly RepositoryPlace[];
}

/** Piece by piece, so that what is stored counts although the next one fails. Says so where the next piece is nowhere. */
async function fill(repository: LogRepository, { spool, shipment, lenders }: Filling): Promise<void> {
  const note = (entry: IndexEntry | undefined, to: WalPosition): void => {
    if (entry !== undefined) (shipment.stored ??= []).push(entry);
    shipment.shipped = formatPosition(to);
  };
  for (;;) {
    const at = parsePosition(shipment.shipped) ?? 0n;
    const piece = await spool.read(at);
    if (piece === "none") return;
    if (piece !== "missing") {
      note(await repository.put(piece), piece.to);
      continue;
    }
    const lent = await repository.borrow(at, lenders);
    if (lent === undefined) {
      shipment.reason = `what follows ${shipment.shipped} of the log is not on this host any more, and in no other repository`;
      shipment.isBroken = true;
      shipment.oldest = spool.oldest;
      return;
    }
    note(lent.entry, lent.to);
  }
}

/** The receiver's directory. */
class Spool {
  readonly #directory: string;
  readonly #received: WalPosition;
  readonly #timeline: number;
  readonly #segmentBytes: number;
  #names = new Set<string>();
  /** The next repository mostly asks for the same. */
  #last: Piece | undefined;

  constructor({ directory, received, log }: ShipRequest) {
    this.#directory = directory;
    this.#received = parsePosition(received) ?? 0n;
    this.#timeline = log.timeline;
    this.#segmentBytes = log.segmentBytes;
  }

  async look(): Promise<void> {
    this.#names = new Set(await readdir(this.#directory));
  }

  get histories(): string[] {
    return [...this.#names].filter((name) => HISTORY.test(name));
  }

  readHistory(name: string): Promise<Buffer> {
    return this.#readRange(name, 0, undefined);
  }

  /** What follows a position: to the end of a closed segment, from its beginning; of an open one what is received. */
  async read(at: WalPosition): Promise<Piece | "none" | "missing"> {
    const segment = nameSegment(this.#timeline, at, this.#segmentBytes);
    const start = startOfSegment(at, this.#segmentBytes);
    const end = start + BigInt(this.#segmentBytes);
    const isClosed = this.#names.has(segment);
    const to = isClosed ? end : this.#received < end ? this.#received : end;
    if (!isClosed && at >= this.#received) return "none";
    if (!isClosed && !this.#names.has(`${segment}${PARTIAL}`)) return "missing";
    const from = isClosed ? start : at;
    if (this.#last?.from === from && this.#last.to === to) return this.#last;
    const name = isClosed ? segment : `${segment}${PARTIAL}`;
    // It was closed meanwhile: its bytes are the same.
    const bytes = await this.#readRange(name, Number(from - start), Number(to - from)).catch((error: unknown) => {
      if (isClosed) throw error;
      return this.#readRange(segment, Number(from - start), Number(to - from));
    });
    const packed = zstdCompressSync(bytes, {
      params: { [constants.ZSTD_c_compressionLevel]: 3, [constants.ZSTD_c_checksumFlag]: 1 },
    });
    this.#last = { from, to, packed };
    return this.#last;
  }

  /** Where what lies here begins. */
  get oldest(): string | undefined {
    const starts = [...this.#names].flatMap(
      (name) => parseSegment(name.replace(PARTIAL, ""), this.#segmentBytes)?.start ?? [],
    );
    const [first] = starts.toSorted((one, other) => (one < other ? -1 : 1));
    return first === undefined ? undefined : formatPosition(first);
  }

  /**
   * Closed segments go that all have; and the oldest that enough have, while more lies here than may wait for one that stays away. The newest
   * stays: the receiver sees by it where it goes on.
   */
  async forget(
    shipped: readonly WalPosition[],
    { minSuccess, spoolBytes }: Pick<ShipRequest, "minSuccess" | "spoolBytes">,
  ): Promise<void> {
    const closed = [...this.#names].filter((name) => parseSegment(name, this.#segmentBytes) !== undefined).toSorted();
    let left = closed.length;
    for (const name of closed.slice(0, -1)) {
      const end = (parseSegment(name, this.#segmentBytes)?.start ?? 0n) + BigInt(this.#segmentBytes);
      const owners = shipped.filter((position) => position >= end).length;
      const isFull = left * this.#segmentBytes > spoolBytes / 2;
      if (owners < shipped.length && !(isFull && owners >= Math.max(1, minSuccess))) continue;
      await rm(join(this.#directory, name), { force: true });
      left -= 1;
    }
  }

  async #readRange(name: string, from: number, bytes: number | undefined): Promise<Buffer> {
    const file = await open(join(this.#directory, name), "r");
    try {
      const length = bytes ?? (await file.stat()).size;
      const content = Buffer.alloc(length);
      for (let at = 0; at < length;) {
        const { bytesRead } = await file.read(content, at, length - at, from + at);
        if (bytesRead === 0) throw new Error(`${name} ends before what the server says that it has`);
        at += bytesRead;
      }
      return content;
    } finally {
      await file.close();
    }
  }
}

/** Where a log lies in one repository. */
class LogRepository {
  readonly #repository: Repository;
  readonly #folder: StoreFolder;
  readonly #request: ShipRequest;
  readonly #nowMs: () => number;

  constructor(repository: Repository, request: ShipRequest, nowMs: () => number) {
    this.#repository = repository;
    this.#request = request;
    this.#folder = { ...request.folder, area: nameLogArea(request.log) };
    this.#nowMs = nowMs;
  }

  put({ from, to, packed }: Piece): Promise<IndexEntry> {
    const { log, recipients } = this.#request;
    const { timeline, segmentBytes } = log;
    const encrypted = recipients.length > 0;
    return this.#store(
      nameWalObject({ timeline, from, to, segmentBytes, shippedMs: this.#nowMs(), encrypted }),
      packed,
    );
  }

  /** Copies the segment of a position, as it lies there, from a repository that has it whole; undefined where none has. */
  async borrow(
    at: WalPosition,
    lenders: readonly RepositoryPlace[],
  ): Promise<{ entry: IndexEntry | undefined; to: WalPosition } | undefined> {
    const { log } = this.#request;
    const segment = nameSegment(log.timeline, at, log.segmentBytes);
    // A copy that was not heard to end is there already.
    const own = listWalObjects(await this.#repository.list(this.#folder), log.segmentBytes);
    const there = findWhole(own, segment, log.segmentBytes);
    if (there !== undefined) return { entry: undefined, to: there.to };
    for (const place of lenders.filter(({ name }) => name !== this.#repository.name)) {
      const opened = await openRepository(place).catch(() => undefined);
      if (opened === undefined) continue;
      try {
        const names = await opened.repository.list(this.#folder).catch(() => []);
        const whole = findWhole(listWalObjects(names, log.segmentBytes), segment, log.segmentBytes);
        if (whole === undefined) continue;
        const target = { repository: this.#repository, folder: this.#folder, name: whole.name };
        const { sha256 } = await storeObject(target, opened.repository.read(this.#folder, whole.name), []);
        return { entry: { name: whole.name, sha256 }, to: whole.to };
      } finally {
        opened.close();
      }
    }
    return undefined;
  }

  async putHistories(spool: Spool): Promise<void> {
    const names = spool.histories;
    if (names.length === 0) return;
    const there = new Set(await this.#repository.list(this.#folder));
    for (const name of names) {
      const stored = this.#request.recipients.length > 0 ? `${name}.age` : name;
      if (!there.has(stored)) await this.#store(stored, await spool.readHistory(name));
    }
  }

  async #store(name: string, content: Uint8Array): Promise<IndexEntry> {
    const place = { repository: this.#repository, folder: this.#folder, name };
    const { sha256 } = await storeObject(place, giveOnce(content), this.#request.recipients);
    return { name, sha256 };
  }
}
