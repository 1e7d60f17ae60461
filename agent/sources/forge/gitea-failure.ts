// Why the forge's API could not be used, in words that say what to do about it. Made by gitea-http.ts and gitea-api.ts,
// shown in status. Never holds a token: nothing that the server sent is quoted, it is only told apart.

/** What is known of a failure besides its words. */
export interface ApiFailureTraits {
  /** The HTTP status; undefined where there was no answer. */
  status?: number | undefined;
  /** How long the server asked to be left alone, in milliseconds. */
  retryAfterMs?: number | undefined;
  cause?: unknown;
}

/** A request to the API that failed, in words that people can act on. */
export class ApiFailure extends Error {
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(message: string, { status, retryAfterMs, cause }: ApiFailureTraits = {}) {
    super(message, cause === undefined ? {} : { cause });
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** What the words depend on. */
export interface ApiPlace {
  host: string;
  tokenFile: string | undefined;
  /** The key of agent.toml that names the token's file. */
  tokenKey: string;
  caFile: string | undefined;
  /** The key of agent.toml that names the API's server. */
  urlKey: string;
  /** The right that the request needs, in words: `write the repository`. */
  right: string;
}

/**
 * Says what an answer other than the expected one means and what to do about it.
 * @param sent what the server said of it; used to tell cases apart and never quoted
 */
export function describeApiStatus(status: number, sent: string, place: ApiPlace): string {
  const { host, tokenFile, tokenKey, right } = place;
  const token = tokenFile === undefined ? undefined : `the token in ${tokenFile}`;
  switch (status) {
    case 401:
      return token === undefined
        ? `${host} asks for a login (401): name a token's file in ${tokenKey}`
        : `${host} does not know ${token} (401): it is wrong, revoked or has run out; write a new one into the file`;
    case 403:
      return describeForbidden(sent, place);
    case 404:
      return `${host} finds no such repository or commit (404): ${token ?? "no token was sent, and one"} must ${right}; check ${tokenKey} and the URL`;
    case 422:
      return `${host} does not accept the request (422): check source.api_url`;
    case 429:
      return `${host} limits the rate of requests (429)`;
    case 500:
      return `${host} failed (500): the commit may be gone there, for example after a force-push; else look at the server`;
    default:
      return status > 500
        ? `${host} failed (${status}): look at the server`
        : `${host} answers with ${status}, which is none of the API's answers: check source.api_url`;
  }
}

function describeForbidden(sent: string, { host, tokenFile, tokenKey, right }: ApiPlace): string {
  const token = tokenFile === undefined ? `the token that ${tokenKey} should name` : `the token in ${tokenFile}`;
  const scope = /scope\(s\): \[([a-z]+:[a-z]+)\]/.exec(sent)?.[1];
  if (scope !== undefined) return `${host} forbids it (403): ${token} needs the scope ${scope}`;
  if (sent.includes("permission"))
    return `${host} forbids it (403): the user of ${token} may not ${right}; give that user the right`;
  return `${host} forbids it (403): ${token} must ${right}`;
}
