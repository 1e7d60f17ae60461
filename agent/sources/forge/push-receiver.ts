// The webhook: listens on an address of its own for pushes that a forge tells of, checks their signature and answers what
// is true. A push only makes the agent look at its source; nothing in it is believed. Made by daemon.ts.

import { createHmac, type Hmac, randomUUID, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

import type { Emit } from "../../../shared/state/event.ts";
import type { Secret } from "../../../shared/secret/secret.ts";
import type { CancelTimer, Clock } from "../../host/os/clock.ts";
import { limitConnections } from "../../host/os/connection-limit.ts";
import { readSecretFile } from "../../host/files/secret-file.ts";
import { judgePush, type PushInterest } from "./push-payload.ts";

/** What the receiver needs. */
export interface PushReceiverOptions {
  /** `host:port`. */
  listen: string;
  /** Root-owned 0600 file with the secret that the forge signs with; read anew for every delivery. */
  secretFile: string;
  interest: PushInterest;
  clock: Clock;
  /** Makes the agent look at its source. */
  onPush: () => void;
  emit: Emit;
}

/** One answer. */
interface PushAnswer {
  status: number;
  message: string;
  /** What people should look at although the push is followed. */
  doubt?: string | undefined;
  headers?: Readonly<Record<string, string>>;
}

const PATHS: ReadonlySet<string> = new Set(["/", "/webhook"]);
const RETRY_MS = 30_000;
/** The same refusal is logged once in so long. */
const QUIET_MS = 60_000;
/** Refusals that were told before are counted together in so long. */
const COUNT_EVERY_MS = 1_000;
/** What is kept of a body; signed bodies up to the second limit are taken as a push that may concern this node. */
const KEPT_BYTES = 256 * 1024;
const LIMIT_BYTES = 32 * 1024 ** 2;
const MOST_CONNECTIONS = 32;
/** A caller who is slow or silent is cut off. */
const SERVER_LIMITS = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: 5_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 5_000,
} as const;
const DIGEST = /^[0-9a-f]{64}$/i;
/** Delivery ids as Gitea and GitHub make them. */
const DELIVERY = /^[0-9A-Za-z-]{8,64}$/;

/** Receives pushes. */
export class PushReceiver {
  readonly #options: PushReceiverOptions;
  readonly #told = new Map<number, number>();
  /** Refusals that were not told yet, and when the last ones were. */
  #uncounted = 0;
  #countedMs = Number.NEGATIVE_INFINITY;
  #server: Server | undefined;
  #cancelRetry: CancelTimer = () => undefined;
  #closed = false;
  /** What was told last; null before anything was. */
  #trouble: string | undefined | null = null;

  constructor(options: PushReceiverOptions) {
    this.#options = options;
  }

