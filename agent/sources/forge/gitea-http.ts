// One JSON exchange with a forge's API: a deadline, a size limit, redirects within the same origin alone (a renamed
// repository is a 307). The token goes to that origin in a header and nowhere else. Used by gitea-api.ts alone.

import { type Agent, type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";

import type { Secret } from "../../../shared/secret/secret.ts";
import { parseRetryAfter } from "../git/wire/git-failure.ts";
import { ApiFailure, type ApiPlace, describeApiNetwork, describeApiStatus } from "./gitea-failure.ts";

/** One request. */
export interface ApiQuestion {
  url: URL;
  /** Sent as JSON by POST; left out for GET. */
  body?: object;
  deadlineMs: number;
  signal: AbortSignal | undefined;
}

/** How the server is spoken to. */
export interface ApiAccess extends ApiPlace {
  token: Secret | undefined;
  agent: Agent | undefined;
}

/** The largest answer that is read. */
const LIMIT_BYTES = 1024 ** 2;
const MOST_REDIRECTS = 3;

/** Asks once; answers the JSON of a 200 or 201, or throws an `ApiFailure`. */
export async function askApi(question: ApiQuestion, access: ApiAccess): Promise<unknown> {
  const late = AbortSignal.timeout(question.deadlineMs);
  const signal = question.signal === undefined ? late : AbortSignal.any([late, question.signal]);
  try {
    let { url } = question;
    for (let hop = 0; ; hop += 1) {
      const response = await send({ ...question, url, signal }, access);
      const status = response.statusCode ?? 0;
      if (![301, 302, 303, 307, 308].includes(status)) return await readJson(response, access);
      response.destroy();
      if (hop === MOST_REDIRECTS) throw new ApiFailure(`${access.host} redirects in circles: check source.api_url`);
      url = followRedirect(url, response, { host: access.host, isGet: question.body === undefined });
    }
  } catch (error) {
    if (late.aborted)
      throw new ApiFailure(`${access.host} gave no whole answer within ${question.deadlineMs / 1_000} s`);
    if (error instanceof ApiFailure) throw error;
    throw new ApiFailure(describeApiNetwork(error as NodeJS.ErrnoException, access), { cause: error });
  }
}

function send({ url, body, signal }: ApiQuestion, access: ApiAccess): Promise<IncomingMessage> {
  const text = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const request = (url.protocol === "https:" ? requestHttps : requestHttp)(url, {
      method: text === undefined ? "GET" : "POST",
      agent: access.agent ?? false,
      ...(signal === undefined ? {} : { signal }),
      headers: {
        accept: "application/json",
        "user-agent": "orca",
        ...(access.token === undefined ? {} : { authorization: buildAuthorization(access.token) }),
        ...(text === undefined ? {} : { "content-type": "application/json", "content-length": text.length }),
      },
    });
    request.once("response", resolve);
    request.on("error", reject);
    request.end(text);
  });
}

/** A token alone is sent as Gitea and GitHub know it; `user:token` as Basic authentication. */
function buildAuthorization(token: Secret): string {
  const text = token.expose();
  return text.includes(":") ? `Basic ${Buffer.from(text).toString("base64")}` : `token ${text}`;
}

function followRedirect(
  from: URL,
  { statusCode, headers }: IncomingMessage,
  { host, isGet }: { host: string; isGet: boolean },
): URL {
  const { location } = headers;
  if (location === undefined || !URL.canParse(location, from.href))
    throw new ApiFailure(`${host} redirects (${statusCode}) without saying where to`);
  const target = new URL(location, from);
  if (target.origin !== from.origin)
    throw new ApiFailure(
      `${host} redirects to ${target.origin}, another origin, where the token does not go: write it into source.api_url`,
    );
  // Any other redirect would make a GET of a POST, and look like success.
  if (!isGet && statusCode !== 307 && statusCode !== 308)
    throw new ApiFailure(`${host} redirects a request of the API (${statusCode}): check source.api_url`);
  return target;
}

async function readJson(response: IncomingMessage, access: ApiAccess): Promise<unknown> {
  const status = response.statusCode ?? 0;
  const isGood = status === 200 || status === 201;
  const text = await readText(response, isGood ? LIMIT_BYTES : LIMIT_BYTES / 64, isGood ? access.host : undefined);
  if (!isGood) {
    const retryAfterMs = parseRetryAfter(response.headers["retry-after"], Date.now());
    throw new ApiFailure(describeApiStatus(status, text, access), { status, retryAfterMs });
  }
  const type = (response.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase();
  if (type === "text/html")
    throw new ApiFailure(`${access.host} answers with a web page in place of the API's JSON: check source.api_url`);
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiFailure(`${access.host} does not answer with JSON, as the API does: check source.api_url`);
  }
}

/** @param host set where an answer that is too large is a failure; else it is cut */
async function readText(response: IncomingMessage, limitBytes: number, host: string | undefined): Promise<string> {
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  for await (const piece of response as AsyncIterable<Buffer>) {
    sizeBytes += piece.length;
    if (sizeBytes > limitBytes) {
      response.destroy();
      if (host === undefined) break;
      throw new ApiFailure(`${host} sends an answer larger than 1 MiB: check source.api_url`);
    }
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}
