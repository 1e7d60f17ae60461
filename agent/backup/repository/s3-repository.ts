// A repository in a bucket. Whatever a store lacks is made up for: conditional puts by a look under the store's lease, checksums by
// Content-MD5 and a digest that is read back, versions and locks by asking what there is.

import { describeCount } from "../../../shared/text/count.ts";
import { checkName, joinFolder, listTermNames } from "./backup-path.ts";
import { type PendingFile, type Repository, RepositoryError, type StoreFolder } from "./repository-port.ts";
import { parseListPage, parseVersions } from "./s3-answer.ts";
import { type S3Client, S3Failure } from "./s3-client.ts";
import { abortUploads, S3Upload } from "./s3-upload.ts";

/** A file is read in pieces, each asked for by itself: a connection that breaks costs one of them. */
const PIECE_BYTES = 8 * 1024 * 1024;
const LARGEST_TEXT_BYTES = 1024 * 1024;
/** A listing that does not end is none. */
const MOST_PAGES = 1_000;

/** Opens a repository in a bucket; nothing is asked of it before its first call. */
export function openS3Repository(client: S3Client, nowMs: () => number = Date.now): Repository {
  const bucket = new Bucket(client, nowMs);
  return {
    name: client.place.name,
    list: (folder) => bucket.list(folder),
    create: (folder, file) => bucket.create(folder, file),
    read: (folder, file) => bucket.read(folder, file),
    readText: (folder, file) => bucket.readText(folder, file),
    replaceText: (folder, file, text) => bucket.replaceText(folder, file, text),
    remove: (folder, file) => bucket.remove(folder, file),
    sweep: (folder) => bucket.sweep(folder),
    freeBytes: async () => undefined,
    listTerms: (folder) => bucket.listTerms(folder),
  };
}

class Bucket {
  readonly #client: S3Client;
  readonly #nowMs: () => number;
  readonly #conditional = { works: true };

  constructor(client: S3Client, nowMs: () => number) {
    this.#client = client;
    this.#nowMs = nowMs;
  }

  async list(folder: StoreFolder): Promise<string[]> {
    const names = await this.#listBelow(this.#place(folder), {});
    return names.filter((name) => /^[^/]+$/.test(name));
  }

  /** Only the names of folders are asked for: what a term holds may be long. */
  async listTerms({ node, service, store }: StoreFolder): Promise<string[]> {
    const prefix = this.#place({ node, service, store }).replace(/\/$/, ".t");
    const below = await this.#listBelow(prefix, { delimiter: "/" });
    return listTermNames(
      store,
      below.map((rest) => `${store}.t${rest.split("/")[0]}`),
    );
  }

  /** What follows the prefix in each name, whole. */
  async #listBelow(prefix: string, asked: { delimiter?: string }): Promise<string[]> {
    const names: string[] = [];
    let next: string | undefined;
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const from = next === undefined ? {} : { "continuation-token": next };
      const query = { "list-type": "2", prefix, ...asked, ...from };
      const { content } = await this.#client.send({ method: "GET", key: "", query });
      const parsed = parseListPage(content.toString("utf8"));
      if (parsed === undefined)
        throw new RepositoryError(`list ${this.#client.place.name}:${prefix}: the answer is cut`);
      names.push(...[...parsed.keys, ...parsed.folders].map((key) => key.slice(prefix.length)));
      if (parsed.next === undefined) return names;
      next = parsed.next;
    }
    throw new RepositoryError(`list ${this.#client.place.name}:${prefix}: the listing has no end`);
  }

  async create(folder: StoreFolder, file: string): Promise<PendingFile> {
    const key = this.#key(folder, file);
    return new S3Upload({ client: this.#client, key, nowMs: this.#nowMs(), conditional: this.#conditional });
  }

  async *read(folder: StoreFolder, file: string): AsyncIterable<Uint8Array> {
    const key = this.#key(folder, file);
    const head = await this.#client.send({ method: "HEAD", key });
    const bytes = Number(head.headers["content-length"] ?? 0);
    const { etag } = head.headers;
    for (let at = 0; at < bytes; at += PIECE_BYTES) {
      const last = Math.min(at + PIECE_BYTES, bytes) - 1;
      const { content } = await this.#client.send({
        method: "GET",
        key,
        // The same object all the time, whoever writes meanwhile.
        headers: { range: `bytes=${at}-${last}`, ...(etag === undefined ? {} : { "if-match": etag }) },
        limitBytes: PIECE_BYTES + 1,
      });
      if (content.length !== last - at + 1)
        throw new RepositoryError(
          `read ${this.#client.place.name}:${key}: the server gave ${content.length} of ${describeCount(last - at + 1, "byte")}`,
        );
      yield content;
    }
  }

  async readText(folder: StoreFolder, file: string): Promise<string> {
    const answer = await this.#client.send({
      method: "GET",
      key: this.#key(folder, file),
      limitBytes: LARGEST_TEXT_BYTES,
    });
    return answer.content.toString("utf8");
  }

  async replaceText(folder: StoreFolder, file: string, text: string): Promise<void> {
    await this.#client.send({ method: "PUT", key: this.#key(folder, file), body: Buffer.from(text) });
  }

  /** Where the bucket keeps versions, they go too, the oldest first: one that is locked stops it, and all stays as it is. */
  async remove(folder: StoreFolder, file: string): Promise<void> {
    const key = this.#key(folder, file);
    for (const versionId of (await this.#listVersions(key)).toReversed()) {
      try {
        await this.#client.send({ method: "DELETE", key, query: { versionId }, expected: [404] });
      } catch (error) {
        if (!(error instanceof S3Failure) || error.status !== 403) throw error;
        throw new RepositoryError(`remove ${this.#client.place.name}:${key}: it is locked, or the key may not delete`, {
          cause: error,
        });
      }
    }
    await this.#client.send({ method: "DELETE", key, expected: [404] });
  }

  async sweep(folder: StoreFolder): Promise<void> {
    const prefix = this.#place(folder);
    await abortUploads(this.#client, prefix, (key) => key.startsWith(prefix));
  }

  /** The newest first; none where the bucket keeps no versions. */
  async #listVersions(key: string): Promise<string[]> {
    const answer = await this.#client
      .send({ method: "GET", key: "", query: { versions: "", prefix: key } })
      .catch((error: unknown) => {
        // A key that may not list versions may still delete.
        if (error instanceof S3Failure && error.status !== undefined && error.status < 500) return undefined;
        if (error instanceof S3Failure && error.status === 501) return undefined;
        throw error;
      });
    const versions = parseVersions(answer?.content.toString("utf8") ?? "") ?? [];
    return versions.flatMap((version) =>
      version.key === key && version.versionId !== "null" ? [version.versionId] : [],
    );
  }

  #place(folder: StoreFolder): string {
    const { prefix } = this.#client.place;
    return `${prefix === "" ? "" : `${prefix}/`}${joinFolder(folder)}/`;
  }

  #key(folder: StoreFolder, file: string): string {
    return `${this.#place(folder)}${checkName(file)}`;
  }
}
