// The receiver of one log: `pg_receivewal` in a container beside the server, which writes to a directory of this host. It ends by itself
// before that directory is too large, also when no agent lives to see it. Made by wal-stream.ts.

import { readdir, stat, statfs } from "node:fs/promises";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { RECEIVER_MEMORY_BYTES } from "../../../shared/state/backup.ts";
import { describeSize } from "../../../shared/text/size.ts";
import type { Receiver, Receivers } from "../../docker/receivers.ts";
import type { StoreSettings } from "../engines/store-engine.ts";
import { SECRET_FOLDER } from "../engines/store-engine.ts";
import { formatPosition, parseSegment, startOfSegment, type WalPosition } from "./core/wal-position.ts";
import { PARTIAL } from "./ship-log.ts";
import { buildEnvironment, buildStatement, connectAs, readAnswer, writePassfile } from "./wal-server.ts";
import { makeDirectorySync } from "../../host/files/make-directory.ts";

/** Where it sees its directory. */
const SPOOL = "/orca-wal";
const STATEMENT_MS = 20_000;
/** So much of the disk is left to everybody else. */
const FREE_SHARE = 0.1;
/** With less room it is not started. */
const LEAST_SEGMENTS = 2n;

/** What it is made from. */
export interface ReceiverParts {
  node: string;
  receivers: Receivers;
  /** The most that waits on this host. */
  spoolBytes: number;
  /** Where a password lies while it runs; in memory. */
  memoryDirectory: string;
}

/** Whom it receives from. */
export interface ReceiverSource {
  /** `SERVICE/STORE`. */
  key: string;
  /** The server's container, and when it was started: its network goes with that run. */
  server: { id: string; startedMs: number };
  image: string;
  settings: StoreSettings;
  slot: string;
  segmentBytes: number;
  directory: string;
  /** From where the server holds the log for it. */
  begin: WalPosition;
}

/** Receives one log. */
export class LogReceiver {
  readonly #parts: ReceiverParts;
  #running: { receiver: Receiver; source: ReceiverSource; secret: string | undefined } | undefined;

  constructor(parts: ReceiverParts) {
    this.#parts = parts;
  }

  /** True while it runs beside this run of the server. */
  async isRunning(server: ReceiverSource["server"]): Promise<boolean> {
    const running = this.#running;
    if (running === undefined) return false;
    const isSame = running.source.server.id === server.id && running.source.server.startedMs === server.startedMs;
    if (isSame && (await running.receiver.findEnd()) === undefined) return true;
    await this.stop();
    return false;
  }

  /** Asks the server one statement from beside it. Throws a `NoServer`. */
  async ask(statement: string): Promise<string> {
    const running = this.#running;
    if (running === undefined) throw new Error("the receiver does not run");
    return readAnswer(await running.receiver.run(buildStatement(running.source.settings, statement), STATEMENT_MS));
  }

  /** Starts it; answers why there is no room for it. */
  async start(source: ReceiverSource): Promise<string | undefined> {
    const { directory, segmentBytes, settings, slot, key, server, image } = source;
    makeDirectorySync(directory, 0o700);
    const room = await findRoom(directory, this.#parts.spoolBytes);
    if (BigInt(Math.floor(room)) < LEAST_SEGMENTS * BigInt(segmentBytes))
      return `no more of the log is received: ${describeSize(Math.max(0, room))} are left for what waits to be stored`;
    // What lies there and what may come: the segment that is open is there in full from its first byte.
    const oldest = (await findOldest(directory, segmentBytes)) ?? startOfSegment(source.begin, segmentBytes);
    const end = oldest + BigInt(Math.floor((await measure(directory)) + room) - segmentBytes);
    const secret = this.#writeSecret(key, settings);
    try {
      const receiver = await this.#parts.receivers.start({
        job: `wal:${key}`,
        node: this.#parts.node,
        image,
        argv: [
          "pg_receivewal",
          ...connectAs(settings),
          `--directory=${SPOOL}`,
          `--slot=${slot}`,
          "--synchronous",
          `--endpos=${formatPosition(end)}`,
        ],
        env: buildEnvironment(settings),
        user: `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`,
        server: server.id,
        memoryBytes: RECEIVER_MEMORY_BYTES,
        binds: [
          { source: directory, target: SPOOL, readOnly: false },
          ...(secret === undefined ? [] : [{ source: secret, target: SECRET_FOLDER, readOnly: true }]),
        ],
      });
      this.#running = { receiver, source, secret };
      return undefined;
    } catch (error) {
      if (secret !== undefined) rmSync(secret, { recursive: true, force: true });
      throw error;
    }
  }

  /** Fine again. */
  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    if (running === undefined) return;
    await running.receiver.remove();
    if (running.secret !== undefined) rmSync(running.secret, { recursive: true, force: true });
  }

  #writeSecret(key: string, { password }: StoreSettings): string | undefined {
    if (password === undefined) return undefined;
    const directory = join(this.#parts.memoryDirectory, `wal-${key.replaceAll("/", "-")}`);
    rmSync(directory, { recursive: true, force: true });
    makeDirectorySync(directory, 0o700);
    const { name, text } = writePassfile(password);
    writeFileSync(join(directory, name), text, { mode: 0o400 });
    return directory;
  }
}

/** What may still be received, in bytes: within the cap, and so that a tenth of the disk stays free. */
export async function findRoom(directory: string, spoolBytes: number): Promise<number> {
  const { bavail, blocks, bsize } = await statfs(directory);
  return Math.min(spoolBytes - (await measure(directory)), (bavail - blocks * FREE_SHARE) * bsize);
}

/** Bytes that lie in it. */
async function measure(directory: string): Promise<number> {
  const names = await readdir(directory).catch(() => []);
  let bytes = 0;
  for (const name of names) bytes += (await stat(join(directory, name)).catch(() => undefined))?.size ?? 0;
  return bytes;
}

/** Where the oldest segment in it begins; undefined where none is there. */
export async function findOldest(directory: string, segmentBytes: number): Promise<WalPosition | undefined> {
  const names = await readdir(directory).catch(() => []);
  const starts = names.flatMap((name) => parseSegment(name.replace(PARTIAL, ""), segmentBytes)?.start ?? []);
  return starts.toSorted((one, other) => (one < other ? -1 : 1))[0];
}
