// The SDK's requests, watched: it repeats a request that was reset or refused for its rate, and knows no retry-after, so
// the first such answer ends the whole round here. Only the child uses it; it replaces `fetch` in that process alone.

import { readFile } from "node:fs/promises";
import { Agent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { setDefaultCACertificates } from "node:tls";

import { ask, type WholeAnswer } from "../../http/exchange.ts";
import { describeCertificate, describeExchange } from "../../../shared/text/words/exchange-words.ts";
import { ExchangeFailure } from "../../http/exchange-failure.ts";
import { parseRetryAfter } from "../../http/retry-after.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** Ends a round: nothing more is asked of the server now. */
export class RoundEnded extends Error {
  readonly waitMs: number | undefined;
  /** The server is well, and refuses the login, or all that the identity asks. */
  readonly refused: "login" | "everything" | undefined;
  constructor(message: string, waitMs?: number, refused?: "login" | "everything") {
    super(message);
    this.waitMs = waitMs;
    this.refused = refused;
  }
}

/** What a server said to one request that it refused. */
export interface Refusal {
  status: number;
  /** Infisical's own word for it, such as `TokenError`. */
  error: string;
  message: string;
}

/** Which server is asked, for what is said of it. */
interface ServerPlace {
  url: string;
  caFile: string | undefined;
}

/**
 * Trusts one CA from now on, and no other, in the whole process: the child asks one server and ends.
 * @param caFile its certificate in PEM form; undefined leaves those that Node trusts
 */
export async function trustOnly(caFile: string | undefined): Promise<void> {
  if (caFile === undefined) return;
  const pem = await readFile(caFile, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new Error(`secrets.infisical.ca_file: ${caFile} cannot be read: ${error.code}`, { cause: error });
  });
  try {
    setDefaultCACertificates([pem]);
  } catch (error) {
    throw new Error(`secrets.infisical.ca_file: ${caFile} holds no certificate in PEM form`, { cause: error });
  }
}

/** How long a server that gave no number is left alone after a 429. */
const DEFAULT_WAIT_MS = 60_000;
const LONGEST_WAIT_MS = 3_600_000;
/** The largest answer that is read: a folder of secrets is far less. */
const LIMIT_BYTES = 16 * 1024 ** 2;

/** Watches every request of this process. */
export class WatchedFetch {
  /** Rejects when the round has ended, whatever the SDK still tries. */
  readonly ended: Promise<never>;
  logins = 0;
  requests = 0;
  /** The token that the last login gave. */
  token: { value: string; expiresInMs: number } | undefined;
  /** What the server said to the newest refused request, by its URL. */
  readonly #refusals = new Map<string, Refusal>();
  #end: (error: RoundEnded) => void = () => undefined;
  #hasEnded = false;
  /** A round asks several times: its connections stay for the next question. */
  readonly #agent: Agent;
  readonly #deadlineMs: number;
  readonly #signal: AbortSignal;
  readonly #place: ServerPlace;

