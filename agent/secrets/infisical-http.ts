// The SDK's requests, watched: it repeats a request that was reset or refused for its rate, and knows no retry-after, so
// the first such answer ends the whole round here. Only the child uses it; it replaces `fetch` in that process alone.

/** Ends a round: nothing more is asked of the server now. */
export class RoundEnded extends Error {
  readonly waitMs: number | undefined;
  constructor(message: string, waitMs?: number) {
    super(message);
    this.waitMs = waitMs;
  }
}

/** What a server said to one request that it refused. */
export interface Refusal {
  status: number;
  /** Infisical's own word for it, such as `TokenError`. */
  error: string;
  message: string;
}

/** How long a server that gave no number is left alone after a 429. */
const DEFAULT_WAIT_MS = 60_000;
const LONGEST_WAIT_MS = 3_600_000;

/** Watches every request of this process. */
export class WatchedFetch {
  /** Rejects when the round has ended, whatever the SDK still tries. */
  readonly ended: Promise<never>;
  logins = 0;
  requests = 0;
  /** The token that the last login gave. */
  token: { value: string; expiresInMs: number } | undefined;
  /** What the server said to the newest refused request, by its URL. */
  readonly #refusals = new Map<string, Refusal>();
  #end: (error: RoundEnded) => void = () => undefined;
  #hasEnded = false;
  readonly #fetch = globalThis.fetch;
  readonly #signal: AbortSignal;

  constructor(deadlineMs: number) {
    this.ended = new Promise((_resolve, reject) => {
      this.#end = (error) => {
        this.#hasEnded = true;
        reject(error);
      };
    });
    this.ended.catch(() => undefined);
    this.#signal = AbortSignal.timeout(deadlineMs);
    this.#signal.addEventListener("abort", () => this.#end(new RoundEnded(`no answer within ${deadlineMs / 1_000} s`)));
    globalThis.fetch = (input, init) => this.#answer(String(input instanceof Request ? input.url : input), init);
  }

  /** What the server said to a request whose URL has this path. */
  findRefusal(message: string): Refusal | undefined {
    return [...this.#refusals].findLast(([url]) => message.includes(`[URL=${url}]`))?.[1];
  }

  /** The SDK would only try again what ended the round: it is not answered any more, and asks nothing more. */
  async #answer(url: string, init: RequestInit | undefined): Promise<Response> {
    try {
      if (!this.#hasEnded) return await this.#ask(url, init);
    } catch (error) {
      if (!(error instanceof RoundEnded)) throw error;
    }
    return new Promise(() => undefined);
  }

  async #ask(url: string, init: RequestInit | undefined): Promise<Response> {
    const isLogin = url.endsWith("/auth/universal-auth/login");
    if (isLogin) this.logins += 1;
    else this.requests += 1;
    const response = await this.#send(url, init);
    const text = await response.text().catch((error: unknown) => this.#give(describeNetworkError(error)));
    const body = parseJson(text);
    if (response.status === 429) this.#give("it asks for fewer requests (429)", readRetryAfter(response));
    if (response.status >= 500)
      this.#give(`it answered ${response.status}: ${readText(body, "message") ?? "no reason"}`);
    if (body === undefined)
      this.#give(`it answered ${response.status} with something that is no JSON: is it Infisical?`);
    if (response.status === 404 && readText(body, "error") === "Not Found")
      this.#give("it does not know what it was asked for: is it Infisical?");
    if (!response.ok) {
      const message = readText(body, "message") ?? "no reason";
      this.#refusals.set(url, { status: response.status, error: readText(body, "error") ?? "", message });
    } else if (isLogin) {
      this.token = readToken(body);
      if (this.token === undefined) this.#give("its answer to the login holds no token: is it Infisical?");
    }
    return new Response(text, { status: response.status, headers: { "content-type": "application/json" } });
  }

  async #send(url: string, init: RequestInit | undefined): Promise<Response> {
    try {
      // A server that sends us elsewhere gets no credentials there.
      return await this.#fetch(url, { ...init, redirect: "error", signal: this.#signal });
    } catch (error) {
      return this.#give(describeNetworkError(error));
    }
  }

  /** Ends the round. */
  #give(reason: string, waitMs?: number): never {
    const error = new RoundEnded(reason, waitMs);
    this.#end(error);
    throw error;
  }
}

function describeNetworkError(error: unknown): string {
  const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
  return cause?.code ?? cause?.message ?? (error instanceof Error ? error.message : "the connection failed");
}

function readRetryAfter(response: Response): number {
  const text = response.headers.get("retry-after") ?? "";
  const seconds = /^\d{1,6}$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1_000;
  const waitMs = Number.isNaN(seconds) ? DEFAULT_WAIT_MS : seconds * 1_000;
  return Math.min(LONGEST_WAIT_MS, Math.max(0, waitMs));
}

function parseJson(text: string): unknown {
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === "object" && body !== null ? body : undefined;
  } catch {
    return undefined;
  }
}

function readText(body: unknown, key: string): string | undefined {
  const value = (body as Record<string, unknown> | undefined)?.[key];
  return typeof value === "string" ? value.slice(0, 200) : undefined;
}

function readToken(body: unknown): { value: string; expiresInMs: number } | undefined {
  const { accessToken, expiresIn } = body as { accessToken?: unknown; expiresIn?: unknown };
  if (typeof accessToken !== "string" || typeof expiresIn !== "number") return undefined;
  return { value: accessToken, expiresInMs: expiresIn * 1_000 };
}
