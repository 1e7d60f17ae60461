// Why Git could not be read, in words that say where it failed and what to do. Made by whatever speaks to the server or
// reads the store; shown in status. Never holds a token: nothing the server sent is quoted but Git's own error line.

/** What a failure means for the next attempt. */
export interface FailureTraits {
  /** The same commit fails again: it is not fetched again until the branch moves. */
  lasting?: boolean;
  /** The commit was read, and its signatures do not allow it. */
  distrusted?: boolean;
  /** How long the server asked to be left alone, in milliseconds. */
  retryAfterMs?: number | undefined;
  cause?: unknown;
}

/** A failure that people can act on. */
export class GitFailure extends Error {
  readonly lasting: boolean;
  readonly distrusted: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(message: string, { lasting = false, distrusted = false, retryAfterMs, cause }: FailureTraits = {}) {
    super(message, cause === undefined ? {} : { cause });
    this.lasting = lasting;
    this.distrusted = distrusted;
    this.retryAfterMs = retryAfterMs;
  }
}

/** What the words depend on. */
export interface FailurePlace {
  host: string;
  tokenFile: string | undefined;
}

/** Says what an HTTP status other than 200 means and what to do about it. */
export function describeStatus(status: number, { host, tokenFile }: FailurePlace): string {
  const token = tokenFile === undefined ? undefined : `the token in ${tokenFile}`;
  switch (status) {
    case 401:
      return token === undefined
        ? `${host} asks for a login (401): put a token into a file and name it in source.git.token_file`
        : `${host} refuses ${token} (401): it is wrong, revoked or has run out; write a new one into the file`;
    case 403:
      return token === undefined
        ? `${host} forbids it (403): name a token that may read the repository in source.git.token_file`
        : `${host} forbids it (403): ${token} needs the right to read the repository`;
    case 404:
      return `${host} finds no such repository (404): the repository or ${token === undefined ? "a" : "the"} token's right to read it is missing${
        token === undefined ? "; a private one needs source.git.token_file" : `; check source.git.url and ${token}`
      }`;
    case 429:
      return `${host} limits the rate of requests (429)`;
    default:
      return status >= 500
        ? `${host} failed (${status}): look at the server`
        : `${host} answers with ${status}, which is none of Git's answers: check source.git.url`;
  }
}
