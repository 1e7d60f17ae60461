// One question to a forge's API, in JSON: what its answers mean. A redirect is followed within the origin (a renamed repository is
// a 307); the token goes to that origin in a header and nowhere else. Used by gitea-api.ts alone.

import type { Agent } from "node:http";

import type { Secret } from "../../../shared/secret/secret.ts";
import { ask, type WholeAnswer } from "../../http/exchange.ts";
import { describeExchange } from "../../../shared/text/words/exchange-words.ts";
import { ExchangeFailure } from "../../http/exchange-failure.ts";
import { buildAuthorization } from "../../http/origin.ts";
import { parseRetryAfter } from "../../http/retry-after.ts";
import { ApiFailure, type ApiPlace, describeApiStatus } from "./gitea-failure.ts";

/** One request. */
export interface ApiQuestion {
  url: URL;
  /** Sent as JSON, by POST where no other method is said; left out for GET. */
  body?: object;
  method?: "PATCH";
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
/** What is read of an answer that refuses: enough for its words. */
const REFUSAL_BYTES = LIMIT_BYTES / 64;
const GOOD: ReadonlySet<number> = new Set([200, 201]);

/** Asks once; answers the JSON of a 200 or 201, or throws an `ApiFailure`. */
export async function askApi({ url, body, ...limits }: ApiQuestion, access: ApiAccess): Promise<unknown> {
  const { token, agent } = access;
  const json = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
  const type = json === undefined ? {} : { "content-type": "application/json" };
  try {
    const answer = await ask({
      ...limits,
      url,
      body: json,
      headers: { accept: "application/json", "user-agent": "orca", ...type },
      authorization: token === undefined ? undefined : buildAuthorization(token, (text) => `token ${text}`),
      agent,
      judge: ({ status }) =>
        GOOD.has(status) ? { limitBytes: LIMIT_BYTES } : { limitBytes: REFUSAL_BYTES, cut: true },
    });
    return parseJson(answer, access);
  } catch (error) {
    throw error instanceof ExchangeFailure ? describeFailure(error, access) : error;
  }
}

function describeFailure(error: ExchangeFailure, { host, caFile, urlKey }: ApiAccess): ApiFailure {
  const { fault } = error;
  if (fault.kind === "too-large")
    return new ApiFailure(`${host} sends an answer larger than 1 MiB: check source.api_url`);
  const place = {
    host,
    who: "the API",
    urlKey,
    redirectHint: "write it into source.api_url",
    caKey: "source.git.ca_file",
    caFile,
  };
  return new ApiFailure(describeExchange(fault, place), { cause: error });
}

function parseJson({ status, type, headers, content }: WholeAnswer, access: ApiAccess): unknown {
  const text = content.toString("utf8");
  if (!GOOD.has(status)) {
    const retryAfterMs = parseRetryAfter(headers["retry-after"], Date.now());
    throw new ApiFailure(describeApiStatus(status, text, access), { status, retryAfterMs });
  }
  if (type === "text/html")
    throw new ApiFailure(`${access.host} answers with a web page in place of the API's JSON: check source.api_url`);
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiFailure(`${access.host} does not answer with JSON, as the API does: check source.api_url`);
  }
}
