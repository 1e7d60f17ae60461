// A server that answers as real Infisical servers were seen to, of 2024 and of 2026: logins with lock-out and an old bearer, tokens that
// expire or are revoked, trusted addresses, a rate limiter. It can be slow, hang, reset, be broken. What it holds: infisical-vault.ts.

import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";

import { type Answer, type Generation, InfisicalVault, refuse } from "./infisical-vault.ts";

/** What goes wrong, for as long as it is set. */
export type InfisicalFault =
  | { kind: "status"; status: number; body: string; type?: string; retryAfter?: string }
  | { kind: "rate"; retryAfter: string | undefined }
  | { kind: "reset" }
  | { kind: "hang" }
  | { kind: "slow"; ms: number }
  | { kind: "redirect"; to: string };

/** One request as it came. */
export interface SeenRequest {
  method: string;
  path: string;
  query: URLSearchParams;
  authorization: string | undefined;
}

/** Why a token is good for nothing. */
type TokenFault = "revoked" | "secret-revoked" | "used-up";

const PROJECT = "0f5a2f0e-6a3c-4f53-8c5f-0b7f6f2f9b11";
/** Wrong secrets in a row until the identity is locked, right ones too. */
const LOCK_AFTER = 3;
const MINUTE_MS = 60_000;

/** A fake Infisical. */
export class FakeInfisical {
  readonly project = PROJECT;
  readonly environment = "prod";
  readonly clientId = "client-id";
  clientSecret = "client-secret-canary";
  readonly generation: Generation;
  readonly vault: InfisicalVault;
  tokenSeconds = 3_600;
  /** How often a token may be used. */
  tokenUses = Number.POSITIVE_INFINITY;
  isMember = true;
  /** False: it knows no project with this id. */
  isProjectThere = true;
  /** False: the host is outside the addresses that its tokens are trusted from. */
  isTrustedAddress = true;
  /** Gives tokens that it then refuses, as after its signing key was lost. */
  refusesTokens = false;
  /** Reads that one address may make in a minute; all nodes behind it share them. */
  readsPerMinute = Number.POSITIVE_INFINITY;
  /** Its clock, for the limiter alone. */
  nowMs: () => number = () => performance.now();
  fault: InfisicalFault | undefined;
  /** Restricts the fault to logins or to all else. */
  faultAt: "login" | "secrets" | undefined;
  readonly seen: SeenRequest[] = [];
  #wrong = 0;
  #window = { untilMs: Number.NEGATIVE_INFINITY, reads: 0 };
  #tokens = new Map<string, { untilMs: number; left: number; fault?: TokenFault }>();
  #server: Server;
  #port = 0;
  readonly #tls: boolean;

  constructor(generation: Generation, tls?: { key: string; cert: string }) {
    this.generation = generation;
    this.vault = new InfisicalVault(generation);
    this.#tls = tls !== undefined;
    const serve = (request: IncomingMessage, response: ServerResponse): void => void this.#serve(request, response);
    this.#server = tls === undefined ? createServer(serve) : createTlsServer(tls, serve);
  }

  /** Path → value, as somebody wrote it. */
  get secrets(): Map<string, string> {
    return this.vault.secrets;
  }

  get hidden(): Set<string> {
    return this.vault.hidden;
  }

  get imports(): Map<string, string[]> {
    return this.vault.imports;
  }

  set scopes(scopes: string[]) {
    this.vault.scopes = scopes;
  }

  /** Begins to listen, on the same port again after `close`. */
  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  get url(): string {
    return this.#tls ? `https://localhost:${this.#port}` : `http://127.0.0.1:${this.#port}`;
  }

