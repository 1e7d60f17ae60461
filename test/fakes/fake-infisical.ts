// A server that answers as real Infisical servers were seen to, of 2024 and of 2026: logins with lock-out, tokens that expire,
// scopes, lists that hide what is out of scope, lookups by name. It can be slow, hang, reset, be rate-limited or broken.

import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What goes wrong, for as long as it is set. */
export type InfisicalFault =
  | { kind: "status"; status: number; body: string; type?: string }
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

interface Answer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

const PROJECT = "0f5a2f0e-6a3c-4f53-8c5f-0b7f6f2f9b11";
const HIDDEN = "<hidden-by-infisical>";
/** Wrong secrets in a row until the identity is locked, right ones too. */
const LOCK_AFTER = 3;

/** A fake Infisical. */
export class FakeInfisical {
  readonly project = PROJECT;
  readonly environment = "prod";
  readonly clientId = "client-id";
  clientSecret = "client-secret-canary";
  readonly generation: 2024 | 2026;
  /** Path → value. */
  readonly secrets = new Map<string, string>();
  /** Folders that the identity may read, with all that lies below. */
  scopes = ["/"];
  /** Names whose values may not be read, only their names. */
  readonly hidden = new Set<string>();
  /** Folder → folders it imports. */
  readonly imports = new Map<string, string[]>();
  tokenSeconds = 3_600;
  isMember = true;
  /** Gives tokens that it then refuses, as after its signing key was lost. */
  refusesTokens = false;
  fault: InfisicalFault | undefined;
  /** Restricts the fault to logins or to all else. */
  faultAt: "login" | "secrets" | undefined;
  readonly seen: SeenRequest[] = [];
  #wrong = 0;
  #tokens = new Map<string, number>();
  #server: Server;
  #port = 0;

