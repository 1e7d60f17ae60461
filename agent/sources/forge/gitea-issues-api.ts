// The issues of a repository at its forge, as far as alerts need them: found by title, made, commented, opened again. Gitea's paths, which are
// GitHub's too. Token and CA are read anew for every request. Loaded only where it is used; who calls it decides when.

import { Origin } from "../../http/origin.ts";
import { buildApiBase, type GiteaApiOptions } from "./gitea-api.ts";
import { ApiFailure } from "./gitea-failure.ts";
import { type ApiQuestion, askApi } from "./gitea-http.ts";

/** One issue. */
export interface FoundIssue {
  number: number;
  closed: boolean;
}

/** What alerts ask for. Each throws an `ApiFailure`. */
export interface ForgeIssues {
  /** The newest issue of that title; undefined where none of the newest has it. */
  find(title: string): Promise<FoundIssue | undefined>;
  create(title: string, body: string): Promise<void>;
  comment(number: number, body: string): Promise<void>;
  reopen(number: number): Promise<void>;
}

const DEADLINE_MS = 10_000;
const PAGE = 50;
/** An issue of this week is among the newest. */
const MOST_PAGES = 4;

/** The issues of one repository. */
export class GiteaIssuesApi implements ForgeIssues {
  readonly #options: GiteaApiOptions;
  readonly #base: URL;
  readonly #origin: Origin;

  /** Throws where the URL names no repository. */
  constructor(options: GiteaApiOptions) {
    this.#options = options;
    this.#base = buildApiBase(options.url, options.apiUrl);
    this.#origin = new Origin(this.#base, options);
  }

  async find(title: string): Promise<FoundIssue | undefined> {
    for (let page = 1; page <= MOST_PAGES; page += 1) {
      const answer = await this.#ask(`issues?state=all&type=issues&page=${page}&limit=${PAGE}&per_page=${PAGE}`);
      if (!Array.isArray(answer)) throw new ApiFailure(`${this.#base.host} answers without a list of issues`);
      const found = answer.find((entry: Record<string, unknown> | null) => entry?.["title"] === title);
      if (found !== undefined) return readIssue(found as Record<string, unknown>);
      if (answer.length === 0) return undefined;
    }
    return undefined;
  }

  async create(title: string, body: string): Promise<void> {
    await this.#ask("issues", { body: { title, body } });
  }

  async comment(number: number, body: string): Promise<void> {
    await this.#ask(`issues/${number}/comments`, { body: { body } });
  }

  async reopen(number: number): Promise<void> {
    await this.#ask(`issues/${number}`, { body: { state: "open" }, method: "PATCH" });
  }

  async #ask(path: string, sent: Pick<ApiQuestion, "body" | "method"> = {}): Promise<unknown> {
    const { deadlineMs = DEADLINE_MS, tokenFile, tokenKey, caFile, apiUrl } = this.#options;
    const { host } = this.#base;
    const opened = await this.#origin.open().catch((error: Error) => {
      throw new ApiFailure(error.message, { cause: error });
    });
    const urlKey = apiUrl === undefined ? "source.git.url" : "source.api_url";
    const url = new URL(`${this.#base.href}/${path}`);
    const access = { ...opened, host, tokenFile, tokenKey, caFile, urlKey, right: "write issues" };
    return askApi({ url, deadlineMs, signal: undefined, ...sent }, access);
  }
}

function readIssue({ number, state }: Record<string, unknown>): FoundIssue | undefined {
  return typeof number === "number" ? { number, closed: state === "closed" } : undefined;
}
