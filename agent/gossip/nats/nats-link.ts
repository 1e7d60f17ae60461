// The connection to a NATS server: records in a bucket of its key-value store, everything else on subjects of the realm. It connects
// anew for as long as it takes, and says why it cannot. Used by the shell; nothing here believes what comes in.

import { randomBytes } from "node:crypto";

import type { KV, KvWatchEntry } from "@nats-io/kv";
import type { NatsConnection, QueuedIterator } from "@nats-io/transport-node";

import { growDelayMs } from "../../../shared/state/backoff.ts";
import type { CancelTimer, Clock } from "../../host/os/clock.ts";
import { type SignedRecord, signedRecord } from "../core/record.ts";
import { readRelayed, type RelayMessage } from "../core/relay-message.ts";
import { buildConnection, type NatsSettings } from "./nats-settings.ts";
import {
  BUCKET_TTL_MS,
  LARGEST_RELAYED_BYTES,
  LARGEST_VALUE_BYTES,
  LAST_WORD_MS,
  NATS_JITTER,
  NATS_RETRY_FIRST_MS,
  NATS_RETRY_MOST_MS,
  OPEN_MS,
  PUT_MS,
} from "../settings.ts";

/** What the link needs. */
export interface NatsLinkOptions {
  node: string;
  realm: string;
  settings: NatsSettings;
  clock: Clock;
  onUp(): void;
  /** @param why in words, with when it is tried again */
  onDown(why: string): void;
  onValue(key: string, record: SignedRecord | undefined): void;
  onMessage(message: RelayMessage): void;
  /** Something came on one of the realm's subjects that is no message. */
  onNoise(): void;
  onPutFailed(): void;
}

/** One node's way to the server. */
export class NatsLink {
  readonly #options: NatsLinkOptions;
  #connection: NatsConnection | undefined;
  #bucket: KV | undefined;
  /** The watch, and the newest revision of the bucket that it told of. */
  #values: QueuedIterator<KvWatchEntry> | undefined;
  #seen = 0;
  /** A watch is begun in place of one that is lost. */
  #isBeginning = false;
  #attempts = 0;
  /** The servers are tried in turn. */
  #turn = 0;
  #server = "";
  /** Why the connection was ended from here. */
  #reason: string | undefined;
  #closed = false;
  #cancelRetry: CancelTimer = () => undefined;
  readonly #ended = { sent: 0, received: 0, framesSent: 0, framesReceived: 0 };
  /** Why the server is not reached, in words. */
  trouble: string | undefined;

  constructor(options: NatsLinkOptions) {
    this.#options = options;
  }

  /** What went over all connections there ever were. */
  get traffic(): { sent: number; received: number; framesSent: number; framesReceived: number } {
    const stats = this.#connection?.stats();
    const { sent, received, framesSent, framesReceived } = this.#ended;
    return {
      sent: sent + (stats?.outBytes ?? 0),
      received: received + (stats?.inBytes ?? 0),
      framesSent: framesSent + (stats?.outMsgs ?? 0),
      framesReceived: framesReceived + (stats?.inMsgs ?? 0),
    };
  }

  get isUp(): boolean {
    return this.#bucket !== undefined;
  }

  /** Begins; never throws. */
  start(): void {
    void this.#connect();
  }

