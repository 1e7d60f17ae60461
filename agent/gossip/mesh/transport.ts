// Streams between agents: mutual TLS 1.3 on one listener, each side's key compared with fleet.toml before the first frame. What
// does not belong, says too much or takes too little is cut off, counted, and told at a bounded rate. Used by the shell.

import { constants } from "node:crypto";
import type { Socket } from "node:net";
import {
  connect as connectTls,
  createSecureContext,
  createServer,
  type SecureContext,
  type SecureContextOptions,
  type Server,
  type TLSSocket,
} from "node:tls";

import type { RefusalKind } from "../../../shared/fleet/gossip-stats.ts";
import { isEveryAddress } from "../../../shared/manifest/published-port.ts";
import type { Clock } from "../../host/os/clock.ts";
import { BoundServer } from "../../http/bound-server.ts";
import { encodeMessage, type Message, MessageReader } from "../core/message.ts";
import { Handshakes } from "./handshakes.ts";
import { describeKey, type Identity } from "../node-identity.ts";
import {
  BIND_RETRY_MS,
  DIAL_MS,
  HANDSHAKE_MS,
  LAST_WORD_MS,
  MOST_CONNECTIONS,
  MOST_WAITING_BYTES,
} from "../settings.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** Who a key belongs to, by fleet.toml: a peer, or why it is refused. */
export type KeyVerdict = { node: string; replaced?: true } | { refused: string; kind: RefusalKind };

/** What the transport needs. */
export interface TransportOptions {
  node: string;
  host: string;
  /** The one port of the realm: this node listens on it, and finds its peers there. */
  port: number;
  identity: Identity;
  clock: Clock;
  judgeKey(publicKey: string): KeyVerdict;
  /** Is this the address of a node of the realm? A flood from elsewhere must not take the places of peers. */
  isPeerAddress(address: string): boolean;
  /** `replaced`: it shows the key of a node in whose place a spare stands. */
  onUp(link: { id: number; node: string; dialler: string; replaced?: boolean }): void;
  onDown(id: number): void;
  onDialFailed(node: string, refused: boolean): void;
  onMessage(id: number, message: Message): void;
  /** Something was refused. Called for each; whoever listens bounds what is said of it. */
  onRefused(kind: RefusalKind, reason: string, address: string): void;
}

interface Connection {
  id: number;
  node: string;
  socket: TLSSocket;
}

