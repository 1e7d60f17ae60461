// What S3 answers, from XML to values: the four documents that are asked for, each of a closed shape. Pure. A document that is cut is
// none: half a listing must never pass for a whole one.

/** A page of a listing. */
export interface ListPage {
  keys: string[];
  /** Of a listing with a delimiter: what the names below it begin with. */
  folders: string[];
  /** Where the next page begins; undefined on the last one. */
  next: string | undefined;
}

/** An object as a listing has it. */
export interface FoundObject {
  key: string;
  etag: string;
  bytes: number;
  modified: string;
}

/** A page of such. */
export interface ObjectPage {
  objects: FoundObject[];
  next: string | undefined;
}

/** A multipart upload that is open. */
export interface OpenUpload {
  key: string;
  uploadId: string;
}

/** One version of an object, or the mark that it was deleted. */
export interface ObjectVersion {
  key: string;
  versionId: string;
}

/** What an error says. */
export interface ErrorDocument {
  code: string;
  message: string;
}

/** A page of `ListObjectsV2`; undefined where it is none, or not whole. */
export function parseListPage(text: string): ListPage | undefined {
  const body = readDocument(text, "ListBucketResult");
  if (body === undefined) return undefined;
  const keys = readAll(body, "Contents").flatMap((entry) => readOne(entry, "Key") ?? []);
  const folders = readAll(body, "CommonPrefixes").flatMap((entry) => readOne(entry, "Prefix") ?? []);
  if (readOne(body, "IsTruncated") !== "true") return { keys, folders, next: undefined };
  const next = readOne(body, "NextContinuationToken");
  return next === undefined ? undefined : { keys, folders, next };
}

/** A page of a listing with what is known of each object; undefined where it is none, or not whole. */
export function parseObjectPage(text: string): ObjectPage | undefined {
  const body = readDocument(text, "ListBucketResult");
  if (body === undefined) return undefined;
  // Keys may have letters that XML has not: then they come as a URL has them, where the server can.
  const isEncoded = readOne(body, "EncodingType")?.toLowerCase() === "url";
  const objects = readAll(body, "Contents").map((entry) => {
    const key = readOne(entry, "Key");
    const bytes = Number(readOne(entry, "Size") ?? Number.NaN);
    if (key === undefined || !Number.isSafeInteger(bytes) || bytes < 0) return undefined;
    const decoded = isEncoded ? decodeUrl(key) : key;
    if (decoded === undefined) return undefined;
    const etag = (readOne(entry, "ETag") ?? "").replaceAll('"', "");
    return { key: decoded, etag, bytes, modified: readOne(entry, "LastModified") ?? "" };
  });
  if (objects.includes(undefined)) return undefined;
  const page = objects as FoundObject[];
  if (readOne(body, "IsTruncated") !== "true") return { objects: page, next: undefined };
  const next = readOne(body, "NextContinuationToken");
  return next === undefined ? undefined : { objects: page, next };
}

/** A space is written as a plus sign by some, and a plus sign never as itself. */
function decodeUrl(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return undefined;
  }
}

/** The id of an upload that was begun. */
export function parseUploadId(text: string): string | undefined {
  const body = readDocument(text, "InitiateMultipartUploadResult");
  return body === undefined ? undefined : readOne(body, "UploadId");
}

/** True for the answer that an upload was put together; the same status comes with an error, too. */
export function isCompleted(text: string): boolean {
  return readDocument(text, "CompleteMultipartUploadResult") !== undefined;
}

/** The uploads that are open below a prefix; undefined where the answer is no such list. */
export function parseUploads(text: string): OpenUpload[] | undefined {
  const body = readDocument(text, "ListMultipartUploadsResult");
  return body === undefined
    ? undefined
    : readAll(body, "Upload").flatMap((entry) => {
        const [key, uploadId] = [readOne(entry, "Key"), readOne(entry, "UploadId")];
        return key === undefined || uploadId === undefined ? [] : [{ key, uploadId }];
      });
}

/** How many parts an upload has; undefined where the answer is no such list. */
export function countParts(text: string): number | undefined {
  const body = readDocument(text, "ListPartsResult");
  return body === undefined ? undefined : readAll(body, "Part").length;
}

/** The versions below a prefix, the newest first; undefined where the answer is no such list. */
export function parseVersions(text: string): ObjectVersion[] | undefined {
  const body = readDocument(text, "ListVersionsResult");
  if (body === undefined) return undefined;
  return readAll(body, "Version|DeleteMarker").flatMap((entry) => {
    const [key, versionId] = [readOne(entry, "Key"), readOne(entry, "VersionId")];
    return key === undefined || versionId === undefined ? [] : [{ key, versionId }];
  });
}

/** An error; undefined for what is none. */
export function parseError(text: string): ErrorDocument | undefined {
  const body = readDocument(text, "Error");
  const code = body === undefined ? undefined : readOne(body, "Code");
  if (body === undefined || code === undefined) return undefined;
  return { code, message: readOne(body, "Message") ?? "" };
}

/** The inside of a document, where it is whole. Each text is gone through once, whatever a server has put into it. */
function readDocument(text: string, name: string): string | undefined {
  const start = new RegExp(`<${name}[\\s>]`).exec(text)?.index;
  const whole = text.trimEnd();
  const end = `</${name}>`;
  const from = start === undefined ? -1 : text.indexOf(">", start) + 1;
  const to = whole.length - end.length;
  return from > 0 && from <= to && whole.endsWith(end) ? whole.slice(from, to) : undefined;
}

/** @param names one name, or several with `|` between them */
function readAll(body: string, names: string): string[] {
  const found: string[] = [];
  const start = new RegExp(`<(${names})>`, "g");
  for (let match = start.exec(body); match !== null; match = start.exec(body)) {
    const end = `</${match[1]}>`;
    const to = body.indexOf(end, start.lastIndex);
    if (to === -1) break;
    found.push(body.slice(start.lastIndex, to));
    start.lastIndex = to + end.length;
  }
  return found;
}

function readOne(body: string, name: string): string | undefined {
  const inner = new RegExp(`<${name}>([^<]*)</${name}>`).exec(body)?.[1];
  return inner === undefined ? undefined : decodeText(inner);
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function decodeText(text: string): string {
  return text.replaceAll(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (whole, decimal, hex, name) => {
    if (typeof name === "string") return ENTITIES[name] ?? whole;
    const code = typeof decimal === "string" ? Number(decimal) : Number.parseInt(String(hex), 16);
    return code <= 0x10_ffff ? String.fromCodePoint(code) : whole;
  });
}
