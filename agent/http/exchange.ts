// One exchange with an HTTP server: a deadline over the whole, a size limit, redirects within the same origin alone, so that
// the token goes to that origin and nowhere else. It is asked once: who asks decides what is tried again. node:http and not got,
// which takes 12 MiB and 70 ms to load, and the agent polls Git all day.

import {
  type Agent,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request as requestHttp,
} from "node:http";
import { request as requestHttps } from "node:https";

import type { ExchangeFault } from "../../shared/fault/exchange-fault.ts";
import { ExchangeFailure } from "./exchange-failure.ts";

/** What an answer begins with. */
export interface AnswerHead {
  status: number;
  /** The media type, without its parameters; empty where none was said. */
  type: string;
  headers: IncomingHttpHeaders;
}

/** How much of an answer is read. */
export interface Reading {
  limitBytes: number;
  /** What is beyond the limit is left unread; else a larger answer is a failure. */
  cut?: boolean;
  /** What comes is kept as it lies there, packed or not: nobody unpacks it. */
  asStored?: boolean;
  /** Takes the pieces of the answer as they come, in place of keeping them. What it throws ends the exchange. */
  sink?: ((piece: Buffer) => Promise<void>) | undefined;
}

/** One question. */
export interface Question {
  url: URL;
  /** Sent as the request's target in place of the URL's, for one that a URL cannot hold: a segment `..`. */
  target?: string | undefined;
  /** GET where it is left out, POST where there is a body. */
  method?: string;
  headers?: OutgoingHttpHeaders;
  body?: Uint8Array | undefined;
  /** What is sent as `authorization`, to the origin of the URL alone. */
  authorization?: string | undefined;
  /** Holds the CA that is trusted; without one the process's own are. */
  agent?: Agent | undefined;
  /** Ends the exchange: nobody waits for it any more. */
  signal?: AbortSignal | undefined;
  /** From the first packet to the last piece, redirects included. */
  deadlineMs: number;
  /** An answer that redirects is the answer; else it is followed within the origin. */
  keepRedirect?: boolean;
  /** Looks at the head of an answer: says how much is read, or throws. */
  judge: (head: AnswerHead) => Reading;
}

/** A whole answer, empty where a sink took it, and the URL that gave it. */
export interface WholeAnswer extends AnswerHead {
  content: Buffer;
  url: URL;
}

const MOST_REDIRECTS = 3;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** Asks once. Throws an `ExchangeFailure`, or what `judge` or a sink threw. */
export async function ask(question: Question): Promise<WholeAnswer> {
  const ending = new Ending(question);
  try {
    let { url } = question;
    for (let hop = 0; ; hop += 1) {
      const response = await send({ ...question, url }, ending);
      if (question.keepRedirect === true || !REDIRECTS.has(response.statusCode ?? 0))
        return await readAnswer(response, { ...question, url });
      // What a redirect says beside its target is not read.
      response.destroy();
      if (hop === MOST_REDIRECTS) throw new ExchangeFailure({ kind: "redirects-in-circles" });
      url = followRedirect(url, response, question);
    }
  } catch (error) {
    throw ending.reason ?? error;
  } finally {
    ending.clear();
  }
}

/** Ends an exchange that takes too long, or that nobody waits for any more. */
class Ending {
  reason: ExchangeFailure | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.#end({ kind: "ended" });
  #destroy: (() => void) | undefined;

  constructor({ deadlineMs, signal }: Question) {
    this.#timer = setTimeout(() => this.#end({ kind: "late", deadlineMs }), deadlineMs);
    this.#signal = signal;
    signal?.addEventListener("abort", this.#onAbort);
    if (signal?.aborted === true) this.#onAbort();
  }

  /** Says what is to be destroyed at the end. */
  watch(destroy: () => void): void {
    this.#destroy = destroy;
    if (this.reason !== undefined) destroy();
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }

  #end(fault: ExchangeFault): void {
    this.reason = new ExchangeFailure(fault);
    this.#destroy?.();
  }
}

function send(question: Question, ending: Ending): Promise<IncomingMessage> {
  const { url, target, body, headers, authorization } = question;
  return new Promise((resolve, reject) => {
    const request = (url.protocol === "https:" ? requestHttps : requestHttp)(url, {
      method: question.method ?? (body === undefined ? "GET" : "POST"),
      agent: question.agent ?? false,
      ...(target === undefined ? {} : { path: target }),
      headers: {
        ...headers,
        ...(authorization === undefined ? {} : { authorization }),
        ...(body === undefined ? {} : { "content-length": body.length }),
      },
    });
    ending.watch(() => request.destroy());
    request.once("response", resolve);
    request.on("error", (error) => reject(describeNetworkError(error)));
    request.end(body);
  });
}

function describeNetworkError(error: NodeJS.ErrnoException): ExchangeFailure {
  return new ExchangeFailure({ kind: "network", code: error.code ?? error.message }, error);
}

/** Where a redirect leads, within the same origin. A POST keeps its method and body only with 307 and 308. */
function followRedirect(from: URL, { statusCode: status = 0, headers }: IncomingMessage, question: Question): URL {
  const { location = "" } = headers;
  if (location === "" || !URL.canParse(location, from.href))
    throw new ExchangeFailure({ kind: "redirect-nowhere", status });
  const target = new URL(location, from);
  // A name and password in it would be sent, and shown.
  [target.username, target.password] = ["", ""];
  if (target.origin !== from.origin)
    throw new ExchangeFailure({ kind: "redirect-elsewhere", target: `${target.origin}${target.pathname}` });
  const isGet = question.body === undefined && (question.method ?? "GET") === "GET";
  // Any other redirect would make a GET of a POST, and look like success.
  if (!isGet && status !== 307 && status !== 308) throw new ExchangeFailure({ kind: "redirect-of-post", status });
  return target;
}

async function readAnswer(response: IncomingMessage, question: Question): Promise<WholeAnswer> {
  const { headers } = response;
  const type = (headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
  const head: AnswerHead = { status: response.statusCode ?? 0, type, headers };
  try {
    const content = await readContent(response, question.judge(head));
    return { ...head, content, url: question.url };
  } finally {
    response.destroy();
  }
}

async function readContent(
  response: IncomingMessage,
  { limitBytes, cut = false, asStored = false, sink }: Reading,
): Promise<Buffer> {
  const encoding = response.headers["content-encoding"]?.trim().toLowerCase() ?? "identity";
  // None was asked for, and what is packed small may be without end.
  if (!cut && !asStored && encoding !== "identity" && encoding !== "")
    throw new ExchangeFailure({ kind: "encoded", encoding });
  const announcedBytes = Number(response.headers["content-length"] ?? 0);
  if (!cut && announcedBytes > limitBytes) throw new ExchangeFailure({ kind: "too-large", limitBytes, announcedBytes });
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  const left = response.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
  const enoughBytes = cut ? limitBytes : Number.POSITIVE_INFINITY;
  while (sizeBytes < enoughBytes) {
    const { value: piece, done } = await left
      .next()
      .catch((error: Error) => Promise.reject(describeNetworkError(error)));
    if (done === true) break;
    sizeBytes += piece.length;
    if (!cut && sizeBytes > limitBytes)
      throw new ExchangeFailure({ kind: "too-large", limitBytes, announcedBytes: undefined });
    if (sink === undefined) pieces.push(piece);
    else await sink(piece);
  }
  return Buffer.concat(pieces);
}
