// Gitea's API of commit statuses on 127.0.0.1, answering as a real Gitea 1.21 was seen to: which status and which words,
// also where it is odd (a commit that is not there is a 500; no access and not there are the same 404).

import type { IncomingMessage, ServerResponse } from "node:http";

import { LoopbackServer, type ServerCertificate } from "../../scripts/lab/git/loopback-server.ts";

/** What a token may do, and what its user may do with the repository. */
interface FakeToken {
  scope: "write:repository" | "read:repository" | "none";
  user: "writes" | "reads" | "none";
  /** The scope for issues, which is one of its own. */
  issues?: "write:issue";
}

/** One issue with its comments. */
export interface FakeIssue {
  number: number;
  title: string;
  body: string;
  state: "open" | "closed";
  comments: string[];
}

/** One row: the same context again adds a row. */
export interface FakeStatus {
  id: number;
  sha: string;
  state: string;
  context: string;
  description: string;
  target_url: string;
}

/** Something else than Gitea's answer. */
export type GiteaFault =
  | { kind: "status"; status: number; headers?: Record<string, string> }
  | { kind: "html" }
  | { kind: "garbage" }
  | { kind: "endless" }
  | { kind: "reset" }
  | { kind: "hang" }
  | { kind: "foreign-redirect"; to: string };

const PATH = /^(.*)\/api\/v1\/repos\/([^/]+\/[^/]+)\/(statuses\/([^/]+)|commits\/([^/]+)\/status|issues(?:\/.*)?)$/;

/** A server with one repository. */
export class FakeGitea {
  repository = "acme/platform";
  /** Old names; they redirect. */
  readonly renamed = new Set<string>();
  /** Where the forge is below its host. */
  sub = "";
  readonly tokens = new Map<string, FakeToken>([
    ["writer", { scope: "write:repository", user: "writes" }],
    ["keeper", { scope: "write:repository", user: "writes", issues: "write:issue" }],
    ["reader", { scope: "read:repository", user: "writes" }],
    ["unscoped", { scope: "none", user: "writes" }],
    ["weak", { scope: "write:repository", user: "reads" }],
    ["stranger", { scope: "write:repository", user: "none" }],
  ]);
  /** Whole ids of the commits that are there; every one is where this is undefined. */
  commits: Set<string> | undefined;
  readonly rows: FakeStatus[] = [];
  readonly issues: FakeIssue[] = [];
  /** The most of one page, as an administrator may lower it. */
  pageSize = 50;
  fault: GiteaFault | undefined;
  readonly seen: { method: string; path: string; authorization: string | undefined }[] = [];
  readonly #listener = new LoopbackServer();
  readonly #tls: ServerCertificate | undefined;

  /** @param tls the key and certificate of `localhost`, where it speaks TLS */
  constructor(tls?: ServerCertificate) {
    this.#tls = tls;
  }

  async start(): Promise<this> {
    await this.#listener.start((request, response) => void this.#answer(request, response), this.#tls);
    return this;
  }

  stop(): Promise<void> {
    return this.#listener.stop();
  }

  get origin(): string {
    return this.#tls === undefined
      ? `http://127.0.0.1:${this.#listener.port}`
      : `https://localhost:${this.#listener.port}`;
  }

  /** The repository as Git has it. */
  get url(): string {
    return `${this.origin}${this.sub}/${this.repository}.git`;
  }

  /** The newest row of a context. */
  newest(context: string): FakeStatus | undefined {
    return this.rows.findLast((row) => row.context === context);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    response.on("error", () => undefined);
    for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
    const url = new URL(request.url ?? "", this.origin);
    const { method = "" } = request;
    this.seen.push({ method, path: url.pathname, authorization: request.headers.authorization });
    if (this.#spoil(response)) return;
    const match = PATH.exec(url.pathname);
    if (match === null || match[1] !== this.sub) return this.#refuse(response, 404, "Not Found");
    const name = match[2] ?? "";
    if (this.renamed.has(name)) {
      const location = `${url.pathname.replace(`/repos/${name}/`, `/repos/${this.repository}/`)}${url.search}`;
      response.writeHead(307, { location, "content-type": "text/html; charset=utf-8" }).end();
      return;
    }
    const text = Buffer.concat(pieces).toString("utf8");
    if (match[3]?.startsWith("issues") === true) return this.#tendIssues(request, response, { name, url, text });
    const refusal = this.#authorize(request, name, method === "POST");
    if (refusal !== undefined) return this.#refuse(response, ...refusal);
    if (method === "POST" && match[4] !== undefined) return this.#create(response, match[4], text);
    if (method === "GET" && match[5] !== undefined) return this.#combine(response, match[5], url);
    this.#refuse(response, 405, "Method Not Allowed");
  }

  #authorize(request: IncomingMessage, name: string, isWrite: boolean): [number, string] | undefined {
    const { authorization } = request.headers;
    const missing: [number, string] = [404, "The target couldn't be found."];
    if (authorization === undefined) return missing;
    const token = this.tokens.get(readToken(authorization));
    if (token === undefined) return [401, "user does not exist [uid: 0, name: , keyid: 0]"];
    const needed = isWrite ? "write:repository" : "read:repository";
    if (token.scope === "none" || (isWrite && token.scope !== "write:repository"))
      return [403, `token does not have at least one of required scope(s): [${needed}]`];
    if (token.user === "none" || name !== this.repository) return missing;
    if (isWrite && token.user === "reads") return [403, "user should have a permission to write to a repo"];
    return undefined;
  }