  constructor(deadlineMs: number, place: ServerPlace) {
    this.#place = place;
    this.#deadlineMs = deadlineMs;
    this.#agent = new (place.url.startsWith("https:") ? HttpsAgent : Agent)({ keepAlive: true });
    this.ended = new Promise((_resolve, reject) => {
      this.#end = (error) => {
        this.#hasEnded = true;
        reject(error);
      };
    });
    this.ended.catch(() => undefined);
    this.#signal = AbortSignal.timeout(deadlineMs);
    this.#signal.addEventListener("abort", () => this.#end(new RoundEnded(`no answer within ${deadlineMs / 1_000} s`)));
    globalThis.fetch = (input, init) => this.#answer(String(input instanceof Request ? input.url : input), init);
  }

  /** True when nothing more may be asked in this round. */
  get isOver(): boolean {
    return this.#hasEnded;
  }

  /** What the server said to a request whose URL has this path. */
  findRefusal(message: string): Refusal | undefined {
    return [...this.#refusals].findLast(([url]) => message.includes(`[URL=${url}]`))?.[1];
  }

  /** The SDK would only try again what ended the round: it is not answered any more, and asks nothing more. */
  async #answer(url: string, init: RequestInit | undefined): Promise<Response> {
    try {
      if (!this.#hasEnded) return await this.#ask(url, init);
    } catch (error) {
      if (!(error instanceof RoundEnded)) throw error;
    }
    return new Promise(() => undefined);
  }

  async #ask(url: string, init: RequestInit | undefined): Promise<Response> {
    const isLogin = url.endsWith("/auth/universal-auth/login");
    if (isLogin) this.logins += 1;
    else this.requests += 1;
    const { status, headers, content } = await this.#send(url, init);
    const isGood = status >= 200 && status < 300;
    const text = content.toString("utf8");
    const body = parseJson(text);
    const retryAfter = headers["retry-after"];
    // A self-hosted server's limiter was seen to say it with 500.
    if (status === 429 || (!isGood && retryAfter !== undefined))
      this.#give(`it asks for fewer requests (${status})`, readRetryAfter(retryAfter));
    // A server that sends us elsewhere gets no credentials there.
    if (status >= 300 && status < 400) this.#give(`it redirects (${status}): check secrets.infisical.url`);
    if (status >= 500) this.#give(`it answered ${status}: ${readText(body, "message") ?? "no reason"}`);
    if (body === undefined) this.#give(`it answered ${status} with something that is no JSON: is it Infisical?`);
    if (status === 404 && readText(body, "error") === "Not Found")
      this.#give("it does not know what it was asked for: is it Infisical?");
    if (!isGood) {
      const message = readRefusal(body);
      this.#refusals.set(url, { status, error: readText(body, "error") ?? "", message });
      // The SDK names the URL of a refusal whose message is a text, and of no other.
      return answerJson(JSON.stringify({ message }), status);
    }
    if (isLogin) {
      this.token = readToken(body);
      if (this.token === undefined) this.#give("its answer to the login holds no token: is it Infisical?");
    }
    return answerJson(text, status);
  }

  async #send(url: string, { method, headers, body }: RequestInit = {}): Promise<WholeAnswer> {
    try {
      return await ask({
        url: new URL(url),
        method: method ?? "GET",
        headers: Object.fromEntries(new Headers(headers)),
        body: typeof body === "string" ? Buffer.from(body) : undefined,
        agent: this.#agent,
        signal: this.#signal,
        deadlineMs: this.#deadlineMs,
        keepRedirect: true,
        judge: () => ({ limitBytes: LIMIT_BYTES }),
      });
    } catch (error) {
      return this.#give(describeExchangeError(error, this.#place));
    }
  }

  /** Ends the round. */
  #give(reason: string, waitMs?: number): never {
    const error = new RoundEnded(reason, waitMs);
    this.#end(error);
    throw error;
  }
}

function answerJson(text: string, status: number): Response {
  return new Response(text, { status, headers: { "content-type": "application/json" } });
}

/** Says what an exchange came to, and for a certificate what to do. */
export function describeExchangeError(error: unknown, { url, caFile }: ServerPlace): string {
  if (!(error instanceof ExchangeFailure)) return readMessage(error);
  const { fault } = error;
  const { host } = new URL(url);
  const place = { host, urlKey: "secrets.infisical.url", caKey: "secrets.infisical.ca_file", caFile };
  if (fault.kind === "network") return describeCertificate(fault.code, place) ?? fault.code;
  if (fault.kind === "too-large") return "its answer is larger than 16 MiB: is it Infisical?";
  return describeExchange(fault, { ...place, who: "secrets", redirectHint: "correct secrets.infisical.url" });
}

function readRetryAfter(value: string | undefined): number {
  return parseRetryAfter(value, Date.now(), LONGEST_WAIT_MS) ?? DEFAULT_WAIT_MS;
}

function parseJson(text: string): unknown {
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === "object" && body !== null ? body : undefined;
  } catch {
    return undefined;
  }
}

function readText(body: unknown, key: string): string | undefined {
  const value = (body as Record<string, unknown> | undefined)?.[key];
  return typeof value === "string" ? value.slice(0, 200) : undefined;
}

/** What a refusal says; servers of 2026 list what is wrong with a request. */
function readRefusal(body: unknown): string {
  const { message } = body as { message?: unknown };
  if (!Array.isArray(message)) return readText(body, "message") ?? "no reason";
  return message.flatMap((issue: unknown) => readText(issue, "message") ?? []).join(", ") || "no reason";
}

function readToken(body: unknown): { value: string; expiresInMs: number } | undefined {
  const { accessToken, expiresIn } = body as { accessToken?: unknown; expiresIn?: unknown };
  if (typeof accessToken !== "string" || typeof expiresIn !== "number") return undefined;
  return { value: accessToken, expiresInMs: expiresIn * 1_000 };
}
