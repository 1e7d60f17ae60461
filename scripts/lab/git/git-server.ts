// A real smart-HTTP Git server on 127.0.0.1: Node in front of `git http-backend`, with Basic authentication by token and
// TLS where a test wants it. It can misbehave in every way that a Git server has been seen to.

import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type Fault, type Purpose, spoilAnswer } from "./git-faults.ts";
import { GitRepository } from "./git-repository.ts";
import { LoopbackServer, type ServerCertificate } from "./loopback-server.ts";

/** One request as the server saw it. */
export interface SeenRequest {
  method: string;
  path: string;
  /** What it was for. */
  purpose: Purpose;
  authorization: string | undefined;
  /** Bytes of the request's and the answer's body. */
  sentBytes: number;
  answeredBytes: number;
}

const NAME = "acme/platform.git";

/** A server with one repository. */
export class GitServer {
  readonly root = mkdtempSync(join(tmpdir(), "orca-git-"));
  readonly repository = new GitRepository(join(this.root, "repositories", NAME));
  readonly token = "orca-test-token-5f0c2a1e";
  readonly seen: SeenRequest[] = [];
  fault: Fault | undefined;
  /** Set where the repository is private. */
  isPrivate = false;
  readonly #listener = new LoopbackServer();
  readonly #tls: boolean;

  constructor(options: { tls?: boolean } = {}) {
    this.#tls = options.tls === true;
  }