  /** Every token given so far is worth nothing from now on, as if its time were over. */
  expireTokens(): void {
    for (const token of this.#tokens.values()) token.untilMs = 0;
  }

  /** Somebody revoked every token given so far. */
  revokeTokens(fault: TokenFault = "revoked"): void {
    for (const token of this.#tokens.values()) token.fault = fault;
  }

  /** Somebody makes a new client secret and revokes the old one, and with it the tokens that it gave. */
  rotateClientSecret(secret: string): void {
    this.clientSecret = secret;
    this.revokeTokens("secret-revoked");
  }

  /** As after the time of a lock-out. */
  unlock(): void {
    this.#wrong = 0;
  }

  /** Requests to a kind of route. */
  count(kind: "login" | "list" | "name"): number {
    return this.seen.filter(({ path }) => classify(path) === kind).length;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://fake");
    const kind = classify(url.pathname);
    const { authorization } = request.headers;
    this.seen.push({ method: request.method ?? "", path: url.pathname, query: url.searchParams, authorization });
    let text = "";
    for await (const piece of request as AsyncIterable<Buffer>) text += piece.toString();
    const meant = this.faultAt === undefined || (this.faultAt === "login") === (kind === "login");
    const fault = meant ? this.fault : undefined;
    if (fault?.kind === "hang") return;
    if (fault?.kind === "reset") return void request.socket.resetAndDestroy();
    if (fault?.kind === "slow") await new Promise((resolve) => setTimeout(resolve, fault.ms));
    const answer = this.#failWith(fault) ?? this.#route(kind, url, { text, authorization });
    const body = typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body);
    response
      .writeHead(answer.status, { "content-type": "application/json; charset=utf-8", ...answer.headers })
      .end(body);
  }

  #failWith(fault: InfisicalFault | undefined): Answer | undefined {
    if (fault?.kind === "status") {
      const { status, body, type = "application/json", retryAfter } = fault;
      const wait = retryAfter === undefined ? {} : { "retry-after": retryAfter };
      return { status, body, headers: { "content-type": type, ...wait } };
    }
    if (fault?.kind === "redirect") return { status: 302, body: "", headers: { location: fault.to } };
    if (fault?.kind !== "rate") return undefined;
    return this.#limit(fault.retryAfter);
  }

