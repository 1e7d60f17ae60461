// Reads and writes the index of a log in a repository. The new one is there before an older one goes. Runs in the child; asked for once an
// hour by log-check.ts, and read by proofs.

import { zstdCompressSync, zstdDecompressSync } from "node:zlib";

import type { IndexRequest } from "../backup-exchange.ts";
import { type Repository, RepositoryError, type StoreFolder } from "../repository/repository-port.ts";
import {
  findLost,
  followIndex,
  type IndexEntry,
  listIndexes,
  nameIndex,
  parseIndex,
  writeIndexText,
} from "./core/wal-index.ts";
import { listWalObjects } from "./core/wal-object.ts";
import { formatPosition, parsePosition } from "./core/wal-position.ts";
import { giveOnce, readObject, storeObject } from "../repository/stored-object.ts";

const MOST_BYTES = 2 ** 28;

/** The newest that can be read; undefined where there is none. */
export async function readIndex(
  { repository, folder }: { repository: Repository; folder: StoreFolder },
  names: readonly string[],
  identities: readonly string[],
): Promise<IndexEntry[] | undefined> {
  for (const name of listIndexes(names)) {
    try {
      const { content } = await readObject({ repository, folder, name }, identities);
      const text = zstdDecompressSync(content, { maxOutputLength: MOST_BYTES }).toString("utf8");
      const entries = parseIndex(text);
      if (entries !== undefined) return entries;
    } catch (error) {
      // One that is damaged is followed by the one before.
      if (error instanceof RepositoryError) throw error;
    }
  }
  return undefined;
}

/** What came of it. */
export interface IndexedLog {
  /** What the index names and nobody has: positions of the server. */
  lost: { from: string; to: string } | undefined;
  /** Earlier indexes, which may go. */
  spent: string[];
}

/** Holds the listing against the index, and writes the next one where something is another. */
export async function indexLog(repository: Repository, request: IndexRequest, nowMs: number): Promise<IndexedLog> {
  const { folder, add, drop, segmentBytes, identities, recipients } = request;
  const names = await repository.list(folder);
  const known = (await readIndex({ repository, folder }, names, identities)) ?? [];
  const before = parsePosition(drop.before ?? "");
  const next = followIndex(known, add, { names: drop.names, before, segmentBytes });
  const lost = findLost(next, listWalObjects(names, segmentBytes), { segmentBytes, sinceMs: 0 });
  const told = lost && { from: formatPosition(lost.from), to: formatPosition(lost.to) };
  const [newest, ...earlier] = listIndexes(names);
  if (newest !== undefined && writeIndexText(next) === writeIndexText(known)) return { lost: told, spent: earlier };
  const packed = zstdCompressSync(writeIndexText(next));
  const name = nameIndex(nowMs, recipients.length > 0);
  await storeObject({ repository, folder, name }, giveOnce(packed), recipients);
  return { lost: told, spent: listIndexes(names) };
}
