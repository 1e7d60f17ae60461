// One file on its way into a bucket: a single PUT where it is small, else parts of 8 MiB, two of them under way at most. Nothing has its
// name before `publish`. It carries a mark of its own, so that an answer that was lost does not leave anybody guessing whose it is.

import { createHash, randomBytes } from "node:crypto";

import { describeCount } from "../../../shared/text/count.ts";
import { type PendingFile, RepositoryError } from "./repository-port.ts";
import { countParts, isCompleted, parseError, parseUploadId, parseUploads } from "./s3-answer.ts";
import { type S3Client, S3Failure } from "./s3-client.ts";

/** S3 takes parts from 5 MiB on, and 10,000 of them: a file of 78 GiB. */
const PART_BYTES = 8 * 1024 * 1024;
/** What a small file takes. */
const FIRST_BYTES = 128 * 1024;
const MOST_PARTS = 10_000;
const IN_FLIGHT = 2;
/** A wrong ETag means that the part was changed on the way: it is sent again so often. */
const SENDS = 3;
/** Abort is asked again until the server has no part any more: one that was under way comes after it. */
const ABORTS = 5;
const MARK = "x-amz-meta-orca-mark";
const DAY_MS = 86_400_000;

/** What an upload is made with. */
export interface UploadParts {
  client: S3Client;
  key: string;
  nowMs: number;
  /** Asks the server to refuse a name that is taken; turned off by the first answer that it cannot. */
  conditional: { works: boolean };
  /** What stands beside the bytes: a type, and what people have written to it. */
  headers?: Readonly<Record<string, string>>;
}

/** A file that is being written. */
export class S3Upload implements PendingFile {
  readonly #client: S3Client;
  readonly #key: string;
  readonly #parts: UploadParts;
  readonly #mark = randomBytes(12).toString("hex");
  readonly #etags: string[] = [];
  readonly #flying = new Set<Promise<void>>();
  #buffer: Buffer = Buffer.allocUnsafe(0);
  /** Buffers whose part has arrived: they are filled again, since what the runtime frees late counts as memory. */
  readonly #spare: Buffer[] = [];
  #filled = 0;
  #bytes = 0;
  #uploadId: string | undefined;
  #failure: Error | undefined;
  #mayBeThere = false;
  #hasBegun = false;

