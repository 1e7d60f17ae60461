// An S3 server in memory, with what real ones have and Swift has not: conditional puts, versions, object lock; and with faults that no
// real one shows when it is asked to. It passes the contract suite that Swift and Ceph pass.

import { createHash, randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";

import { LoopbackServer } from "../../scripts/lab/git/loopback-server.ts";
import type { S3Place } from "../../agent/backup/repository/s3-client.ts";

/** What is wrong, and with which requests. */
export type S3Fault =
  /** The connection breaks: before anything is done, or after all of it is. */
  | { kind: "drop"; when: "before" | "after" }
  | { kind: "status"; status: number; code: string; retryAfter?: number }
  /** The answer ends in the middle. */
  | { kind: "cut" }
  /** It is done, and the answer says that it was not. */
  | { kind: "done-and-500" }
  | { kind: "wrong-etag" }
  /** A part is confirmed and not kept. */
  | { kind: "lose-part" }
  /** 200 with something that is no answer of S3: a login page, a proxy's word; nothing is done. */
  | { kind: "nonsense"; body: string }
  /** `CompleteMultipartUpload` answers 200 with an error in it. */
  | { kind: "error-in-200" };

/** What a request is for. */
export type S3Purpose = "list" | "get" | "head" | "put" | "part" | "begin" | "complete" | "abort" | "delete";

interface Stored {
  versionId: string;
  body: Buffer;
  etag: string;
  mark: string | undefined;
  lockedUntilMs: number;
  /** What was sent beside the bytes. */
  headers: Record<string, string>;
}

interface Uploading {
  key: string;
  mark: string | undefined;
  lockedUntilMs: number;
  headers: Record<string, string>;
  parts: Map<number, Buffer>;
}

interface Call {
  method: string;
  key: string;
  query: URLSearchParams;
  headers: IncomingMessage["headers"];
  body: Buffer;
}

interface Answer {
  status: number;
  headers?: Record<string, string>;
  body?: Buffer | string;
}

/** How it is made. */
export interface FakeS3Options {
  /** Knows `If-None-Match: *`. */
  conditional?: boolean;
  versioned?: boolean;
  /** The bucket's own lock: everything that is written is held so long. */
  defaultLockMs?: number;
  /** Keys of this one may not delete. */
  writer?: string;
  /** So many keys are on a page of a listing; two find out a client that takes the first page for all of it. */
  pageKeys?: number;
}

/** One bucket called `backups`. */
export class FakeS3 {
  /** The versions of each key, the newest first. */
  readonly objects = new Map<string, Stored[]>();
  readonly uploads = new Map<string, Uploading>();
  /** Every request, as `purpose key`. */
  readonly calls: string[] = [];
  /** What was sent beside the bytes of each key that was put whole last, all of it. */
  readonly sent = new Map<string, IncomingMessage["headers"]>();
  /** As many parts as were under way at once. */
  mostParts = 0;
  #parts = 0;
  #sorted: string[] = [];
  nowMs = Date.UTC(2026, 10, 30);
  /** Called before a request is carried out: somebody else writes in the middle of something. */
  before: ((purpose: S3Purpose, key: string) => void) | undefined;
  readonly #server = new LoopbackServer();
  readonly #options: Required<FakeS3Options>;
  readonly #faults: { fault: S3Fault; on: S3Purpose; times: number }[] = [];

  constructor(options: FakeS3Options = {}) {
    this.#options = { conditional: true, versioned: false, defaultLockMs: 0, writer: "", pageKeys: 2, ...options };
  }

  async start(): Promise<void> {
    // A client that has gone away is told nothing.
    await this.#server.start(
      (request, response) => void this.#answer(request, response).catch(() => undefined),
      undefined,
    );
  }

  async stop(): Promise<void> {
    await this.#server.stop();
  }

  /** How a client reaches it. */
  place(own: Partial<S3Place> = {}): S3Place {
    return {
      name: "s3",
      endpoint: `http://127.0.0.1:${this.#server.port}`,
      bucket: "backups",
      region: "eu",
      prefix: "",
      accessKey: "access",
      secretKey: "secret",
      lockDays: undefined,
      caFile: undefined,
      ...own,
    };
  }

  /** The next requests of a kind go wrong. */
  fail(on: S3Purpose, fault: S3Fault, times = 1): void {
    this.#faults.push({ fault, on, times });
  }

  /** Puts an object, as whoever uses the bucket does. */
  put(key: string, body: Buffer | string, headers: Record<string, string> = {}): void {
    const bytes = Buffer.from(body);
    this.#store(key, { body: bytes, etag: hash(bytes), mark: undefined, lockedUntilMs: 0, headers });
  }

  /** The keys that everybody sees. */
  listKeys(): string[] {
    return [...this.objects.keys()].toSorted();
  }

  /** How many parts come at the same time. */
  #countParts(request: IncomingMessage, response: ServerResponse): void {
    if (request.method !== "PUT" || request.url?.includes("partNumber=") !== true) return;
    this.#parts += 1;
    this.mostParts = Math.max(this.mostParts, this.#parts);
    response.once("close", () => (this.#parts -= 1));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#countParts(request, response);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    // As it was sent: a URL would take a segment `..` for a way up.
    const [path = "/", query = ""] = (request.url ?? "/").split("?");
    const url = { pathname: path, searchParams: new URLSearchParams(query) };
    const key = decodeURIComponent(path).replace(/^\/backups\/?/, "");
    const { method = "GET", headers } = request;
    const call: Call = { method, key, query: url.searchParams, headers, body: Buffer.concat(chunks) };
    const purpose = findPurpose(call);
    this.calls.push(`${purpose} ${key}`);
    const fault = this.#takeFault(purpose);
    if (fault?.kind === "drop" && fault.when === "before") return void request.socket.destroy();
    if (fault?.kind === "nonsense") return send(response, { status: 200, body: fault.body });
    const refusal = refuseCall(call, url, fault);
    if (refusal !== undefined) return send(response, refusal);
    this.before?.(purpose, key);
    const answer = this.#carryOut(purpose, call, fault);
    if (fault?.kind === "drop") return void request.socket.destroy();
    if (fault?.kind === "done-and-500") return send(response, describeError(500, "InternalError"));
    send(response, answer, fault?.kind === "cut");
  }

  #takeFault(purpose: S3Purpose): S3Fault | undefined {
    const entry = this.#faults.find(({ on, times }) => on === purpose && times > 0);
    if (entry === undefined) return undefined;
    entry.times -= 1;
    return entry.fault;
  }

  #carryOut(purpose: S3Purpose, call: Call, fault: S3Fault | undefined): Answer {
    const digest = call.headers["content-md5"];
    if (digest !== undefined && digest !== createHash("md5").update(call.body).digest("base64"))
      return describeError(400, "BadDigest");
    switch (purpose) {
      case "list":
        return this.#list(call);
      case "get":
      case "head":
        return this.#read(call);
      case "put":
        return this.#put(call, fault);
      case "begin":
        return this.#begin(call);
      case "part":
        return this.#putPart(call, fault);
      case "complete":
        return this.#complete(call, fault);
      case "abort":
        return this.uploads.delete(call.query.get("uploadId") ?? "")
          ? { status: 204 }
          : describeError(404, "NoSuchUpload");
      default:
        return this.#delete(call);
    }
  }

  #list({ query, key }: Call): Answer {
    const prefix = query.get("prefix") ?? "";
    const uploadId = query.get("uploadId");
    if (uploadId !== null) {
      const upload = this.uploads.get(uploadId);
      if (upload === undefined || upload.key !== key) return describeError(404, "NoSuchUpload");
      const parts = [...upload.parts.keys()].map((number) => `<Part><PartNumber>${number}</PartNumber></Part>`);
      return xml("ListPartsResult", parts.join(""));
    }
    if (query.has("uploads")) {
      const open = [...this.uploads].filter(([, upload]) => upload.key.startsWith(prefix));
      const list = open.map(([id, upload]) => `<Upload><Key>${upload.key}</Key><UploadId>${id}</UploadId></Upload>`);
      return xml("ListMultipartUploadsResult", list.join(""));
    }
    if (query.has("versions")) {
      const list = [...this.objects].flatMap(([name, versions]) =>
        name.startsWith(prefix)
          ? versions.map(({ versionId }) => `<Version><Key>${name}</Key><VersionId>${versionId}</VersionId></Version>`)
          : [],
      );
      return xml("ListVersionsResult", list.join(""));
    }
    return this.#listPage(query, prefix);
  }

  /** In the order of UTF-8, from after the key that the token is. */
  #listPage(query: URLSearchParams, prefix: string): Answer {
    const isEncoded = query.get("encoding-type") === "url";
    const after = Buffer.from(query.get("continuation-token") ?? "", "base64").toString();
    const all = this.#sortKeys();
    const from = after === "" ? 0 : all.indexOf(after) + 1;
    const { pageKeys } = this.#options;
    const page: string[] = [];
    let at = from;
    for (; at < all.length && page.length < pageKeys; at += 1)
      if (all[at]?.startsWith(prefix) === true) page.push(all[at] ?? "");
    const last = page.at(-1);
    const more = last !== undefined && all.slice(at).some((name) => name.startsWith(prefix));
    const contents = page.map((name) => {
      const [stored] = this.objects.get(name) ?? [];
      const facts = `<ETag>&quot;${stored?.etag}&quot;</ETag><Size>${stored?.body.length}</Size><LastModified>${stored?.headers["x-test-modified"] ?? "2026-11-01T00:00:00.000Z"}</LastModified>`;
      return `<Contents><Key>${isEncoded ? encodeURIComponent(name) : escapeXml(name)}</Key>${facts}</Contents>`;
    });
    const next = more ? `<NextContinuationToken>${Buffer.from(last).toString("base64")}</NextContinuationToken>` : "";
    const encoding = isEncoded ? "<EncodingType>url</EncodingType>" : "";
    return xml("ListBucketResult", `<IsTruncated>${more}</IsTruncated>${encoding}${next}${contents.join("")}`);
  }

  /** Kept while no key comes or goes: a large bucket is listed page by page. */
  #sortKeys(): string[] {
    if (this.#sorted.length !== this.objects.size || this.#sorted.some((name) => !this.objects.has(name)))
      this.#sorted = [...this.objects.keys()].toSorted((one, other) =>
        Buffer.compare(Buffer.from(one), Buffer.from(other)),
      );
    return this.#sorted;
  }

  #read({ method, key, headers }: Call): Answer {
    const stored = this.objects.get(key)?.[0];
    if (stored === undefined) return method === "HEAD" ? { status: 404 } : describeError(404, "NoSuchKey");
    const { body, etag, mark, lockedUntilMs } = stored;
    if (headers["if-match"] !== undefined && headers["if-match"] !== `"${etag}"`)
      return describeError(412, "PreconditionFailed");
    if (headers.range !== undefined && body.length === 0) return describeError(416, "InvalidRange");
    const range = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "");
    const piece = range === null ? body : body.subarray(Number(range[1]), Number(range[2]) + 1);
    const { "x-test-modified": _listed, ...beside } = stored.headers;
    const own = {
      ...beside,
      etag: `"${etag}"`,
      ...(mark === undefined ? {} : { "x-amz-meta-orca-mark": mark }),
      ...(lockedUntilMs === 0 ? {} : { "x-amz-object-lock-mode": "GOVERNANCE" }),
    };
    if (method === "HEAD") return { status: 200, headers: { ...own, "content-length": String(body.length) } };
    const from = range?.[1] ?? "0";
    const content = { "content-range": `bytes ${from}-${Number(from) + piece.length - 1}/${body.length}` };
    return range === null
      ? { status: 200, headers: own, body }
      : { status: 206, headers: { ...own, ...content }, body: piece };
  }

  #put({ key, query, headers, body }: Call, fault: S3Fault | undefined): Answer {
    if (query.has("retention")) return this.#lock(key, body);
    const refusal = this.#refuse(key, headers);
    if (refusal !== undefined) return refusal;
    const etag = hash(body);
    this.sent.set(key, headers);
    const own = { mark: readMark(headers), lockedUntilMs: this.#readLock(headers), headers: readKept(headers) };
    this.#store(key, { body, etag, ...own });
    return { status: 200, headers: { etag: `"${fault?.kind === "wrong-etag" ? hash(Buffer.from("other")) : etag}"` } };
  }

  #lock(key: string, body: Buffer): Answer {
    const [newest] = this.objects.get(key) ?? [];
    if (newest === undefined || !this.#options.versioned) return describeError(400, "InvalidRequest");
    newest.lockedUntilMs = Date.parse(/<RetainUntilDate>([^<]+)</.exec(body.toString())?.[1] ?? "");
    return { status: 200 };
  }

  /** As Ceph 16: a lock that is asked for here is not heard. */
  #begin({ key, headers }: Call): Answer {
    const id = randomUUID();
    const lockedUntilMs = this.#readLock({});
    const own = { mark: readMark(headers), headers: readKept(headers) };
    this.uploads.set(id, { key, ...own, lockedUntilMs, parts: new Map() });
    return xml("InitiateMultipartUploadResult", `<UploadId>${id}</UploadId>`);
  }

  #putPart({ query, body }: Call, fault: S3Fault | undefined): Answer {
    const upload = this.uploads.get(query.get("uploadId") ?? "");
    if (upload === undefined) return describeError(404, "NoSuchUpload");
    if (fault?.kind !== "lose-part") upload.parts.set(Number(query.get("partNumber")), body);
    const etag = fault?.kind === "wrong-etag" ? hash(Buffer.from("other")) : hash(body);
    return { status: 200, headers: { etag: `"${etag}"` } };
  }

  #complete({ key, query, headers }: Call, fault: S3Fault | undefined): Answer {
    const id = query.get("uploadId") ?? "";
    const upload = this.uploads.get(id);
    if (upload === undefined) return describeError(404, "NoSuchUpload");
    if (fault?.kind === "error-in-200") return { ...describeError(200, "InternalError"), status: 200 };
    const refusal = this.#refuse(key, headers);
    if (refusal !== undefined) return refusal;
    const body = Buffer.concat([...upload.parts].toSorted(([one], [other]) => one - other).map(([, part]) => part));
    const { mark, lockedUntilMs, headers: own } = upload;
    this.#store(key, { body, etag: `${hash(body)}-${upload.parts.size}`, mark, lockedUntilMs, headers: own });
    this.uploads.delete(id);
    return xml("CompleteMultipartUploadResult", `<Key>${key}</Key>`);
  }

  #delete({ key, query, headers }: Call): Answer {
    if (this.#options.writer !== "" && headers.authorization?.includes(`Credential=${this.#options.writer}/`) === true)
      return describeError(403, "AccessDenied");
    const versions = this.objects.get(key) ?? [];
    const versionId = query.get("versionId");
    const going = this.#options.versioned ? versions.filter((version) => version.versionId === versionId) : versions;
    if (going.some(({ lockedUntilMs }) => lockedUntilMs > this.nowMs)) return describeError(403, "AccessDenied");
    const left = versions.filter((version) => !going.includes(version));
    if (left.length === 0) this.objects.delete(key);
    else this.objects.set(key, left);
    return { status: 204 };
  }

  #refuse(key: string, headers: Call["headers"]): Answer | undefined {
    if (headers["if-none-match"] === undefined) return undefined;
    if (!this.#options.conditional) return describeError(501, "NotImplemented");
    return this.objects.has(key) ? describeError(412, "PreconditionFailed") : undefined;
  }

  #store(key: string, stored: Omit<Stored, "versionId">): void {
    const before = this.#options.versioned ? (this.objects.get(key) ?? []) : [];
    const versionId = this.#options.versioned ? randomUUID() : "null";
    this.objects.set(key, [{ ...stored, versionId }, ...before]);
  }

  #readLock(headers: Call["headers"]): number {
    const until = headers["x-amz-object-lock-retain-until-date"];
    if (typeof until === "string") return Date.parse(until);
    return this.#options.defaultLockMs === 0 ? 0 : this.nowMs + this.#options.defaultLockMs;
  }
}