/** The streams of one node. */
export class Transport {
  readonly #options: TransportOptions;
  readonly #secrets: SecureContextOptions;
  readonly #context: SecureContext;
  readonly #connections = new Map<number, Connection>();
  readonly #dialling = new Set<TLSSocket>();
  readonly #server: BoundServer;
  readonly #handshakes: Handshakes;
  /** The message that was sent last. */
  #encoded: { message: Message; frame: Buffer } | undefined;
  /** Every stream that was a link and has not closed yet, and what went over those that have. */
  readonly #open = new Set<TLSSocket>();
  readonly #ended = { sent: 0, received: 0 };
  #ids = 0;
  #closed = false;
  /** Why nothing can come in, in words. */
  trouble: string | undefined;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#handshakes = new Handshakes(options.clock);
    const { privateKey, certificate } = options.identity;
    this.#secrets = {
      key: privateKey.export({ type: "pkcs8", format: "pem" }),
      cert: certificate,
      minVersion: "TLSv1.3",
      sigalgs: "ed25519",
      secureOptions: constants.SSL_OP_NO_TICKET,
    };
    this.#context = createSecureContext(this.#secrets);
    const { host, port, clock } = options;
    this.#server = new BoundServer({
      clock,
      retryMs: BIND_RETRY_MS,
      make: () => this.#makeServer(),
      listen: (server, done) => void server.listen(port, host, done),
      onTried: (error) => {
        const reason = error?.code ?? String(error);
        this.trouble =
          error && `peers cannot reach this node: ${host}:${port} cannot be bound (${reason}); tried again every 5 s`;
      },
    });
  }

  /** Listens; an address that cannot be bound is said and tried again. */
  start(): Promise<void> {
    return this.#server.open();
  }

  /** The links that stand, and what went over all there ever were. */
  get traffic(): { links: number; sentBytes: number; receivedBytes: number } {
    let { sent, received } = this.#ended;
    for (const socket of this.#open) {
      sent += socket.bytesWritten;
      received += socket.bytesRead;
    }
    return { links: this.#connections.size, sentBytes: sent, receivedBytes: received };
  }

  /** Ends every stream. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#handshakes.close();
    for (const socket of this.#dialling) socket.destroy();
    const sockets = [...this.#connections.values()].map(({ socket }) => socket);
    // The last word goes out, unless the other end takes nothing.
    for (const socket of sockets) socket.destroySoon();
    const cancel = this.#options.clock.after(LAST_WORD_MS, () => {
      for (const socket of sockets) socket.destroy();
    });
    const ends = sockets.filter(({ closed }) => !closed);
    await Promise.all(ends.map((socket) => new Promise((resolve) => socket.once("close", resolve))));
    cancel();
    await this.#server.close();
  }

  /** Opens a stream to a peer; `onUp` or `onDialFailed` is called, once. */
  dial(node: string, address: string): void {
    const { host, port, clock, node: own } = this.#options;
    const socket = connectTls({
      host: address,
      port,
      secureContext: this.#context,
      ...(isEveryAddress(host) ? {} : { localAddress: host }),
      // The key is pinned: no authority vouches for it, and no name is in the certificate.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
    this.#dialling.add(socket);
    let isOver = false;
    const end = (act: () => void): void => {
      if (isOver) return;
      isOver = true;
      cancel();
      this.#dialling.delete(socket);
      if (!this.#closed) act();
    };
    const fail = (refused: boolean): void => {
      socket.destroy();
      end(() => this.#options.onDialFailed(node, refused));
    };
    const cancel = clock.after(DIAL_MS, () => fail(false));
    socket.once("error", (error: NodeJS.ErrnoException) => fail(error.code === "ECONNREFUSED"));
    socket.once("close", () => fail(false));
    socket.once("secureConnect", () => {
      const verdict = this.#judge(socket);
      if ("node" in verdict && verdict.node === node && verdict.replaced !== true) return;
      const wrong = "refused" in verdict ? verdict : { refused: `it is ${verdict.node}`, kind: "wrong-node" as const };
      this.#options.onRefused(wrong.kind, `at the address of ${node}: ${wrong.refused}`, address);
      fail(false);
    });
    // A peer that does not want this node ends the stream; one that does introduces itself. Only then is it a link.
    const look = (): void => {
      // The end of a stream is readable too.
      if (socket.readableLength === 0) return;
      socket.removeListener("readable", look);
      end(() => this.#adopt(socket, { node, dialler: own }));
    };
    socket.on("readable", look);
  }

  /** Sends on a stream; one that has ended, or whose peer takes nothing, is ended. */
  send(id: number, message: Message): void {
    const connection = this.#connections.get(id);
    if (connection === undefined) return;
    const { socket, node } = connection;
    if (socket.writableLength > MOST_WAITING_BYTES) {
      this.#options.onRefused("slow-reader", `${node} does not read what it is sent`, socket.remoteAddress ?? "");
      socket.destroy();
    } else socket.write(this.#encode(message));
  }

  /** A record is pushed to everyone with a link: it is encoded once. */
  #encode(message: Message): Buffer {
    if (this.#encoded?.message !== message) this.#encoded = { message, frame: encodeMessage(message) };
    return this.#encoded.frame;
  }

  /** Ends a stream once what was sent on it is out. */
  end(id: number): void {
    const connection = this.#connections.get(id);
    this.#connections.delete(id);
    if (connection === undefined) return;
    // One that does not even take the end is cut off.
    connection.socket.setTimeout(HANDSHAKE_MS, () => connection.socket.destroy());
    connection.socket.destroySoon();
  }

  #makeServer(): Server {
    const server = createServer({
      ...this.#secrets,
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_MS,
      noDelay: true,
    });
    server.maxConnections = MOST_CONNECTIONS;
    server.on("drop", (data) =>
      this.#options.onRefused("too-many-connections", "too many connections", data?.remoteAddress ?? ""),
    );
    server.on("connection", (socket) => this.#count(socket));
    server.on("tlsClientError", (error: NodeJS.ErrnoException, socket) => {
      this.#handshakes.end(socket);
      // One that never finishes its handshake is left open otherwise.
      socket.destroy();
      const code = error.code ?? "no code";
      if (code === "ECONNRESET") return;
      this.#options.onRefused("handshake-failed", `the handshake failed (${code})`, socket.remoteAddress ?? "");
    });
    server.on("secureConnection", (socket) => this.#welcome(socket));
    return server;
  }

  #count(socket: Socket): void {
    const address = socket.remoteAddress ?? "";
    if (this.#handshakes.add(socket, this.#options.isPeerAddress(address))) return;
    this.#options.onRefused("too-many-handshakes", "too many connections that show no key", address);
    socket.destroy();
  }

  #welcome(socket: TLSSocket): void {
    this.#handshakes.end(socket);
    const verdict = this.#judge(socket);
    if ("node" in verdict) return this.#adopt(socket, { ...verdict, dialler: verdict.node });
    this.#options.onRefused(verdict.kind, verdict.refused, socket.remoteAddress ?? "");
    socket.on("error", () => undefined);
    socket.destroy();
  }

  #judge(socket: TLSSocket): KeyVerdict {
    // A resumed session shows a key that nobody has proved to hold.
    if (socket.isSessionReused())
      return { kind: "resumed-session", refused: "it resumed a session in place of showing its key" };
    const shown = socket.getPeerX509Certificate();
    const key = shown === undefined ? undefined : describeKey(shown.publicKey);
    if (key === undefined) return { kind: "no-key", refused: "it showed no Ed25519 key" };
    return this.#options.judgeKey(key);
  }

  /** A stream whose key was found in fleet.toml: frames are read from here on. */
  #adopt(socket: TLSSocket, of: { node: string; dialler: string; replaced?: boolean }): void {
    const { node } = of;
    const id = (this.#ids += 1);
    const options = this.#options;
    this.#connections.set(id, { id, node, socket });
    this.#open.add(socket);
    socket.setNoDelay(true);
    const reader = new MessageReader();
    socket.on("error", () => undefined);
    socket.once("close", () => {
      this.#open.delete(socket);
      this.#ended.sent += socket.bytesWritten;
      this.#ended.received += socket.bytesRead;
      if (this.#connections.delete(id) && !this.#closed) options.onDown(id);
    });
    options.onUp({ id, ...of });
    socket.on("data", (piece: Buffer) => {
      if (!this.#connections.has(id)) return;
      try {
        for (const message of reader.push(piece)) options.onMessage(id, message);
      } catch (error) {
        options.onRefused("bad-frame", `${node} sent ${readMessage(error)}`, socket.remoteAddress ?? "");
        socket.destroy();
      }
    });
  }
}
