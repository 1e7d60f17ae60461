// The bucket of a service as it is read: its objects in the order of their keys, and the bytes of one of them, which are of one version of
// it whoever writes meanwhile. Changes nothing there.

import { describeCount } from "../../../shared/text/count.ts";
import { ExchangeFailure } from "../../http/exchange-failure.ts";
import { type FoundObject, parseError, parseObjectPage } from "../repository/s3-answer.ts";
import { type S3Client, type S3Request } from "../repository/s3-client.ts";
import { readMessage } from "../../../shared/text/read-message.ts";
import { compareKeys, LONGEST_KEY } from "./object-listing.ts";

/** One version of an object that is read. */
export interface ReadObject {
  etag: string;
  bytes: number;
  modified: string;
  headers: Readonly<Record<string, string>>;
  /** Throws `ObjectMoved` where the object is another one before its end. */
  content: AsyncIterable<Uint8Array>;
  /** Its ETag is the MD5 of its bytes. */
  etagIsDigest: boolean;
}

/** The object is another one by now. */
export class ObjectMoved extends Error {}

/** The bucket that is read cannot be, which is no repository's fault. */
class SourceFault extends Error {}

/** A piece is asked for by itself: what is smaller comes whole, of one version. */
export const PIECE_BYTES = 8 * 1024 * 1024;
const PAGE_BYTES = 8 * 1024 * 1024;
/** Some stores give pages without any key, of keys that are deleted; so many one after the other are no listing. */
const MOST_EMPTY_PAGES = 1_000;
/** A time is a text of 29 letters (HTTP) or fewer; what is longer would make a line that no listing has. */
const LONGEST_TIME = 64;
/** What is kept of an object beside its bytes, with what people have written to it. */
const KEPT_HEADERS: ReadonlySet<string> = new Set([
  "content-type",
  "content-encoding",
  "content-language",
  "content-disposition",
  "cache-control",
  "expires",
]);
const META = "x-amz-meta-";
/** Orca's own, of an object that it has restored. */
const OWN_MARK = "x-amz-meta-orca-mark";

/** A bucket, or what lies below a prefix in it. */
export class ObjectSource {
  readonly #client: S3Client;
  readonly #prefix: string;

  constructor(client: S3Client) {
    this.#client = client;
    const { prefix } = client.place;
    this.#prefix = prefix === "" ? "" : `${prefix}/`;
  }

  get bucket(): string {
    return this.#client.place.bucket;
  }

  get prefix(): string {
    return this.#client.place.prefix;
  }

  /** `s3://uploads/` with its prefix, for people. */
  get name(): string {
    return `s3://${this.bucket}/${this.#prefix}`;
  }

