// Says at the forge what became of a commit on this node: one status per node, posted when it changes, one request at a time,
// the newest word only. A forge that does not take it is told in the node's status; nothing here holds up the loop.

import { makeDirectory } from "../../host/files/make-directory.ts";
import type { Note } from "../../../shared/state/note.ts";
import { readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";

import { statePath } from "../../host/state-layout.ts";
import { failAgain, type Setback } from "../../../shared/state/backoff.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import type { CancelTimer, Clock } from "../../host/os/clock.ts";
import type { GiteaApi } from "../../sources/forge/gitea-api.ts";
import {
  type CommitMemory,
  type CommitVerdict,
  dropSuperseded,
  EMPTY_COMMITS,
  judgeCommit,
  markPosted,
  buildSupersededStatus,
  SUPERSEDED,
} from "./commit-status-judge.ts";
import type { ReportLogger } from "../log/log-events.ts";
import { commitMemory, parseKept } from "../status/history-schema.ts";

/** Where statuses go. */
export interface CommitStatusSettings {
  /** The repository's URL as Git has it. */
  url: string;
  apiUrl: string | undefined;
  tokenFile: string;
  caFile: string | undefined;
  /** Where a status leads to: `{node}` and `{sha}` stand for those. */
  targetUrl: string | undefined;
}

/** What posting needs. */
export interface CommitStatusOptions {
  node: string;
  stateDir: string;
  clock: Clock;
  logger: ReportLogger;
  /** How long one request may take. */
  deadlineMs?: number;
}

/** Words that follow each other sooner wait, and only the last of them is said. */
const GAP_MS = 3_000;
const RETRY = { initialMs: 10_000, maxMs: 600_000 };
/** Not found so often, a superseded commit is taken for gone: Gitea says 500 of one that is not there. */
const MOST_MISSED = 3;

/** A failure of the API, as far as it matters here. */
type Refusal = Error & { status?: number | undefined; retryAfterMs?: number | undefined };

/** Posts the status of commits for one node. */
export class CommitStatus {
  readonly #options: CommitStatusOptions;
  readonly #file: string;
  #settings: CommitStatusSettings | undefined;
  #api: GiteaApi | undefined;
  #memory: CommitMemory;
  #written: string | undefined;
  /** What should be said now. */
  #verdict: CommitVerdict | undefined;
  /** How often the forge did not find the commit whose last word is due. */
  #missed = 0;
  #posting: Promise<void> | undefined;
  #saving: Promise<void> = Promise.resolve();
  #cancelWait: CancelTimer | undefined;
  /** The last failure, on the monotonic clock. */
  #setback: Setback | undefined;
  /** The same of the newest word: what people are told. */
  #failure: (Setback & { sha: string }) | undefined;
  #ending = new AbortController();

  constructor(options: CommitStatusOptions) {
    this.#options = options;
    this.#file = statePath(options.stateDir, "commitStatus");
    this.#memory = readMemory(this.#file);
  }

  /** Takes over where statuses go; undefined for nowhere. */
  configure(settings: CommitStatusSettings | undefined): void {
    if (JSON.stringify(settings) === JSON.stringify(this.#settings)) return;
    this.#settings = settings;
    this.#api = undefined;
    this.#setback = undefined;
    this.#failure = undefined;
    this.#cancelWait?.();
    this.#cancelWait = undefined;
    this.#begin();
  }

  /** True while a request is under way. */
  get isBusy(): boolean {
    return this.#posting !== undefined;
  }

  /** What is wrong with it. */
  get note(): Note | undefined {
    if (this.#failure === undefined) return undefined;
    const { message, nextMs, sha } = this.#failure;
    const waitMs = Math.max(0, nextMs - this.#options.clock.monotonicMs());
    const name = `the status of commit ${sha.slice(0, 12)} is not told: ${message}`;
    return { name, text: `${name}; next try in ${describeDuration(waitMs)}` };
  }

  /** Takes an event of the agent. */
  hear(event: AgentEvent): void {
    if (event.kind !== "turn" || this.#ending.signal.aborted) return;
    const { memory, verdict } = judgeCommit(this.#memory, event.turn);
    if (memory !== this.#memory) {
      this.#memory = memory;
      if (this.#settings !== undefined) this.#save();
    }
    this.#verdict = verdict;
    // What could not be told is true no more, and what the forge has taken is.
    if (verdict === undefined) this.#failure = undefined;
    this.#begin();
  }

  /** Ends; what was not said is said by the next agent. */
  async close(): Promise<void> {
    this.#ending.abort();
    this.#cancelWait?.();
    this.#cancelWait = undefined;
    await this.#posting;
    await this.#saving;
  }

  #begin(): void {
    // The newest word first: what is left to be said of older commits has time.
    const next = this.#verdict ?? buildSupersededStatus(this.#memory);
    if (this.#settings === undefined || next === undefined || this.#ending.signal.aborted) return;
    if (this.#posting !== undefined || this.#cancelWait !== undefined) return;
    this.#posting = this.#post(next, this.#settings).finally(() => {
      this.#posting = undefined;
    });
  }

  /** One request, and then the wait before the next one. Never throws. */
  async #post(verdict: CommitVerdict, settings: CommitStatusSettings): Promise<void> {
    const { node, logger } = this.#options;
    const { sha, state, description } = verdict;
    const fields = { sha, state, description };
    try {
      const api = await this.#openApi(settings);
      const targetUrl = settings.targetUrl?.replaceAll("{node}", encodeURIComponent(node)).replaceAll("{sha}", sha);
      await api.postStatus(sha, { state, context: `orca/${node}`, description, targetUrl }, this.#ending.signal);
    } catch (error) {
      if (this.#ending.signal.aborted || this.#settings !== settings) return;
      if (verdict.key === SUPERSEDED) this.#failFarewell(sha, error as Refusal);
      else this.#fail(verdict, error as Refusal);
      return;
    }
    if (this.#failure !== undefined) logger.info({}, "commit statuses are told again");
    logger.info(fields, "commit status told");
    this.#setback = undefined;
    this.#missed = 0;
    this.#failure = undefined;
    this.#memory = markPosted(this.#memory, verdict);
    if (this.#verdict?.sha === sha && this.#verdict.key === verdict.key) this.#verdict = undefined;
    this.#save();
    await this.#saving;
    this.#wait(GAP_MS);
  }

  async #openApi({ url, apiUrl, tokenFile, caFile }: CommitStatusSettings): Promise<GiteaApi> {
    if (this.#api !== undefined) return this.#api;
    const { deadlineMs } = this.#options;
    const { GiteaApi: Api } = await import("../../sources/forge/gitea-api.ts");
    const limits = deadlineMs === undefined ? {} : { deadlineMs };
    this.#api = new Api({ url, apiUrl, tokenFile, tokenKey: "source.status_token_file", caFile, ...limits });
    return this.#api;
  }

  /** A commit that was overtaken may be gone at the forge: its last word is given up where that seems so. */
  #failFarewell(sha: string, error: Refusal): void {
    const { logger, clock } = this.#options;
    logger.debug({ sha, error: error.message }, "the last word on a superseded commit could not be told");
    this.#missed += error.status === 404 || error.status === 500 ? 1 : 0;
    if (this.#missed >= MOST_MISSED) {
      this.#memory = dropSuperseded(this.#memory, sha);
      this.#missed = 0;
      this.#save();
    }
    this.#wait(this.#failAgain(error).nextMs - clock.monotonicMs());
  }

  #failAgain({ message, retryAfterMs = 0 }: Refusal): Setback {
    const { node, clock } = this.#options;
    const failed = { nowMs: clock.monotonicMs(), message, key: node, leastMs: retryAfterMs };
    this.#setback = failAgain(this.#setback, RETRY, failed);
    return this.#setback;
  }

  /** Says once what is wrong, and when the newest word is tried again. */
  #fail({ sha }: CommitVerdict, error: Refusal): void {
    const { logger, clock } = this.#options;
    const setback = this.#failAgain(error);
    const delayMs = setback.nextMs - clock.monotonicMs();
    if (this.#failure?.message !== error.message)
      logger.warn({ sha, error: error.message, retryMs: delayMs }, "a commit status could not be told");
    this.#failure = { ...setback, sha };
    this.#wait(delayMs);
  }

  #wait(delayMs: number): void {
    if (this.#ending.signal.aborted) return;
    this.#cancelWait = this.#options.clock.after(delayMs, () => {
      this.#cancelWait = undefined;
      this.#begin();
    });
  }

  #save(): void {
    this.#saving = this.#saving.then(() => this.#write());
  }

  async #write(): Promise<void> {
    const text = JSON.stringify({ version: 1, ...this.#memory });
    if (text === this.#written) return;
    try {
      await makeDirectory(this.#options.stateDir, 0o700);
      await writeFile(`${this.#file}.new`, text, { mode: 0o600 });
      await rename(`${this.#file}.new`, this.#file);
      this.#written = text;
    } catch {
      // A full disk costs a status that is told twice after a restart, and nothing else.
    }
  }
}

function readMemory(file: string): CommitMemory {
  try {
    return commitMemory.safeParse(parseKept(readFileSync(file, "utf8"))).data ?? EMPTY_COMMITS;
  } catch {
    return EMPTY_COMMITS;
  }
}
