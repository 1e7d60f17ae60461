// One question to a Git server: what of its answer is Git's data, and what every other answer means. The token goes as Basic
// authentication to the configured origin and nowhere else. Used by the poll and by the child that fetches.

import type { Agent, OutgoingHttpHeaders } from "node:http";

import type { Secret } from "../../../../shared/secret/secret.ts";
import { type AnswerHead, ask, type Reading, type WholeAnswer } from "../../../http/exchange.ts";
import { ExchangeFailure } from "../../../http/exchange-failure.ts";
import { buildAuthorization, buildBasic } from "../../../http/origin.ts";
import { parseRetryAfter } from "../../../http/retry-after.ts";
import type { SourceFault } from "../../../../shared/state/hold.ts";
import { GitFailure } from "./git-failure.ts";

/** What one question is made of. */
export interface GitQuestion {
  url: URL;
  /** Left out for GET. */
  body?: Uint8Array;
  headers: OutgoingHttpHeaders;
  /** The media type that an answer of Git has. */
  expect: string;
  deadlineMs: number;
  /** The whole time that the deadline is the rest of, where other questions have taken their share. */
  ofMs?: number | undefined;
  limitBytes: number;
  /** What the limit is for, in words. */
  limitOf: string;
  /** What to do about an answer that is larger. */
  limitHint?: string;
  /** Takes the pieces of the answer as they come, in place of keeping them. */
  sink?: (piece: Buffer) => Promise<void>;
}

/** How the server is spoken to. */
export interface GitAccess {
  host: string;
  tokenFile: string | undefined;
  token: Secret | undefined;
  caFile: string | undefined;
  agent: Agent | undefined;
  signal: AbortSignal | undefined;
}

/** Asks once; answers with Git's data or throws a `GitFailure` that says what to do. */
export async function askGit(question: GitQuestion, access: GitAccess): Promise<WholeAnswer> {
  const { url, body, headers, deadlineMs } = question;
  const { token, agent, signal } = access;
  try {
    return await ask({
      url,
      body,
      headers: { "user-agent": "git/orca", ...headers },
      authorization: token === undefined ? undefined : buildAuthorization(token, describeAlone),
      agent,
      signal,
      deadlineMs,
      judge: (head) => judgeAnswer(head, question, access),
    });
  } catch (error) {
    throw error instanceof ExchangeFailure ? describeFailure(error, question, access) : error;
  }
}

/** A token alone is sent with the user name that GitHub and Gitea know for tokens. */
function describeAlone(token: string): string {
  return buildBasic(`x-access-token:${token}`);
}

function judgeAnswer({ status, type, headers }: AnswerHead, question: GitQuestion, access: GitAccess): Reading {
  if (status !== 200) {
    const retryAfterMs = parseRetryAfter(headers["retry-after"], Date.now());
    throw new GitFailure(
      { code: "http-status", status, host: access.host, tokenFile: access.tokenFile },
      { retryAfterMs },
    );
  }
  if (type !== question.expect) throw new GitFailure({ code: "not-git", host: access.host, type: type.slice(0, 80) });
  return { limitBytes: question.limitBytes, sink: question.sink };
}

function describeFailure(error: ExchangeFailure, question: GitQuestion, { host, caFile }: GitAccess): GitFailure {
  const { deadlineMs, ofMs = deadlineMs } = question;
  const fault = error.fault.kind === "late" ? { ...error.fault, deadlineMs: ofMs } : error.fault;
  if (fault.kind === "too-large") return new GitFailure(buildExcess(question, fault.announcedBytes), { lasting: true });
  const place = {
    host,
    who: "Git",
    urlKey: "source.git.url",
    redirectHint: "correct source.git.url",
    caKey: "source.git.ca_file",
    caFile,
  };
  return new GitFailure({ code: "exchange", fault, place }, { cause: error });
}

function buildExcess(question: GitQuestion, announcedBytes: number | undefined): SourceFault {
  const { limitOf: what, limitBytes, limitHint: hint } = question;
  return { code: "too-large", what, limitBytes, announcedBytes, hint };
}
