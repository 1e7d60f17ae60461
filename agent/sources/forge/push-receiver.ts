// The webhook: listens on an address of its own for pushes that a forge tells of, checks their signature and answers what
// is true. A push only makes the agent look at its source; nothing in it is believed. Made by daemon.ts.

import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";

import type { Emit } from "../../../shared/state/event.ts";
import type { Secret } from "../../../shared/secret/secret.ts";
import type { Clock } from "../../host/os/clock.ts";
import { readSecretFile } from "../../host/files/secret-file.ts";
import { BoundServer, describeBindError } from "../../http/bound-server.ts";
import { readBody } from "../../http/request-body.ts";
import { makeServer } from "../../http/server-shell.ts";
import { judgePush, type PushInterest } from "./push-payload.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

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
const BODY = { keptBytes: 256 * 1024, limitBytes: 32 * 1024 ** 2 };
const MOST_CONNECTIONS = 32;
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
  readonly #server: BoundServer;
  /** What was told last; null before anything was. */
  #trouble: string | undefined | null = null;

  constructor(options: PushReceiverOptions) {
    this.#options = options;
    const { listen, clock } = options;
    this.#server = new BoundServer({
      clock,
      retryMs: RETRY_MS,
      make: () =>
        makeServer({
          mostConnections: MOST_CONNECTIONS,
          answer: (request, response) => this.#handle(request, response),
          refuse: (response, status, message) => sendPushAnswer(response, { status, message }),
        }),
      listen: (server, done) => void server.listen({ ...splitAddress(listen), exclusive: true }, done),
      onTried: (error) => {
        if (error === undefined) return;
        this.#tell(`pushes are not received on ${listen}: ${describeBindError(error)}; tried again every 30 s`);
      },
      finish: () => this.check(),
    });
  }

  /** Where it listens now, with the real port number. */
  get address(): string | undefined {
    return this.#server.address;
  }

  /** Binds the address; one that cannot be bound is said and tried again. */
  start(): Promise<void> {
    return this.#server.open();
  }

  /** Looks at the secret's file, so that what is wrong with it is said before a push is refused for it. */
  async check(): Promise<void> {
    const secret = await this.#readSecret();
    this.#tell(typeof secret === "string" ? `pushes are refused: ${secret}` : undefined);
  }

  /** Ends listening and every connection. */
  close(): Promise<void> {
    return this.#server.close();
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
    const answer = await this.#answer(request, id);
    const body = answer.status === 202 ? { id } : {};
    sendPushAnswer(response, answer, body);
    this.#record(id, answer);
    if (answer.status === 202) this.#options.onPush();
  }

  async #answer(request: IncomingMessage, id: string): Promise<PushAnswer> {
    const refusal = refuseRequest(request);
    if (refusal !== undefined) return (await readBody(request, BODY)) === undefined ? TOO_LARGE : refusal;
    const secret = await this.#readSecret();
    const hmac = typeof secret === "string" ? undefined : createHmac("sha256", secret.expose());
    this.#tell(typeof secret === "string" ? `pushes are refused: ${secret}` : undefined);
    const body = await readBody(request, { ...BODY, onPiece: (piece) => void hmac?.update(piece) });
    if (body === undefined) return TOO_LARGE;
    if (hmac === undefined)
      return { status: 503, message: "signatures cannot be checked at present: see the agent's status" };
    if (!isSignedBy(request, hmac.digest())) return UNSIGNED;
    const text = body.content?.toString("utf8");
    if (text === undefined) return accept("a push that is too large to be read", id);
    const event = readHeader(request, "x-gitea-event", "x-github-event", "x-gogs-event");
    const verdict = judgePush(event, text, this.#options.interest);
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
      return readMessage(error);
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

function splitAddress(listen: string): { host: string; port: number } {
  const colon = listen.lastIndexOf(":");
  return { host: listen.slice(0, colon).replaceAll(/[[\]]/g, ""), port: Number(listen.slice(colon + 1)) };
}

function sendPushAnswer(response: ServerResponse, { status, message, headers }: PushAnswer, more: object = {}): void {
  const body = `${JSON.stringify({ ...more, message })}\n`;
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...headers,
  });
  response.end(body);
}