  constructor(parts: UploadParts) {
    this.#parts = parts;
    this.#client = parts.client;
    this.#key = parts.key;
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    for (let at = 0; at < chunk.length;) {
      if (this.#filled === this.#buffer.length) this.#grow(chunk.length - at);
      const piece = chunk.subarray(at, at + this.#buffer.length - this.#filled);
      this.#buffer.set(piece, this.#filled);
      this.#filled += piece.length;
      at += piece.length;
      if (this.#filled === PART_BYTES) await this.#sendPart();
    }
    this.#bytes += chunk.length;
  }

  async publish(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      if (await this.#find()) throw this.#taken();
      if (this.#uploadId === undefined) await this.#putWhole();
      else await this.#complete();
    } catch (error) {
      throw this.#fail(error);
    }
  }

  async abandon(): Promise<void> {
    this.#failure ??= new RepositoryError(`write ${this.#key}: it was given up`);
    await Promise.allSettled(this.#flying);
    this.#buffer = Buffer.allocUnsafe(0);
    const client = this.#client;
    if (this.#hasBegun) await abortUploads(client, this.#key, (key) => key === this.#key);
    [this.#hasBegun, this.#uploadId] = [false, undefined];
    // An answer that was lost may have been a success.
    if (!this.#mayBeThere) return;
    const found = await this.#look();
    if (found?.mark === this.#mark) await client.send({ method: "DELETE", key: this.#key, expected: [404] });
    this.#mayBeThere = false;
  }

  /** Small files take little memory: the buffer grows with them up to one part. */
  #grow(wanted: number): void {
    const spare = this.#spare.pop();
    if (spare !== undefined && this.#filled === 0) {
      this.#buffer = spare;
      return;
    }
    const least = this.#uploadId === undefined ? FIRST_BYTES : PART_BYTES;
    const size = Math.min(PART_BYTES, Math.max(this.#filled * 8, this.#filled + wanted, least));
    const larger = Buffer.allocUnsafeSlow(size);
    larger.set(this.#buffer.subarray(0, this.#filled));
    this.#buffer = larger;
  }

  async #sendPart(): Promise<void> {
    const buffer = this.#buffer;
    const body = buffer.subarray(0, this.#filled);
    this.#buffer = Buffer.allocUnsafe(0);
    this.#filled = 0;
    try {
      this.#uploadId ??= await this.#begin();
      const number = this.#etags.push("");
      if (number > MOST_PARTS) throw new RepositoryError(`write ${this.#key}: it is larger than 78 GiB`);
      while (this.#flying.size >= IN_FLIGHT) await Promise.race(this.#flying);
      if (this.#failure !== undefined) throw this.#failure;
      const flight: Promise<void> = this.#putPart(this.#uploadId, number, body)
        .then(() => void (buffer.length === PART_BYTES && this.#spare.push(buffer)))
        .catch((error: unknown) => void this.#fail(error))
        .finally(() => this.#flying.delete(flight));
      this.#flying.add(flight);
    } catch (error) {
      throw this.#fail(error);
    }
  }

  /** The first error is the last: a prefix that looks whole is worse than nothing. */
  #fail(error: unknown): Error {
    this.#failure ??= error instanceof Error ? error : new RepositoryError(String(error));
    return this.#failure;
  }

  async #begin(): Promise<string> {
    this.#hasBegun = true;
    const answer = await this.#client.send({
      method: "POST",
      key: this.#key,
      query: { uploads: "" },
      headers: this.#buildHeaders(),
    });
    const uploadId = parseUploadId(answer.content.toString("utf8"));
    if (uploadId === undefined) throw new RepositoryError(`write ${this.#key}: the server began no upload`);
    return uploadId;
  }

  async #putPart(uploadId: string, number: number, body: Buffer): Promise<void> {
    const query = { partNumber: String(number), uploadId };
    this.#etags[number - 1] = await this.#putChecked({ query, body });
  }

  /** Puts bytes, and compares what the server says that it has; answers its ETag. */
  async #putChecked(put: {
    query?: Record<string, string>;
    headers?: Record<string, string>;
    body: Buffer;
  }): Promise<string> {
    const own = createHash("md5").update(put.body).digest("hex");
    for (let sends = 1; ; sends += 1) {
      const { headers } = await this.#client.send({ method: "PUT", key: this.#key, ...put });
      const etag = (headers.etag ?? "").replaceAll('"', "");
      // With keys of its own a server encrypts, and its ETag is no digest of what was sent.
      const isDigest = headers["x-amz-server-side-encryption"] === undefined && /^[0-9a-f]{32}$/.test(etag);
      if (etag !== "" && (!isDigest || etag === own)) return etag;
      if (sends === SENDS)
        throw new RepositoryError(`write ${this.#key}: the server has other bytes than were sent (ETag ${etag})`);
    }
  }

  async #putWhole(): Promise<void> {
    const body = this.#buffer.subarray(0, this.#filled);
    this.#mayBeThere = true;
    await this.#conditionally(async (condition) => {
      await this.#putChecked({ headers: { ...this.#buildHeaders(), ...condition }, body });
    });
    await this.#check();
  }

  async #complete(): Promise<void> {
    if (this.#filled > 0) await this.#sendPart();
    await Promise.all(this.#flying);
    if (this.#failure !== undefined) throw this.#failure;
    const parts = this.#etags.map(
      (etag, at) => `<Part><PartNumber>${at + 1}</PartNumber><ETag>"${etag}"</ETag></Part>`,
    );
    const body = Buffer.from(`<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`);
    const query = { uploadId: this.#uploadId ?? "" };
    this.#mayBeThere = true;
    await this.#conditionally(async (headers) => {
      const answer = await this.#client.send({ method: "POST", key: this.#key, query, headers, body });
      const text = answer.content.toString("utf8");
      if (isCompleted(text)) return;
      const error = parseError(text);
      const said = error === undefined ? "an answer that was cut" : `${error.code}: ${error.message}`;
      throw new S3Failure(`publish ${this.#key}: the server put it not together: ${said}`, { status: 500, ...error });
    });
    await this.#check();
    this.#uploadId = undefined;
    // One whose beginning was answered and not heard was begun twice; what is left now the next run takes away.
    await abortUploads(this.#client, this.#key, (key) => key === this.#key).catch(() => undefined);
    this.#hasBegun = false;
  }

  /** With `If-None-Match` where the server has it; a failure may still have been a success, which its mark tells. */
  async #conditionally(put: (headers: Record<string, string>) => Promise<void>): Promise<void> {
    const { conditional } = this.#parts;
    // Another file that goes up at the same time may find it out first.
    const isAsked = conditional.works;
    try {
      await put(isAsked ? { "if-none-match": "*" } : {});
    } catch (error) {
      if (!(error instanceof S3Failure)) throw error;
      if (isAsked && (error.status === 501 || error.code === "NotImplemented")) {
        conditional.works = false;
        await this.#conditionally(put);
        return;
      }
      const found = await this.#look();
      if (found?.mark === this.#mark && found.bytes === this.#bytes) return;
      if (error.status === 412 || error.status === 409) throw this.#taken();
      throw error;
    }
  }

  /** What is there is this, and whole. */
  async #check(): Promise<void> {
    const found = await this.#look();
    if (found === undefined) throw new RepositoryError(`publish ${this.#key}: it is not there afterwards`);
    if (found.mark !== this.#mark) throw this.#taken();
    if (found.bytes !== this.#bytes)
      throw new RepositoryError(
        `publish ${this.#key}: the server has ${found.bytes} of ${describeCount(this.#bytes, "byte")}`,
      );
    await this.#ensureLock(found.isLocked);
  }

  /** Some stores take the lock of a small file alone: of one that was put together from parts it is asked for by itself. */
  async #ensureLock(isLocked: boolean): Promise<void> {
    const { lockDays } = this.#client.place;
    if (lockDays === undefined || isLocked) return;
    const until = new Date(this.#parts.nowMs + lockDays * DAY_MS).toISOString();
    const inner = `<Mode>GOVERNANCE</Mode><RetainUntilDate>${until}</RetainUntilDate>`;
    const body = Buffer.from(`<Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${inner}</Retention>`);
    try {
      await this.#client.send({ method: "PUT", key: this.#key, query: { retention: "" }, body });
    } catch (error) {
      const { name, bucket } = this.#client.place;
      const hint = `make ${bucket} with object lock, or leave repositories.${name}.lock_days out`;
      throw new RepositoryError(`publish ${this.#key}: it cannot be locked: ${hint}`, { cause: error });
    }
  }

  async #find(): Promise<boolean> {
    return (await this.#look()) !== undefined;
  }

  async #look(): Promise<{ mark: string | undefined; bytes: number; isLocked: boolean } | undefined> {
    const { status, headers } = await this.#client.send({ method: "HEAD", key: this.#key, expected: [404] });
    if (status === 404) return undefined;
    const mark = headers[MARK];
    const isLocked = headers["x-amz-object-lock-mode"] !== undefined;
    return {
      mark: typeof mark === "string" ? mark : undefined,
      bytes: Number(headers["content-length"] ?? -1),
      isLocked,
    };
  }

  #taken(): RepositoryError {
    return new RepositoryError(`publish ${this.#client.place.name}:${this.#key}: something has that name already`);
  }

  #buildHeaders(): Record<string, string> {
    return { ...this.#parts.headers, [MARK]: this.#mark, ...buildLock(this.#client.place.lockDays, this.#parts.nowMs) };
  }
}

/** Nobody removes it before its time but with a permission of its own (S3 Object Lock, governance mode). */
function buildLock(days: number | undefined, nowMs: number): Record<string, string> {
  if (days === undefined) return {};
  return {
    "x-amz-object-lock-mode": "GOVERNANCE",
    "x-amz-object-lock-retain-until-date": new Date(nowMs + days * DAY_MS).toISOString(),
  };
}

/** Aborts every upload that is open below a prefix and that is meant. A server without uploads has none. */
export async function abortUploads(client: S3Client, prefix: string, isMeant: (key: string) => boolean): Promise<void> {
  const query = { uploads: "", prefix };
  const { content, status } = await client.send({ method: "GET", key: "", query, expected: [501] });
  if (status === 501) return;
  const open = parseUploads(content.toString("utf8"));
  if (open === undefined)
    throw new RepositoryError(`sweep ${client.place.name}:${prefix}: the answer is no list of uploads`);
  for (const { key, uploadId } of open) if (isMeant(key)) await abortUpload(client, key, uploadId);
}

/** Aborts until the server has no part of it any more. */
async function abortUpload(client: S3Client, key: string, uploadId: string): Promise<void> {
  for (let aborts = 0; aborts < ABORTS; aborts += 1) {
    await client.send({ method: "DELETE", key, query: { uploadId }, expected: [404] });
    const left = await client.send({ method: "GET", key, query: { uploadId }, expected: [404] });
    if (left.status === 404 || countParts(left.content.toString("utf8")) === 0) return;
  }
  throw new RepositoryError(`abort ${client.place.name}:${key}: the server keeps parts of it`);
}