  /** A self-hosted server of 2024 cannot say that it is asked too often: its own error handler does not know that error. */
  #limit(retryAfter: string | undefined): Answer {
    const wait = retryAfter === undefined ? {} : { "retry-after": retryAfter };
    const headers = { "x-ratelimit-limit": "40", "x-ratelimit-remaining": "0", ...wait };
    const answer =
      this.generation === 2024
        ? this.#refuse(500, "InternalServerError", "Something went wrong")
        : this.#refuse(429, "RateLimitExceeded", "Rate limit exceeded. Please try again in 60 seconds");
    return { ...answer, headers };
  }

  #route(kind: string, url: URL, { text, authorization }: { text: string; authorization: string | undefined }): Answer {
    if (kind === "login") return this.#judgeOldBearer(authorization) ?? this.#login(text);
    if (kind === "status") return { status: 200, body: { date: new Date().toISOString(), message: "Ok" } };
    if (kind === "other") {
      const message = `Route GET:${url.pathname} not found`;
      return { status: 404, body: { message, error: "Not Found", statusCode: 404 } };
    }
    const denied = this.#countRead() ?? this.#checkToken(authorization) ?? this.#checkProject(url.searchParams);
    if (denied !== undefined) return denied;
    const folder = (url.searchParams.get("secretPath") ?? "/").replace(/(.)\/$/, "$1");
    if (kind === "list") return this.vault.list(folder, url.searchParams);
    return this.vault.find(folder, decodeURIComponent(url.pathname.split("/").at(-1) ?? ""), url.searchParams);
  }

  #countRead(): Answer | undefined {
    const nowMs = this.nowMs();
    if (nowMs >= this.#window.untilMs) this.#window = { untilMs: nowMs + MINUTE_MS, reads: 0 };
    this.#window.reads += 1;
    if (this.#window.reads <= this.readsPerMinute) return undefined;
    return this.#limit(String(Math.ceil((this.#window.untilMs - nowMs) / 1_000)));
  }

  /** A bearer that comes with a login is judged before the login is: whoever holds a bad one cannot log in with it. */
  #judgeOldBearer(authorization: string | undefined): Answer | undefined {
    return authorization === undefined ? undefined : this.#checkToken(authorization);
  }

  #login(text: string): Answer {
    const { clientId, clientSecret } = JSON.parse(text) as { clientId?: string; clientSecret?: string };
    const isOld = this.generation === 2024;
    if (clientId !== this.clientId)
      return isOld
        ? this.#refuse(404, "NotFound", "No identity with specified client ID was found")
        : this.#refuse(401, "UnauthorizedError", "Invalid credentials");
    if (!isOld && this.#wrong >= LOCK_AFTER) {
      const message = "This identity auth method is temporarily locked, please try again later";
      return this.#refuse(401, "UnauthorizedError", message);
    }
    if (clientSecret !== this.clientSecret) {
      this.#wrong += 1;
      return this.#refuse(401, "UnauthorizedError", "Invalid credentials");
    }
    this.#wrong = 0;
    const accessToken = `token-canary-${randomUUID()}`;
    this.#tokens.set(accessToken, { untilMs: Date.now() + this.tokenSeconds * 1_000, left: this.tokenUses });
    const { tokenSeconds: expiresIn } = this;
    return { status: 200, body: { accessToken, expiresIn, accessTokenMaxTTL: 2 * expiresIn, tokenType: "Bearer" } };
  }

  #checkToken(authorization: string | undefined): Answer | undefined {
    if (authorization === undefined) return this.#refuse(401, "UnauthorizedError", "Token missing");
    const token = this.#tokens.get(authorization.replace("Bearer ", ""));
    if (token === undefined || this.refusesTokens) return this.#refuse(403, "TokenError", "invalid signature");
    if (token.fault === undefined && token.left <= 0) token.fault = "used-up";
    if (token.fault !== undefined) return this.#refuseToken(token.fault);
    if (token.untilMs <= Date.now())
      return this.#refuse(403, "TokenError", "Your token has expired. Please re-authenticate.");
    token.left -= 1;
    return undefined;
  }

  #refuseToken(fault: TokenFault): Answer {
    const words = {
      revoked: "Failed to authorize: token has been revoked",
      "secret-revoked": "Failed to authorize: client secret has been revoked",
      "used-up": "Failed to authorize: token usage limit reached",
    };
    const message = this.generation === 2024 ? "No identity access token found" : words[fault];
    return this.#refuse(401, "UnauthorizedError", message);
  }

  #checkProject(query: URLSearchParams): Answer | undefined {
    const isOld = this.generation === 2024;
    const project = query.get("workspaceId");
    if (!this.isTrustedAddress) {
      const message = "You are not allowed to access this resource from the current IP address";
      return this.#refuse(403, "ForbiddenError", message);
    }
    if (project !== PROJECT || !this.isProjectThere) {
      const message = `Project with ID '${project}' not found during bot lookup. Are you sure it exists?`;
      return this.#refuse(404, "NotFound", isOld ? "Project not found during bot lookup" : message);
    }
    if (this.isMember) return undefined;
    if (isOld)
      return this.#refuse(403, "You are not a member of this project", "You are not allowed to access this resource");
    return this.#refuse(403, "ProjectMembershipNotFound", `You are not a member of this project with ID ${PROJECT}`);
  }

  #refuse(status: number, error: string, message: unknown): Answer {
    return refuse(this.generation, status, error, message);
  }
}

function classify(path: string): "login" | "list" | "name" | "status" | "other" {
  if (path === "/api/v1/auth/universal-auth/login") return "login";
  if (path === "/api/status") return "status";
  if (path === "/api/v3/secrets/raw") return "list";
  return path.startsWith("/api/v3/secrets/raw/") ? "name" : "other";
}
