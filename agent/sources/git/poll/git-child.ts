// Runs the short-lived child that fetches, and takes its answer. Called by the Git source; holds its limits.

import { runChild } from "../../../host/os/child-process.ts";
import { decodeAnswer, type FetchRequest, type FetchResult } from "./git-exchange.ts";
import { GitFailure } from "../wire/git-failure.ts";

/** The child keeps the deadline itself, and says then where it stood; after so much more it is killed. */
const GRACE_MS = 30_000;
/** The most memory the child may take. */
const MEMORY_BYTES = 320 * 1024 ** 2;
/** The largest answer of the child: this node's files are at most 32 MiB. */
const ANSWER_LIMIT_BYTES = 64 * 1024 ** 2;

/** Fetches once, and gives up when told to. Throws a `GitFailure`. */
export type Fetch = (request: FetchRequest, signal: AbortSignal) => Promise<FetchResult>;

/**
 * Fetches by a child of its own.
 * @param program whose command `git-fetch` fetches
 * @returns what fetches once, and throws the child's own `GitFailure` or one about the child
 */
export function fetchBy(program: string): Fetch {
  return (request, signal) => fetchByChild(request, program, signal);
}

async function fetchByChild(request: FetchRequest, program: string, signal: AbortSignal): Promise<FetchResult> {
  const end = await runChild({
    program,
    command: "git-fetch",
    request: JSON.stringify(request),
    deadlineMs: request.deadlineMs + GRACE_MS,
    answerLimitBytes: ANSWER_LIMIT_BYTES,
    memoryLimitBytes: MEMORY_BYTES,
    signal,
  });
  if (end.kind === "answered") return decodeAnswer(end.answer, request.node);
  if (!end.tooLarge) throw new GitFailure({ code: "child-failed", reason: end.reason });
  throw new GitFailure({ code: "fetch-too-large", ended: end.reason }, { lasting: true });
}