  /** Every object, in the order of keys, which are without the prefix. Throws where the listing is not whole, or in no order. */
  async *list(): AsyncIterable<FoundObject> {
    let before = "";
    let next: string | undefined;
    let empty = 0;
    do {
      const query = {
        "list-type": "2",
        "encoding-type": "url",
        prefix: this.#prefix,
        ...(next === undefined ? {} : { "continuation-token": next }),
      };
      const { content } = await this.#send({ method: "GET", key: "", query, limitBytes: PAGE_BYTES });
      const page = parseObjectPage(content.toString("utf8"));
      if (page === undefined) throw new SourceFault(`list ${this.name}: the answer is cut`);
      for (const found of page.objects) {
        const key = found.key.startsWith(this.#prefix) ? found.key.slice(this.#prefix.length) : undefined;
        if (key === undefined) throw new SourceFault(`list ${this.name}: the server lists what lies elsewhere`);
        // The mark that consoles make for a folder: nothing of it could be restored below another prefix.
        if (key === "") continue;
        if (before !== "" && compareKeys(before, key) >= 0)
          throw new SourceFault(`list ${this.name}: the server lists its keys in no order`);
        if (found.etag === "") throw new SourceFault(`list ${this.name}: the server gives no ETags`);
        if (key.length > LONGEST_KEY)
          throw new SourceFault(
            `${this.name} has a key of ${key.length} letters, and ${LONGEST_KEY} are the most: ${describeKey(key)}`,
          );
        before = key;
        yield { ...found, key, modified: found.modified.slice(0, LONGEST_TIME) };
      }
      empty = page.objects.length === 0 ? empty + 1 : 0;
      if (empty > MOST_EMPTY_PAGES || (page.next !== undefined && page.next === next))
        throw new SourceFault(`list ${this.name}: the listing has no end`);
      next = page.next;
    } while (next !== undefined);
  }

  /** What stands beside the bytes now; undefined where it is gone, or another one. */
  async look(key: string, etag: string): Promise<Pick<ReadObject, "headers" | "modified"> | undefined> {
    const { status, headers } = await this.#send({
      method: "HEAD",
      key: `${this.#prefix}${key}`,
      expected: [404],
      asStored: true,
    });
    if (status === 404 || readEtag(headers) !== etag) return undefined;
    return { headers: keepHeaders(headers), modified: readTime(headers) };
  }

  /** Opens the version that is there now; undefined where there is none any more. */
  async open(key: string): Promise<ReadObject | undefined> {
    const full = `${this.#prefix}${key}`;
    const ranged = await this.#ask(full, { range: `bytes=0-${PIECE_BYTES - 1}` });
    // A range of an object without bytes is refused.
    const answer = ranged.status === 416 ? await this.#ask(full, {}) : ranged;
    if (answer.status === 404) {
      // A bucket that goes away is no bucket that became empty.
      const { code = "" } = parseError(answer.content.toString("utf8")) ?? {};
      if (code === "NoSuchBucket") throw new SourceFault(`read ${this.name}: the bucket is gone`);
      return undefined;
    }
    const { headers, content } = answer;
    const etag = readEtag(headers);
    const total = answer.status === 206 ? readTotal(readText(headers["content-range"])) : content.length;
    if (etag === "" || total === undefined)
      throw new SourceFault(`read ${this.name}${describeKey(key)}: the answer is no object`);
    if (content.length !== Math.min(total, PIECE_BYTES))
      throw new SourceFault(`read ${this.name}${describeKey(key)}: the answer is cut`);
    return {
      etag,
      bytes: total,
      modified: readTime(headers),
      headers: keepHeaders(headers),
      content: this.#read(full, { first: content, total, etag }),
      etagIsDigest: /^[0-9a-f]{32}$/.test(etag) && headers["x-amz-server-side-encryption"] === undefined,
    };
  }

  async #send(request: S3Request): Promise<Answered> {
    try {
      return await this.#client.send(request);
    } catch (error) {
      throw new SourceFault(readMessage(error), { cause: error });
    }
  }

  async #ask(key: string, headers: Record<string, string>): Promise<Answered> {
    try {
      const expected = [404, 416];
      return await this.#send({
        method: "GET",
        key,
        headers,
        limitBytes: PIECE_BYTES,
        expected,
        asStored: true,
      });
    } catch (error) {
      // It was empty a moment ago.
      const { cause } = (error as Error).cause as Error;
      if (cause instanceof ExchangeFailure && cause.fault.kind === "too-large")
        throw new ObjectMoved(`${key} is another one`);
      throw error;
    }
  }

  async *#read(
    key: string,
    { first, total, etag }: { first: Buffer; total: number; etag: string },
  ): AsyncIterable<Uint8Array> {
    yield first;
    for (let at = first.length; at < total; at += PIECE_BYTES) {
      const last = Math.min(at + PIECE_BYTES, total) - 1;
      const { status, content } = await this.#send({
        method: "GET",
        key,
        headers: { range: `bytes=${at}-${last}`, "if-match": `"${etag}"` },
        limitBytes: PIECE_BYTES,
        expected: [404, 412, 416],
        asStored: true,
      });
      if (status >= 400) throw new ObjectMoved(`${key} is another one`);
      if (content.length !== last - at + 1)
        throw new SourceFault(`read ${this.name}: the server gave ${describeCount(content.length, "byte")} of a piece`);
      yield content;
    }
  }
}

/** A key as people can read it on one line. */
export function describeKey(key: string): string {
  const plain = JSON.stringify(key).slice(1, -1);
  return plain.length > 200 ? `${plain.slice(0, 200)}…` : plain;
}

type Answered = Awaited<ReturnType<S3Client["send"]>>;
type Headers = Answered["headers"];

function readEtag(headers: Headers): string {
  return readText(headers.etag).replaceAll('"', "");
}

function readText(value: string | string[] | undefined): string {
  return typeof value === "string" ? value : "";
}

function readTime(headers: Headers): string {
  return readText(headers["last-modified"]).slice(0, LONGEST_TIME);
}

/** Of `bytes 0-8388607/20000000`. */
function readTotal(range: string): number | undefined {
  const total = /^bytes \d+-\d+\/(\d+)$/.exec(range)?.[1];
  return total === undefined ? undefined : Number(total);
}

/** What is kept beside the bytes, and goes back with them; nothing that says who may read them. */
export function keepHeaders(headers: Headers): Record<string, string> {
  const kept = Object.entries(headers).flatMap(([name, value]) =>
    typeof value === "string" && name !== OWN_MARK && (KEPT_HEADERS.has(name) || name.startsWith(META))
      ? [[name, value] as const]
      : [],
  );
  return Object.fromEntries(kept);
}