  /** Begins to listen, on the same port again after `stop`. */
  async start(): Promise<this> {
    // As Gitea sets it for every repository, unless its administrator turns partial clones off.
    this.repository.configure("uploadpack", { allowFilter: "true", allowAnySHA1InWant: "true" });
    await this.#listener.start(
      (request, response) => void this.#answer(request, response),
      this.#tls ? this.#makeCertificate() : undefined,
    );
    return this;
  }

  /** Lets the server leave out of a pack what it is told to, or not: as its administrator may. */
  allowFilter(allowed: boolean): void {
    this.repository.configure("uploadpack", { allowFilter: String(allowed) });
  }

  /** The server is gone: nothing listens any more. */
  stop(): Promise<void> {
    return this.#listener.stop();
  }

  async dispose(): Promise<void> {
    await this.stop();
    rmSync(this.root, { recursive: true, force: true });
  }

  get url(): string {
    return `${this.#tls ? "https" : "http"}://localhost:${this.#listener.port}/${NAME}`;
  }

  /** The CA of a server with TLS. */
  get caFile(): string {
    return join(this.root, "ca.pem");
  }

  /** A file with the token, as only its owner may read it. */
  writeToken(token = this.token): string {
    const file = join(this.root, "token");
    writeFileSync(file, `${token}\n`, { mode: 0o600 });
    return file;
  }

  /** How many requests there were for something. */
  count(purpose: Purpose): number {
    return this.seen.filter((request) => request.purpose === purpose).length;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
    const body = Buffer.concat(pieces);
    const url = new URL(request.url ?? "", "http://server");
    const purpose = request.method === "GET" ? "discover" : readPurpose(body);
    const { authorization } = request.headers;
    const counts = { sentBytes: body.length, answeredBytes: 0 };
    const seen = { method: request.method ?? "", path: url.pathname, purpose, authorization, ...counts } as const;
    this.seen.push(seen);
    response.on("error", () => undefined);
    if (spoilAnswer(response, this.fault, { url, purpose, name: `/${NAME.replace(/\.git$/, "")}` })) return;
    if (!this.#isAllowed(authorization)) {
      response
        .writeHead(401, { "www-authenticate": 'Basic realm="Gitea"', "content-type": "text/plain" })
        .end("Unauthorized");
      return;
    }
    const answer = await this.#runBackend(request, url, body);
    Object.assign(seen, { answeredBytes: answer.body.length });
    this.#send(response, answer, purpose);
  }

  #isAllowed(authorization: string | undefined): boolean {
    if (!this.isPrivate) return true;
    const [, encoded = ""] = /^Basic (.*)$/.exec(authorization ?? "") ?? [];
    return Buffer.from(encoded, "base64").toString("utf8").split(":")[1] === this.token;
  }

  #send(response: ServerResponse, { status, headers, body }: BackendAnswer, purpose: Purpose): void {
    const kind = purpose === "pack" ? this.fault?.kind : undefined;
    const half = body.subarray(0, Math.floor(body.length / 2));
    if (kind === "pack-half") {
      // As a proxy does that lost its upstream: the answer ends well and is too short.
      response.writeHead(status, { ...headers, "content-length": half.length }).end(half);
    } else if (kind === "pack-cut") {
      response.writeHead(status, { ...headers, "content-length": body.length });
      response.write(half, () => response.socket?.resetAndDestroy());
    } else {
      if (kind === "pack-damaged") body.writeUInt8(body.readUInt8(body.length - 100) ^ 0xff, body.length - 100);
      response.writeHead(status, { ...headers, "content-length": body.length }).end(body);
    }
  }

  async #runBackend(request: IncomingMessage, url: URL, body: Buffer): Promise<BackendAnswer> {
    const protocol = this.fault?.kind === "protocol-0" ? "" : String(request.headers["git-protocol"] ?? "");
    const path = this.fault?.kind === "renamed" ? url.pathname.replace(this.fault.to, `/${NAME}`) : url.pathname;
    const child = spawn("git", ["http-backend"], {
      env: {
        PATH: process.env["PATH"],
        GIT_PROJECT_ROOT: join(this.root, "repositories"),
        GIT_HTTP_EXPORT_ALL: "1",
        PATH_INFO: path,
        QUERY_STRING: url.search.slice(1),
        REQUEST_METHOD: request.method,
        CONTENT_TYPE: request.headers["content-type"] ?? "",
        CONTENT_LENGTH: String(body.length),
        REMOTE_ADDR: "127.0.0.1",
        GIT_PROTOCOL: protocol,
        GIT_CONFIG_NOSYSTEM: "1",
        HOME: this.root,
      },
      stdio: ["pipe", "pipe", "ignore"],
    });
    child.stdin.on("error", () => undefined);
    child.stdin.end(body);
    const pieces: Buffer[] = [];
    for await (const piece of child.stdout as AsyncIterable<Buffer>) pieces.push(piece);
    return readCgi(Buffer.concat(pieces));
  }

  /** A CA of its own, and a certificate for localhost from it. */
  #makeCertificate(): ServerCertificate {
    const directory = join(this.root, "tls");
    mkdirSync(directory, { recursive: true });
    const openssl = (...parameters: string[]): void => {
      execFileSync("openssl", parameters, { cwd: directory, stdio: "ignore" });
    };
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    openssl(
      "req",
      "-x509",
      ...curve,
      "-keyout",
      "ca.key",
      "-out",
      this.caFile,
      "-subj",
      "/CN=orca test CA",
      "-days",
      "2",
    );
    openssl("req", ...curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost");
    writeFileSync(join(directory, "names"), "subjectAltName=DNS:localhost");
    const issuer = ["-CA", this.caFile, "-CAkey", "ca.key", "-CAcreateserial"];
    openssl("x509", "-req", "-in", "server.csr", ...issuer, "-out", "server.pem", "-days", "2", "-extfile", "names");
    return { key: readFileSync(join(directory, "server.key")), cert: readFileSync(join(directory, "server.pem")) };
  }
}

/** Files that were left out of a pack are asked for by themselves, and no history with them. */
function readPurpose(body: Buffer): Purpose {
  if (body.includes("command=ls-refs")) return "list";
  return body.includes("deepen ") ? "pack" : "files";
}

interface BackendAnswer {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}

function readCgi(output: Buffer): BackendAnswer {
  const end = output.indexOf("\r\n\r\n");
  const headers: Record<string, string> = {};
  for (const line of output.toString("latin1", 0, Math.max(0, end)).split("\r\n")) {
    const colon = line.indexOf(":");
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  const { status, ...others } = headers;
  return { status: Number.parseInt(status ?? "200", 10), headers: others, body: output.subarray(end + 4) };
}