  constructor(generation: 2024 | 2026) {
    this.generation = generation;
    this.#server = createServer((request, response) => void this.#serve(request, response));
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
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Every token given so far is worth nothing from now on, as if its time were over. */
  expireTokens(): void {
    for (const token of this.#tokens.keys()) this.#tokens.set(token, 0);
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
    if (fault?.kind === "status")
      return { status: fault.status, body: fault.body, headers: { "content-type": fault.type ?? "application/json" } };
    if (fault?.kind === "redirect") return { status: 302, body: "", headers: { location: fault.to } };
    if (fault?.kind !== "rate") return undefined;
    const wait = fault.retryAfter === undefined ? undefined : { "retry-after": fault.retryAfter };
    const message = "Rate limit exceeded. Please try again in 60 seconds";
    return { ...this.#refuse(429, "RateLimitExceeded", message), ...(wait === undefined ? {} : { headers: wait }) };
  }

  #route(kind: string, url: URL, { text, authorization }: { text: string; authorization: string | undefined }): Answer {
    if (kind === "login") return this.#login(text);
    if (kind === "other") {
      const message = `Route GET:${url.pathname} not found`;
      return { status: 404, body: { message, error: "Not Found", statusCode: 404 } };
    }
    const denied = this.#checkToken(authorization) ?? this.#checkProject(url.searchParams);
    if (denied !== undefined) return denied;
    const folder = (url.searchParams.get("secretPath") ?? "/").replace(/(.)\/$/, "$1");
    if (kind === "list") return this.#list(folder, url.searchParams);
    return this.#find(folder, decodeURIComponent(url.pathname.split("/").at(-1) ?? ""));
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
    this.#tokens.set(accessToken, Date.now() + this.tokenSeconds * 1_000);
    const { tokenSeconds: expiresIn } = this;
    return { status: 200, body: { accessToken, expiresIn, accessTokenMaxTTL: 2 * expiresIn, tokenType: "Bearer" } };
  }

  #checkToken(authorization: string | undefined): Answer | undefined {
    if (authorization === undefined) return this.#refuse(401, "UnauthorizedError", "Token missing");
    const untilMs = this.#tokens.get(authorization.replace("Bearer ", ""));
    if (untilMs === undefined || this.refusesTokens) return this.#refuse(403, "TokenError", "invalid signature");
    if (untilMs > Date.now()) return undefined;
    return this.#refuse(403, "TokenError", "Your token has expired. Please re-authenticate.");
  }

  #checkProject(query: URLSearchParams): Answer | undefined {
    if (query.get("workspaceId") !== PROJECT)
      return this.#refuse(
        404,
        "NotFound",
        `Project with ID '${query.get("workspaceId")}' not found during bot lookup.`,
      );
    if (this.isMember) return undefined;
    if (this.generation === 2024)
      return this.#refuse(403, "You are not a member of this project", "You are not allowed to access this resource");
    return this.#refuse(403, "ProjectMembershipNotFound", `You are not a member of this project with ID ${PROJECT}`);
  }

  #list(folder: string, query: URLSearchParams): Answer {
    const isOld = this.generation === 2024;
    const isKnown = this.#folderIsThere(folder) && query.get("environment") === this.environment;
    const empty = { status: 200, body: isOld ? { secrets: [] } : { secrets: [], imports: [] } };
    if (!isKnown && !isOld) {
      const message = `Folder with path '${folder}' in environment '${query.get("environment")}' was not found.`;
      return this.#refuse(404, "SecretPathNotFound", message);
    }
    if (!this.#mayRead(folder))
      return isOld ? this.#refuse(403, "PermissionDenied", "You are not allowed to read on secrets") : empty;
    if (!isKnown) return empty;
    const mine = [...this.secrets].filter(([path]) => folderOf(path) === folder);
    if (mine.some(([, value]) => value.includes("${prod.")) && query.get("expandSecretReferences") === "true" && !isOld)
      return this.#refuse(403, "ForbiddenError", "Failed to expand one or more secret references");
    const imports = (this.imports.get(folder) ?? []).map((from) => ({
      secretPath: from,
      environment: this.environment,
      folderId: "f",
      secrets: this.#mayRead(from)
        ? [...this.secrets].filter(([path]) => folderOf(path) === from).map(([path, value]) => this.#show(path, value))
        : [],
    }));
    const wants = !isOld || query.get("include_imports") === "true";
    return {
      status: 200,
      body: { secrets: mine.map(([path, value]) => this.#show(path, value)), ...(wants ? { imports } : {}) },
    };
  }

  #find(folder: string, name: string): Answer {
    if (!this.#mayRead(folder)) {
      const action = this.generation === 2024 ? "read" : "describeSecret";
      return this.#refuse(403, "PermissionDenied", `You are not allowed to ${action} on secrets`);
    }
    if (!this.#folderIsThere(folder)) {
      const message = `Folder with path '${folder}' in environment with slug 'prod' not found`;
      return this.#refuse(404, "GetSecretByName", message);
    }
    const value = this.secrets.get(`${folder === "/" ? "" : folder}/${name}`);
    if (value === undefined) return this.#refuse(404, "NotFound", `Secret with name '${name}' not found`);
    return { status: 200, body: { secret: this.#show(`${folder}/${name}`, value) } };
  }

  #show(path: string, value: string): object {
    const secretKey = path.slice(path.lastIndexOf("/") + 1);
    const isHidden = this.hidden.has(path) && this.generation === 2026;
    const expanded = value.replaceAll(/\$\{[A-Z_]+\}/g, (match) => (this.generation === 2024 ? match : ""));
    const shown = isHidden ? HIDDEN : expanded;
    return {
      ...{ id: secretKey, version: 1, type: "shared", secretKey, secretValue: shown, secretPath: folderOf(path) },
      ...(this.generation === 2026 ? { secretValueHidden: isHidden } : {}),
    };
  }

  #mayRead(folder: string): boolean {
    return this.scopes.some((scope) => scope === "/" || folder === scope || folder.startsWith(`${scope}/`));
  }

  #folderIsThere(folder: string): boolean {
    return folder === "/" || [...this.secrets.keys()].some((path) => path.startsWith(`${folder}/`));
  }

  #refuse(statusCode: number, error: string, message: string): Answer {
    const reqId = this.generation === 2026 ? { reqId: `req-${randomUUID()}` } : {};
    return { status: statusCode, body: { ...reqId, statusCode, message, error } };
  }
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

function classify(path: string): "login" | "list" | "name" | "other" {
  if (path === "/api/v1/auth/universal-auth/login") return "login";
  if (path === "/api/v3/secrets/raw") return "list";
  return path.startsWith("/api/v3/secrets/raw/") ? "name" : "other";
}
