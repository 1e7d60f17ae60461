// Ships what is new of a log: from the directory that the receiver writes to into each repository, compressed and encrypted, read back. A
// closed segment goes whole, an open one in pieces. What every repository has goes from this host. Runs in the child.

import { open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { constants, zstdCompressSync } from "node:zlib";

import { readMessage } from "../../../shared/text/read-message.ts";
import { writeBatches } from "../batches.ts";
import type { RepositoryShipment, ShipRequest } from "../backup-exchange.ts";
import { encryptStream } from "../encrypt.ts";
import { openRepository } from "../repository/repository-place.ts";
import type { Repository, StoreFolder } from "../repository/repository-port.ts";
import { nameLogArea } from "./core/choose-base.ts";
import { nameWalObject } from "./core/wal-object.ts";
import {
  formatPosition,
  nameSegment,
  parsePosition,
  parseSegment,
  startOfSegment,
  type WalPosition,
} from "./core/wal-position.ts";

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
        shipment.isBroken = await fill(repository, spool, shipment);
      } finally {
        opened.close();
      }
    } catch (error) {
      shipment.reason = readMessage(error);
    }
  }
  await spool.forget(
    [...shipments.map(({ shipped }) => shipped), ...request.holdBack].map((at) => parsePosition(at) ?? 0n),
  );
  return shipments;
}

/** Piece by piece, so that what is stored counts although the next one fails. True where the next piece is nowhere. */
async function fill(repository: LogRepository, spool: Spool, shipment: RepositoryShipment): Promise<boolean> {
  for (;;) {
    const at = parsePosition(shipment.shipped) ?? 0n;
    const piece = await spool.read(at);
    if (piece === "none") return false;
    if (piece === "missing") {
      shipment.reason = `what follows ${shipment.shipped} of the log is not on this host any more`;
      return true;
    }
    await repository.put(piece);
    shipment.shipped = formatPosition(piece.to);
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

  /** Closed segments that all have. The newest stays: the receiver sees by it where it goes on. */
  async forget(shipped: readonly WalPosition[]): Promise<void> {
    const closed = [...this.#names].filter((name) => parseSegment(name, this.#segmentBytes) !== undefined).toSorted();
    for (const name of closed.slice(0, -1)) {
      const end = (parseSegment(name, this.#segmentBytes)?.start ?? 0n) + BigInt(this.#segmentBytes);
      if (shipped.every((position) => position >= end)) await rm(join(this.#directory, name), { force: true });
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

  put({ from, to, packed }: Piece): Promise<void> {
    const { log, recipients } = this.#request;
    const { timeline, segmentBytes } = log;
    const encrypted = recipients.length > 0;
    return this.#store(
      nameWalObject({ timeline, from, to, segmentBytes, shippedMs: this.#nowMs(), encrypted }),
      packed,
    );
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

  async #store(name: string, content: Buffer): Promise<void> {
    const pending = await this.#repository.create(this.#folder, name);
    try {
      const sealed = encryptStream(giveOnce(content), this.#request.recipients);
      await writeBatches(sealed.pieces(), (piece) => pending.write(piece));
      await pending.publish();
      await sealed.measureBack(this.#repository.read(this.#folder, name));
    } catch (error) {
      await pending.abandon().catch(() => undefined);
      throw error;
    }
  }
}

async function* giveOnce(content: Buffer): AsyncIterable<Uint8Array> {
  yield content;
}