  /** Sends what is still on its way, and ends. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelRetry();
    const connection = this.#connection;
    if (connection === undefined) return;
    let cancel: CancelTimer = () => undefined;
    const late = new Promise<void>((resolve) => {
      cancel = this.#options.clock.after(LAST_WORD_MS, resolve);
    });
    await Promise.race([connection.flush().catch(() => undefined), late]);
    cancel();
    await connection.close().catch(() => undefined);
  }

  /** Puts the own record. */
  put(record: SignedRecord): void {
    const bucket = this.#bucket;
    if (bucket === undefined) return;
    bucket.put(record.node, JSON.stringify(record)).catch(() => {
      if (this.#bucket === bucket) this.#options.onPutFailed();
    });
  }

  /**
   * Asks the bucket for a node's record. One that is newer than all that the watch has told of means that the watch is lost: a new
   * one begins, and tells everything again.
   */
  fetch(node: string): void {
    const [bucket, connection] = [this.#bucket, this.#connection];
    if (bucket === undefined || connection === undefined) return;
    const get = async (): Promise<void> => {
      const entry = await bucket.get(node);
      if (this.#bucket !== bucket || entry === null || entry.revision <= this.#seen) return;
      this.#options.onValue(node, entry.operation === "PUT" ? readValue(entry.value) : undefined);
      // Several nodes are asked for at once where a watch is lost: one new watch is enough for all.
      if (this.#isBeginning) return;
      this.#isBeginning = true;
      await this.#watch(connection, bucket).finally(() => {
        this.#isBeginning = false;
      });
    };
    // It is asked for again.
    get().catch(() => undefined);
  }

  /** Says something on the subject that it belongs to. */
  say(message: RelayMessage): void {
    const { realm } = this.#options;
    try {
      this.#connection?.publish(nameSubject(realm, message), JSON.stringify(message));
    } catch {
      // The connection has just ended: that is told by itself.
    }
  }

  async #connect(): Promise<void> {
    const { node, settings, clock } = this.#options;
    const server = settings.servers[this.#turn % settings.servers.length] ?? "";
    this.#server = server;
    this.#turn += 1;
    try {
      const { default: transport } = await import("@nats-io/transport-node");
      const connection = await transport.connect(await buildConnection(settings, node, server));
      if (this.#closed) return await connection.close();
      this.#connection = connection;
      const cancel = clock.after(OPEN_MS, () => void connection.close());
      try {
        this.#listen(connection);
        await this.#open(connection);
      } finally {
        cancel();
      }
      if (connection.isClosed()) throw new Error("the connection ended");
      this.#attempts = 0;
      this.trouble = undefined;
      this.#options.onUp();
      const error = await connection.closed();
      this.#lose(error instanceof Error ? describeError(error) : "the connection ended");
    } catch (error) {
      await this.#connection?.close().catch(() => undefined);
      this.#lose(describeError(error));
    }
  }

  /** Says that it is not reached, and tries again later. */
  #lose(reason: string): void {
    const stats = this.#connection?.stats();
    this.#ended.sent += stats?.outBytes ?? 0;
    this.#ended.received += stats?.inBytes ?? 0;
    this.#ended.framesSent += stats?.outMsgs ?? 0;
    this.#ended.framesReceived += stats?.inMsgs ?? 0;
    this.#connection = undefined;
    this.#bucket = undefined;
    this.#values = undefined;
    this.#seen = 0;
    const why = this.#reason ?? reason;
    this.#reason = undefined;
    if (this.#closed) return;
    const { clock } = this.#options;
    const jitter = 1 - NATS_JITTER * (randomBytes(1).readUInt8() / 256);
    const delayMs = growDelayMs({ initialMs: NATS_RETRY_FIRST_MS, maxMs: NATS_RETRY_MOST_MS }, this.#attempts) * jitter;
    this.#attempts += 1;
    this.trouble = `the NATS server ${this.#server} cannot be used: ${why}; tried again within ${NATS_RETRY_MOST_MS / 1_000} s`;
    this.#options.onDown(this.trouble);
    this.#cancelRetry = clock.after(delayMs, () => void this.#connect());
  }

  #listen(connection: NatsConnection): void {
    const { realm, node } = this.#options;
    const subjects = [`beat.*`, `hint.*`, `ask.${node}`, `proof.${node}`];
    for (const subject of subjects)
      connection.subscribe(`orca.${realm}.${subject}`, {
        callback: (error, { data, subject: on }) => {
          // Without the right to hear, nothing is heard: the connection ends, and begins anew later.
          if (error instanceof Error) this.#end(connection, error);
          else this.#hear(data, on);
        },
      });
  }

  /** Ends a connection that is of no use, keeping why. */
  #end(connection: NatsConnection, error: Error): void {
    this.#reason ??= describeError(error);
    void connection.close();
  }

  #hear(data: Uint8Array, subject: string): void {
    const options = this.#options;
    const message = data.length > LARGEST_RELAYED_BYTES ? undefined : readRelayed(new TextDecoder().decode(data));
    if (message !== undefined && nameSubject(options.realm, message) === subject) options.onMessage(message);
    else options.onNoise();
  }

  async #open(connection: NatsConnection): Promise<void> {
    const { realm, settings } = this.#options;
    const { default: kv } = await import("@nats-io/kv");
    const { default: stream } = await import("@nats-io/jetstream");
    const kvm = new kv.Kvm(stream.jetstream(connection, { timeout: PUT_MS }));
    const bucket = await kvm.create(`orca-${realm}`, {
      history: 1,
      ttl: BUCKET_TTL_MS,
      maxValueSize: LARGEST_VALUE_BYTES,
      replicas: settings.replicas,
      description: `orca: what the nodes of ${realm} say of their services, signed by each`,
    });
    await this.#watch(connection, bucket);
    // Another life of this node may have come further than the disk remembers: known before anything is put over it.
    const own = await bucket.get(this.#options.node);
    if (own !== null && own.operation === "PUT") this.#options.onValue(this.#options.node, readValue(own.value));
    this.#bucket = bucket;
  }

  /** Watches the bucket, in place of an earlier watch. */
  async #watch(connection: NatsConnection, bucket: KV): Promise<void> {
    const values = await bucket.watch();
    this.#values?.stop();
    this.#values = values;
    const read = async (): Promise<void> => {
      for await (const { key, value, operation, revision } of values) {
        this.#seen = Math.max(this.#seen, revision);
        this.#options.onValue(key, operation === "PUT" ? readValue(value) : undefined);
      }
    };
    // Whatever else ends the watch ends the connection, and a new one begins from the start.
    read()
      .catch(() => undefined)
      .finally(() => {
        if (this.#values === values) void connection.close();
      });
  }
}

/** The subject that a message belongs on: who may publish there is the server's to say, and everybody's to check. */
function nameSubject(realm: string, message: RelayMessage): string {
  const last = message.t === "ask" ? message.target : message.t === "proof" ? message.to : message.node;
  return `orca.${realm}.${message.t}.${last}`;
}

function readValue(value: Uint8Array): SignedRecord | undefined {
  if (value.length > LARGEST_VALUE_BYTES) return undefined;
  try {
    return signedRecord.safeParse(JSON.parse(new TextDecoder().decode(value))).data;
  } catch {
    return undefined;
  }
}

/** A client's errors are short; what they wrap says more. */
function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  const code = (error as NodeJS.ErrnoException).code;
  if (cause instanceof Error && cause.message !== error.message) return `${error.message} (${describeError(cause)})`;
  return code === undefined || error.message.includes(code) ? error.message : `${error.message} (${code})`;
}