  /** Where it listens now, with the real port number. */
  get address(): string | undefined {
    const bound = this.#server?.address();
    if (bound === null || typeof bound !== "object") return undefined;
    return bound.family === "IPv6" ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`;
  }

  /** Binds the address; one that cannot be bound is said and tried again. */
  async start(): Promise<void> {
    if (this.#closed) return;
    const { listen, clock } = this.#options;
    const server = createServer(SERVER_LIMITS, (request, response) => {
      this.#handle(request, response).catch(() => response.destroy());
    });
    limitConnections(server, MOST_CONNECTIONS);
    const error = await bind(server, listen);
    server.on("error", () => undefined);
    if (this.#closed) return void server.close();
    if (error !== undefined) {
      this.#tell(`pushes are not received on ${listen}: ${describeBindError(error)}; tried again every 30 s`);
      this.#cancelRetry = clock.after(RETRY_MS, () => void this.start());
      return;
    }
    this.#server = server;
    await this.check();
  }

  /** Looks at the secret's file, so that what is wrong with it is said before a push is refused for it. */
  async check(): Promise<void> {
    const secret = await this.#readSecret();
    this.#tell(typeof secret === "string" ? `pushes are refused: ${secret}` : undefined);
  }

  /** Ends listening and every connection. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelRetry();
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  }

  #tell(trouble: string | undefined): void {
    if (this.#trouble === trouble) return;
    this.#trouble = trouble;
    const { emit, clock, listen } = this.#options;
    emit({ kind: "webhook", atMs: clock.nowMs(), listen: this.address ?? listen, trouble });
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const delivery = readHeader(request, "x-gitea-delivery", "x-github-delivery");
    const id = delivery !== undefined && DELIVERY.test(delivery) ? delivery : randomUUID();
    response.on("error", () => undefined);
    const answer = await this.#answer(request, id);
    const { status, message, headers } = answer;
    const body = `${JSON.stringify(status === 202 ? { id, message } : { message })}\n`;
    response.writeHead(status, {
      ...{ "content-type": "application/json; charset=utf-8", "content-length": Buffer.byteLength(body) },
      ...{ "cache-control": "no-store", "x-content-type-options": "nosniff", ...headers },
    });
    response.end(body);
    this.#record(id, answer);
    if (status === 202) this.#options.onPush();
  }

  async #answer(request: IncomingMessage, id: string): Promise<PushAnswer> {
    const refusal = refuseRequest(request);
    if (refusal !== undefined) return (await readBody(request, undefined)) === undefined ? TOO_LARGE : refusal;
    const secret = await this.#readSecret();
    const hmac = typeof secret === "string" ? undefined : createHmac("sha256", secret.expose());
    this.#tell(typeof secret === "string" ? `pushes are refused: ${secret}` : undefined);
    const body = await readBody(request, hmac);
    if (body === undefined) return TOO_LARGE;
    if (hmac === undefined)
      return { status: 503, message: "signatures cannot be checked at present: see the agent's status" };
    if (!isSignedBy(request, hmac.digest())) return UNSIGNED;
    if (body.text === undefined) return accept("a push that is too large to be read", id);
    const event = readHeader(request, "x-gitea-event", "x-github-event", "x-gogs-event");
    const verdict = judgePush(event, body.text, this.#options.interest);
    if (verdict.kind === "malformed") return { status: 400, message: verdict.why };
    if (verdict.kind === "nothing") return { status: 200, message: `nothing for this node: ${verdict.why}` };
    return accept(verdict.why, id, verdict.doubt);
  }

  /** The secret, or why there is none. Without one anybody could sign. */
  async #readSecret(): Promise<Secret | string> {
    const { secretFile } = this.#options;
    try {
      const secret = await readSecretFile(secretFile);
      return secret.expose() === ""
        ? `${secretFile} is empty: write a secret into it, such as openssl rand -hex 32`
        : secret;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  #record(id: string, { status, message, doubt }: PushAnswer): void {
    const { emit, clock } = this.#options;
    const told = this.#told.get(status) ?? Number.NEGATIVE_INFINITY;
    const nowMs = clock.monotonicMs();
    const quiet = status >= 400 && nowMs - told < QUIET_MS;
    if (quiet && nowMs - this.#countedMs < COUNT_EVERY_MS) {
      this.#uncounted += 1;
      return;
    }
    if (!quiet) this.#told.set(status, nowMs);
    const doubts = doubt === undefined ? {} : { doubt };
    emit({ kind: "push", atMs: clock.nowMs(), id, status, said: message, ...doubts, quiet, more: this.#uncounted });
    [this.#countedMs, this.#uncounted] = [nowMs, 0];
  }
}

const TOO_LARGE: PushAnswer = { status: 413, message: "the body is too large", headers: { connection: "close" } };
const UNSIGNED: PushAnswer = { status: 401, message: "the signature is missing or wrong" };

function accept(why: string, id: string, doubt?: string): PushAnswer {
  const message = `${why}: the source is asked; look for ${id} in the agent's log`;
  return { status: 202, message, doubt };
}

/** What can be refused without a look at the body. */
function refuseRequest(request: IncomingMessage): PushAnswer | undefined {
  const [path = ""] = (request.url ?? "").split("?", 1);
  if (!PATHS.has(path)) return { status: 404, message: "there is nothing here: pushes are posted to /webhook" };
  if (request.method !== "POST") return { status: 405, message: "pushes are posted here", headers: { allow: "POST" } };
  const type = request.headers["content-type"] ?? "";
  // In such a form a forge signs something else than what it sends.
  if (type.includes("form-urlencoded"))
    return { status: 415, message: "set the webhook's content type to application/json" };
  return listSignatures(request).length === 0 ? UNSIGNED : undefined;
}

function listSignatures(request: IncomingMessage): string[] {
  const hub = readHeader(request, "x-hub-signature-256");
  const signatures = [readHeader(request, "x-gitea-signature"), hub?.replace(/^sha256=/, "")];
  return signatures.filter((signature) => signature !== undefined);
}

/** Every signature that was sent must be right. */
function isSignedBy(request: IncomingMessage, expected: Buffer): boolean {
  return listSignatures(request).every(
    (signature) => DIGEST.test(signature) && timingSafeEqual(Buffer.from(signature, "hex"), expected),
  );
}

function readHeader({ headers }: IncomingMessage, ...names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = headers[name];
    if (typeof value === "string") return value;
  }
  return undefined;
}

/** Reads a body to its end, also where it is refused: else the caller may not see the answer. Undefined: too large. */
async function readBody(
  request: IncomingMessage,
  hmac: Hmac | undefined,
): Promise<{ text: string | undefined } | undefined> {
  if (Number(request.headers["content-length"] ?? 0) > LIMIT_BYTES) return undefined;
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  for await (const piece of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    sizeBytes += piece.length;
    if (sizeBytes > LIMIT_BYTES) return undefined;
    hmac?.update(piece);
    if (sizeBytes <= KEPT_BYTES) pieces.push(piece);
    else pieces.length = 0;
  }
  return { text: sizeBytes > KEPT_BYTES ? undefined : Buffer.concat(pieces).toString("utf8") };
}

function bind(server: Server, listen: string): Promise<NodeJS.ErrnoException | undefined> {
  const colon = listen.lastIndexOf(":");
  const host = listen.slice(0, colon).replaceAll(/[[\]]/g, "");
  return new Promise((resolve) => {
    server.once("error", resolve);
    server.listen({ host, port: Number(listen.slice(colon + 1)), exclusive: true }, () => resolve(undefined));
  });
}

function describeBindError(error: NodeJS.ErrnoException): string {
  if (error.code === "EADDRINUSE") return "the port is taken";
  if (error.code === "EACCES") return "this user may not bind it";
  if (error.code === "EADDRNOTAVAIL") return "this host does not have that address";
  return error.code ?? error.message;
}