/** What is answered before anything is done. */
function refuseCall(
  { headers }: Call,
  { pathname }: { pathname: string },
  fault: S3Fault | undefined,
): Answer | undefined {
  if (fault?.kind === "status") {
    const after = fault.retryAfter === undefined ? {} : { "retry-after": String(fault.retryAfter) };
    return { ...describeError(fault.status, fault.code), headers: after };
  }
  if (pathname !== "/backups" && !pathname.startsWith("/backups/")) return describeError(404, "NoSuchBucket");
  if (headers.authorization?.startsWith("AWS4-HMAC-SHA256 Credential=") !== true)
    return describeError(403, "AccessDenied");
  return undefined;
}

function findPurpose({ method, key, query }: Call): S3Purpose {
  if (method === "HEAD") return "head";
  if (method === "GET") return key === "" || query.has("uploadId") ? "list" : "get";
  if (method === "POST") return query.has("uploads") ? "begin" : "complete";
  if (method === "PUT") return query.has("partNumber") ? "part" : "put";
  return query.has("uploadId") ? "abort" : "delete";
}

function readMark(headers: Call["headers"]): string | undefined {
  const mark = headers["x-amz-meta-orca-mark"];
  return typeof mark === "string" ? mark : undefined;
}

/** What a server keeps beside the bytes. */
function readKept(headers: Call["headers"]): Record<string, string> {
  const kept = Object.entries(headers).flatMap(([name, value]) =>
    typeof value === "string" && (/^x-amz-meta-(?!orca)/.test(name) || name === "content-type")
      ? [[name, value] as const]
      : [],
  );
  return Object.fromEntries(kept);
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function hash(body: Buffer): string {
  return createHash("md5").update(body).digest("hex");
}

function xml(name: string, inner: string): Answer {
  return {
    status: 200,
    body: `<?xml version="1.0"?>\n<${name} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${inner}</${name}>`,
  };
}

function describeError(status: number, code: string): Answer {
  return {
    status,
    body: `<?xml version="1.0"?>\n<Error><Code>${code}</Code><Message>as the test says</Message></Error>`,
  };
}

function send(response: ServerResponse, { status, headers = {}, body }: Answer, cut = false): void {
  response.writeHead(status, headers);
  const bytes = Buffer.from(body ?? "");
  response.end(cut ? bytes.subarray(0, Math.floor(bytes.length / 2)) : bytes);
}
