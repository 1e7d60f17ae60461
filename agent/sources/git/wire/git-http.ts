// One HTTP exchange with a Git server: a deadline, a size limit, redirects within the same origin alone. The token goes as
// Basic authentication to the configured origin and nowhere else; it is in no URL, argument, error or log. Used by the
// poll and by the child that fetches.

import { type Agent, type IncomingMessage, type OutgoingHttpHeaders, request as requestHttp } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";

import type { Secret } from "../../../../shared/secret/secret.ts";
import { describeSize } from "../../../../shared/text/size.ts";
import { describeNetwork, describeStatus, type FailurePlace, GitFailure, parseRetryAfter } from "./git-failure.ts";

/** What one exchange is made of. */
export interface GitQuestion {
  url: URL;
  /** Left out for GET. */
  body?: Uint8Array;
  headers: OutgoingHttpHeaders;
  /** The media type that an answer of Git has. */
  expect: string;
  deadlineMs: number;
  limitBytes: number;
  /** What the limit is for, in words. */
  limitOf: string;
  /** What to do about an answer that is larger. */
  limitHint?: string;
  /** Takes the pieces of the answer as they come, in place of keeping them. */
  sink?: (piece: Buffer) => Promise<void>;
}

/** How the server is spoken to. */
export interface GitAccess extends FailurePlace {
  token: Secret | undefined;
  agent: Agent | undefined;
  signal: AbortSignal | undefined;
}

/** A whole answer, empty where a sink took it, and the URL that gave it. */
export interface GitAnswer {
  content: Buffer;
  url: URL;
}

const MOST_REDIRECTS = 3;

/** Makes an agent that trusts one CA alone; undefined where the system's CAs are meant. */
export function openAgent(url: URL, ca: string | undefined): Agent | undefined {
  return url.protocol === "https:"
    ? new HttpsAgent({ keepAlive: false, ...(ca === undefined ? {} : { ca }) })
    : undefined;
}

/** Asks once; answers with Git's data or throws a `GitFailure` that says what to do. */
export async function askGit(question: GitQuestion, access: GitAccess): Promise<GitAnswer> {
  const ending = new Deadline(question, access);
  try {
    let { url } = question;
    for (let hop = 0; ; hop += 1) {
      const response = await send({ ...question, url }, access, ending);
      const status = response.statusCode ?? 0;
      if (![301, 302, 303, 307, 308].includes(status)) return await readAnswer(response, { ...question, url }, access);
      response.resume();
      if (hop === MOST_REDIRECTS) throw new GitFailure(`${access.host} redirects in circles: check source.git.url`);
      url = followRedirect(url, response, question.body === undefined);
    }
  } catch (error) {
    throw ending.reason ?? (error instanceof GitFailure ? error : describeError(error, access));
  } finally {
    ending.clear();
  }
}

function describeError(error: unknown, access: GitAccess): GitFailure {
  return new GitFailure(describeNetwork(error as NodeJS.ErrnoException, access), { cause: error });
}

/** Ends an exchange that takes too long, or that nobody waits for any more. */
class Deadline {
  reason: GitFailure | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.#end(new GitFailure("the agent ends"));
  #destroy: (() => void) | undefined;

  constructor({ deadlineMs }: GitQuestion, { host, signal }: GitAccess) {
    const late = (): void => this.#end(new GitFailure(`${host} gave no whole answer within ${deadlineMs / 1_000} s`));
    this.#timer = setTimeout(late, deadlineMs);
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

  #end(reason: GitFailure): void {
    this.reason = reason;
    this.#destroy?.();
  }
}

function send(question: GitQuestion, access: GitAccess, ending: Deadline): Promise<IncomingMessage> {
  const { url, body, headers } = question;
  return new Promise((resolve, reject) => {
    const request = (url.protocol === "https:" ? requestHttps : requestHttp)(url, {
      method: body === undefined ? "GET" : "POST",
      agent: access.agent ?? false,
      headers: {
        "user-agent": "git/orca",
        ...headers,
        ...(access.token === undefined ? {} : { authorization: buildAuthorization(access.token) }),
        ...(body === undefined ? {} : { "content-length": body.length }),
      },
    });
    ending.watch(() => request.destroy());
    request.once("response", resolve);
    request.on("error", reject);
    request.end(body);
  });
}

/** A token alone is sent with the user name that GitHub and Gitea know for tokens; `user:token` is sent as it is. */
function buildAuthorization(token: Secret): string {
  const text = token.expose();
  return `Basic ${Buffer.from(text.includes(":") ? text : `x-access-token:${text}`).toString("base64")}`;
}

/** Where a redirect leads, within the same origin. A POST keeps its method and body only with 307 and 308. */
function followRedirect(from: URL, { statusCode, headers }: IncomingMessage, isGet: boolean): URL {
  const target = URL.canParse(headers.location ?? "", from.href) ? new URL(headers.location ?? "", from) : undefined;
  if (target === undefined) throw new GitFailure(`${from.host} redirects (${statusCode}) without saying where to`);
  if (target.origin !== from.origin) {
    const shown = `${target.origin}${target.pathname}`;
    throw new GitFailure(
      `${from.host} redirects to ${shown}, another origin, where the token does not go: correct source.git.url`,
    );
  }
  if (!isGet && statusCode !== 307 && statusCode !== 308)
    throw new GitFailure(`${from.host} redirects a request of Git (${statusCode}): check source.git.url`);
  return target;
}

async function readAnswer(response: IncomingMessage, question: GitQuestion, access: GitAccess): Promise<GitAnswer> {
  const status = response.statusCode ?? 0;
  const type = (response.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
  if (status !== 200) {
    const retryAfterMs = parseRetryAfter(response.headers["retry-after"], Date.now());
    response.destroy();
    throw new GitFailure(describeStatus(status, access), { retryAfterMs });
  }
  if (type !== question.expect) {
    response.destroy();
    throw new GitFailure(describeType(type, access.host));
  }
  const announced = Number(response.headers["content-length"] ?? 0);
  if (announced > question.limitBytes) refuseSize(response, question, announced);
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  for await (const piece of response as AsyncIterable<Buffer>) {
    sizeBytes += piece.length;
    if (sizeBytes > question.limitBytes) refuseSize(response, question, undefined);
    if (question.sink === undefined) pieces.push(piece);
    else await question.sink(piece);
  }
  return { content: Buffer.concat(pieces), url: question.url };
}

function describeType(type: string, host: string): string {
  if (type === "text/html")
    return `${host} answers with a web page in place of Git's data: a login page, a captive portal or a wrong source.git.url`;
  return `${host} does not answer as a Git server does (its answer is ${type === "" ? "of no type" : `of type ${type.slice(0, 80)}`}): check source.git.url`;
}

function refuseSize(response: IncomingMessage, question: GitQuestion, announced: number | undefined): never {
  response.destroy();
  const size = announced === undefined ? "" : ` (${describeSize(announced)})`;
  const hint = question.limitHint === undefined ? "" : `: ${question.limitHint}`;
  throw new GitFailure(`${question.limitOf}${size} is larger than ${describeSize(question.limitBytes)}${hint}`, {
    lasting: true,
  });
}
