// The forge's API, as far as Orca needs it: says the status of a commit, and reads it. Gitea's paths, which are GitHub's
// too. Token and CA are read anew for every request. Who calls it decides when, how often and what a failure means.

import { Origin } from "../../http/origin.ts";
import { ApiFailure } from "./gitea-failure.ts";
import { type ApiAccess, askApi } from "./gitea-http.ts";

/** The states of a commit status that every forge knows. */
const COMMIT_STATES = ["pending", "success", "failure", "error"] as const;

/** One of `COMMIT_STATES`. */
export type CommitState = (typeof COMMIT_STATES)[number];

/** One status of a commit. */
export interface CommitStatus {
  state: CommitState;
  /** Which of a commit's statuses it is; a newer one of the same context takes its place. */
  context: string;
  description: string;
  targetUrl?: string | undefined;
}

/** Where the API is and how it is spoken to. */
export interface GiteaApiOptions {
  /** The repository's URL as Git has it: the API's place is derived from it. */
  url: string;
  /** The API's base, where it is elsewhere: `https://api.github.com`. */
  apiUrl?: string | undefined;
  /** Root-owned 0600 file with the token; reading statuses needs the right to read, saying them the right to write. */
  tokenFile: string | undefined;
  /** The key of agent.toml that named the file, for messages. */
  tokenKey: "source.git.token_file" | "source.status_token_file";
  caFile: string | undefined;
  /** How long one request may take; 10 s unless said otherwise. */
  deadlineMs?: number;
}

const DEADLINE_MS = 10_000;
/** What Gitea gives at most of one page; servers may give less. */
const PAGE = 50;
/** More contexts than this no commit has. */
const MOST_PAGES = 20;

/** The API of one repository. */
export class GiteaApi {
  readonly #options: GiteaApiOptions;
  /** The repository's URL in the API. */
  readonly #base: URL;
  readonly #origin: Origin;

  /** Throws where the URL names no repository. */
  constructor(options: GiteaApiOptions) {
    this.#options = options;
    this.#base = buildApiBase(options.url, options.apiUrl);
    this.#origin = new Origin(this.#base, options);
  }

  /** Where it is, for messages. */
  get host(): string {
    return this.#base.host;
  }

  /** Says a status of a commit. Throws an `ApiFailure`. */
  async postStatus(sha: string, status: CommitStatus, signal?: AbortSignal): Promise<void> {
    const { state, context, description, targetUrl } = status;
    await this.#ask(`statuses/${encodeURIComponent(sha)}`, {
      right: "write the repository",
      body: { state, context, description, ...(targetUrl === undefined ? {} : { target_url: targetUrl }) },
      signal,
    });
  }

  /**
   * The newest state of one context of a commit.
   * @returns undefined where the commit has no status of that context. Throws an `ApiFailure`.
   */
  async readStatus(sha: string, context: string, signal?: AbortSignal): Promise<CommitState | undefined> {
    for (let page = 1; page <= MOST_PAGES; page += 1) {
      const path = `commits/${encodeURIComponent(sha)}/status?page=${page}&limit=${PAGE}&per_page=${PAGE}`;
      const statuses = readStatuses(await this.#ask(path, { right: "read the repository", signal }));
      if (statuses === undefined)
        throw new ApiFailure(`${this.host} answers without the commit's statuses: check source.api_url`);
      const found = statuses.find((status) => status.context === context);
      if (found !== undefined) return mapState(found.state);
      if (statuses.length === 0) return undefined;
    }
    return undefined;
  }

  async #ask(
    path: string,
    { right, body, signal }: { right: string; body?: object; signal: AbortSignal | undefined },
  ): Promise<unknown> {
    const { deadlineMs = DEADLINE_MS } = this.#options;
    const url = new URL(`${this.#base.href}/${path}`);
    return askApi({ url, deadlineMs, signal, ...(body === undefined ? {} : { body }) }, await this.#openAccess(right));
  }

  async #openAccess(right: string): Promise<ApiAccess> {
    const { tokenFile, tokenKey, caFile, apiUrl } = this.#options;
    const opened = await this.#origin.open().catch(refuseFile);
    const urlKey = apiUrl === undefined ? "source.git.url" : "source.api_url";
    return { ...opened, host: this.host, tokenFile, tokenKey, caFile, urlKey, right };
  }
}

function refuseFile(error: Error): never {
  throw new ApiFailure(error.message, { cause: error });
}

/**
 * The repository's URL in the API: `https://host[/sub]/owner/name[.git]` gives `https://host[/sub]/api/v1/repos/owner/name`.
 * Throws where the URL has no owner and name.
 */
export function buildApiBase(url: string, apiUrl?: string): URL {
  const { pathname, origin } = new URL(url);
  const segments = pathname
    .replace(/\/+$/, "")
    .replace(/\.git$/, "")
    .split("/")
    .filter((segment) => segment !== "");
  const [owner, name] = segments.slice(-2);
  if (owner === undefined || name === undefined)
    throw new Error(`${url} does not end with owner/repository, so its API cannot be found`);
  const sub = segments
    .slice(0, -2)
    .map((segment) => `/${segment}`)
    .join("");
  const api = apiUrl?.replace(/\/+$/, "") ?? `${origin}${sub}/api/v1`;
  return new URL(`${api}/repos/${owner}/${name}`);
}

interface FoundStatus {
  context: string;
  state: string;
}

/** The statuses of an answer; undefined where it is none. A commit without any has null in place of the list. */
function readStatuses(answer: unknown): FoundStatus[] | undefined {
  if (typeof answer !== "object" || answer === null || !("statuses" in answer)) return undefined;
  const { statuses } = answer;
  if (statuses === null) return [];
  if (!Array.isArray(statuses)) return undefined;
  return statuses.flatMap((entry: Record<string, unknown> | null) => {
    // Gitea calls it `status` in an answer, and GitHub `state`.
    const { context, status, state } = entry ?? {};
    return typeof context === "string" ? [{ context, state: String(status ?? state) }] : [];
  });
}

/** A state that Orca does not know (Gitea takes any word, and knows `warning`) is never success. */
function mapState(state: string): CommitState {
  return COMMIT_STATES.find((known) => known === state) ?? "error";
}