  /** Issues by its documentation (swagger of 1.22), newest first; they have a scope of their own, and whoever reads may write one. */
  #tendIssues(
    request: IncomingMessage,
    response: ServerResponse,
    { name, url, text }: { name: string; url: URL; text: string },
  ): void {
    const { authorization = "" } = request.headers;
    const token = this.tokens.get(readToken(authorization));
    if (token === undefined) return this.#refuse(response, 401, "user does not exist [uid: 0, name: , keyid: 0]");
    if (token.issues === undefined)
      return this.#refuse(response, 403, "token does not have at least one of required scope(s): [write:issue]");
    if (token.user === "none" || name !== this.repository)
      return this.#refuse(response, 404, "The target couldn't be found.");
    const [, number, part] = /\/issues(?:\/(\d+)(?:\/(comments))?)?$/.exec(url.pathname) ?? [];
    const body = text === "" ? {} : (JSON.parse(text) as { title?: string; body?: string; state?: "open" | "closed" });
    if (request.method === "GET") {
      const limit = Math.min(this.pageSize, Number(url.searchParams.get("limit") ?? 30));
      const start = (Number(url.searchParams.get("page") ?? 1) - 1) * limit;
      return sendJson(response, 200, this.issues.toReversed().slice(start, start + limit));
    }
    if (number === undefined) {
      const { title = "", body: words = "" } = body;
      const issue: FakeIssue = { number: this.issues.length + 1, title, body: words, state: "open", comments: [] };
      this.issues.push(issue);
      return sendJson(response, 201, issue);
    }
    const issue = this.issues.find((entry) => entry.number === Number(number));
    if (issue === undefined) return this.#refuse(response, 404, "The target couldn't be found.");
    if (part === "comments") issue.comments.push(body.body ?? "");
    else Object.assign(issue, { state: body.state ?? issue.state });
    sendJson(response, 201, issue);
  }

  #create(response: ServerResponse, ref: string, text: string): void {
    let body: Partial<Record<"state" | "context" | "description" | "target_url", string>>;
    try {
      body = JSON.parse(text) as typeof body;
    } catch {
      return this.#refuse(response, 422, "[]: invalid character");
    }
    const sha = this.#resolve(ref);
    if (sha === undefined) return this.#refuse(response, 500, "");
    const { state = "", context = "default", description = "", target_url = "" } = body;
    const row = { id: this.rows.length + 1, sha, state, context, description, target_url };
    this.rows.push(row);
    sendJson(response, 201, mapRow(row));
  }

  /** The newest row of each context, page by page. */
  #combine(response: ServerResponse, ref: string, url: URL): void {
    const sha = this.#resolve(ref);
    if (sha === undefined) return this.#refuse(response, 404, "The target couldn't be found.");
    const newest = new Map<string, FakeStatus>();
    for (const row of this.rows) if (row.sha === sha) newest.set(row.context, row);
    const limit = Math.min(this.pageSize, Number(url.searchParams.get("limit") ?? 30));
    const start = (Number(url.searchParams.get("page") ?? 1) - 1) * limit;
    const page = [...newest.values()].slice(start, start + limit);
    if (page.length === 0) return sendJson(response, 200, { state: "", sha: "", total_count: 0, statuses: null });
    sendJson(response, 200, { state: "pending", sha, total_count: newest.size, statuses: page.map(mapRow) });
  }

  /** An abbreviated id is resolved to the whole one. */
  #resolve(ref: string): string | undefined {
    return this.commits === undefined ? ref : [...this.commits].find((sha) => sha.startsWith(ref));
  }

  #refuse(response: ServerResponse, status: number, message: string): void {
    const errors = status === 404 ? { errors: null } : {};
    sendJson(response, status, { ...errors, message, url: `${this.origin}/api/swagger` });
  }

  #spoil(response: ServerResponse): boolean {
    const { fault } = this;
    if (fault === undefined) return false;
    switch (fault.kind) {
      case "status":
        response.writeHead(fault.status, { "content-type": "text/plain", ...fault.headers }).end("no");
        break;
      case "html":
        response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<html>Sign in</html>");
        break;
      case "garbage":
        response.writeHead(201, { "content-type": "application/json" }).end("{not json");
        break;
      case "endless":
        response.writeHead(200, { "content-type": "application/json" });
        response.end(Buffer.alloc(3 * 1024 ** 2, 0x20));
        break;
      case "reset":
        response.socket?.resetAndDestroy();
        break;
      case "hang":
        break;
      case "foreign-redirect":
        response.writeHead(307, { location: fault.to }).end();
        break;
      default:
        fault satisfies never;
    }
    return true;
  }
}

/** Gitea takes a token in several forms. */
function readToken(authorization: string): string {
  const [, kind = "", value = ""] = /^(\w+) (.*)$/.exec(authorization) ?? [];
  if (kind !== "Basic") return value;
  const [user = "", password = ""] = Buffer.from(value, "base64").toString("utf8").split(":");
  return password === "" ? user : password;
}

function mapRow(row: FakeStatus): object {
  const { id, state, context, description, target_url } = row;
  return { id, status: state, context, description, target_url };
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json;charset=utf-8" }).end(JSON.stringify(body));
}
