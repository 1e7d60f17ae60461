// Speaks S3 with one bucket: signed requests over the agent's own HTTP exchange, tried again where the network or the server failed,
// and never where it refused. Made by s3-repository.ts; which request means what is said there.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { setTimeout as wait } from "node:timers/promises";

import { AwsV4Signer } from "aws4fetch";

import { growDelayMs } from "../../../shared/state/backoff.ts";
import { ask, type WholeAnswer } from "../../http/exchange.ts";
import { describeExchange } from "../../../shared/text/words/exchange-words.ts";
import { ExchangeFailure } from "../../http/exchange-failure.ts";
import { RepositoryError } from "./repository-port.ts";
import { parseError } from "./s3-answer.ts";

/** A bucket, and who asks there. */
export interface S3Place {
  name: string;
  endpoint: string;
  bucket: string;
  region: string;
  prefix: string;
  accessKey: string;
  secretKey: string;
  lockDays: number | undefined;
  caFile: string | undefined;
  /** What it is, where it is written down, and how another is named; a repository of fleet.toml where they are left out. */
  words?: { who: string; key: string; otherBucket?: string };
  /** It is on this host: its certificate is not looked at. */
  anyCertificate?: boolean;
}

/** One request. */
export interface S3Request {
  method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** Empty for the bucket itself. */
  key: string;
  query?: Readonly<Record<string, string>>;
  headers?: Readonly<Record<string, string>>;
  body?: Uint8Array | undefined;
  /** How much of an answer is read. */
  limitBytes?: number;
  /** Answers that are none of a failure: the caller looks at their status. */
  expected?: readonly number[];
  /** What is answered may be packed, and is taken as it is. */
  asStored?: boolean;
}

/** The server refused, or failed for longer than it is asked again. */
export class S3Failure extends RepositoryError {
  readonly status: number | undefined;
  readonly code: string;
  constructor(message: string, { status, code = "" }: { status?: number; code?: string } = {}, cause?: Error) {
    super(message, cause === undefined ? {} : { cause });
    this.status = status;
    this.code = code;
  }
}

const ATTEMPTS = 5;
/** So often, over some 40 s, where the server asks for patience, and for what a dump of hours would be lost with. */
const PATIENT_ATTEMPTS = 10;
/** The server's word that it has too much to do. */
const BUSY: ReadonlySet<number | undefined> = new Set([429, 503]);
const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 10_000;
/** A part of 8 MiB at 1 Mbit/s takes 67 s. */
const DEADLINE_MS = 180_000;
const ANSWER_BYTES = 4 * 1024 * 1024;
/** What passes by itself; the rest is the server's word. */
const PASSING: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);
/** Bytes that were changed on the way. */
const DAMAGED: ReadonlySet<string> = new Set(["BadDigest", "IncompleteBody", "RequestTimeout"]);

/** One bucket. */
export class S3Client {
  readonly place: S3Place;
  readonly #agent: HttpAgent;
  readonly #retryMs: number;
  readonly #cache = new Map<string, ArrayBuffer>();

  /** @param retryMs the first wait before it is asked again; tests write less */
  constructor(place: S3Place, retryMs = FIRST_WAIT_MS) {
    this.place = place;
    this.#retryMs = retryMs;
    const options = { keepAlive: true, maxSockets: 4, timeout: DEADLINE_MS };
    this.#agent = place.endpoint.startsWith("https:")
      ? new HttpsAgent({
          ...options,
          ...(place.caFile === undefined ? {} : { ca: readCa(place.caFile, place.name) }),
          ...(place.anyCertificate === true ? { rejectUnauthorized: false } : {}),
        })
      : new HttpAgent(options);
  }

  /** Lets go of connections that are kept. */
  close(): void {
    this.#agent.destroy();
  }

  /** Asks until there is an answer that is not passing; throws an `S3Failure`. */
  async send(request: S3Request): Promise<WholeAnswer> {
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await this.#try(request);
      if (!(outcome instanceof Passing)) return outcome;
      const { isLate, failure } = outcome;
      const isPatient = BUSY.has(failure.status) || (request.method === "PUT" && !isLate);
      if (attempt >= (isPatient ? PATIENT_ATTEMPTS : ATTEMPTS)) throw failure;
      const limits = { initialMs: this.#retryMs, maxMs: LONGEST_WAIT_MS };
      const growing = growDelayMs(limits, attempt - 1) * (0.5 + Math.random());
      await wait(Math.min(LONGEST_WAIT_MS, Math.max(growing, outcome.afterMs)));
    }
  }

  async #try(request: S3Request): Promise<WholeAnswer | Passing> {
    try {
      const answer = await this.#exchange(request);
      const { status } = answer;
      if ((status >= 200 && status < 300) || request.expected?.includes(status) === true) return answer;
      const error = parseError(answer.content.toString("utf8"));
      const failure = new S3Failure(this.#describe(request, status, error), { status, ...error });
      if (!PASSING.has(status) && !DAMAGED.has(failure.code)) throw failure;
      return new Passing(failure, { afterMs: Number(answer.headers["retry-after"] ?? 0) * 1_000 });
    } catch (error) {
      if (!(error instanceof ExchangeFailure)) throw error;
      const { fault } = error;
      const { who, key } = nameWords(this.place);
      const words =
        fault.kind === "too-large"
          ? "its answer is too large"
          : describeExchange(fault, {
              host: new URL(this.place.endpoint).host,
              who,
              urlKey: `${key}.endpoint`,
              redirectHint: `correct ${key}.endpoint`,
              caKey: `${key}.ca_file`,
              caFile: this.place.caFile,
            });
      const failure = new S3Failure(`${this.#name(request)}: ${words}`, {}, error);
      if (fault.kind !== "network" && fault.kind !== "late") throw failure;
      return new Passing(failure, { isLate: fault.kind === "late" });
    }
  }

  async #exchange(request: S3Request): Promise<WholeAnswer> {
    const { place } = this;
    const { method, key, query = {}, headers = {}, body } = request;
    // A HEAD says how large the object is, and sends nothing of it.
    const limitBytes = method === "HEAD" ? Number.POSITIVE_INFINITY : (request.limitBytes ?? ANSWER_BYTES);
    // The path that is sent is made below: a URL would take a segment `..` for a way up.
    const url = new URL(`${place.endpoint.replace(/\/$/, "")}/${place.bucket}`);
    const path = `${url.pathname}${key === "" ? "" : `/${encodeKey(key)}`}`;
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const signer = new AwsV4Signer({
      method,
      url: url.href,
      headers: { ...headers, ...(body === undefined ? {} : { "content-md5": digestBody(body) }) },
      accessKeyId: place.accessKey,
      secretAccessKey: place.secretKey,
      service: "s3",
      region: place.region,
      cache: this.#cache,
    });
    signer.encodedPath = path;
    const signed = await signer.sign();
    return ask({
      url: signed.url,
      target: signer.encodedSearch === "" ? path : `${path}?${signer.encodedSearch}`,
      method,
      headers: Object.fromEntries(signed.headers),
      body: body ?? (method === "PUT" || method === "POST" ? new Uint8Array() : undefined),
      agent: this.#agent,
      deadlineMs: DEADLINE_MS,
      // What it redirects to is another bucket, or another region: a mistake of fleet.toml.
      keepRedirect: true,
      judge: () => ({ limitBytes, asStored: request.asStored === true }),
    });
  }

  #name({ method, key }: S3Request): string {
    // Keys of a bucket that is read are anybody's: they are shown in one line.
    const shown = JSON.stringify(key).slice(1, -1).slice(0, 300);
    return `${method} ${this.place.name}:${key === "" ? this.place.bucket : shown}`;
  }

  #describe(request: S3Request, status: number, error: { code: string; message: string } | undefined): string {
    const said =
      error === undefined ? "" : ` ${error.code}: ${error.message.replaceAll(/[^\x20-\x7e]/g, "").slice(0, 200)}`;
    return `${this.#name(request)}: the server answered ${status}${said}${describeHint(error?.code, this.place)}`;
  }
}

/** It may go well the next time. */
class Passing {
  readonly failure: S3Failure;
  readonly afterMs: number;
  /** No answer came in the time that one has: a server that crawls is not waited for as one that is away for a moment. */
  readonly isLate: boolean;
  constructor(failure: S3Failure, { afterMs = 0, isLate = false }: { afterMs?: number; isLate?: boolean }) {
    this.failure = failure;
    this.afterMs = Number.isFinite(afterMs) ? afterMs : 0;
    this.isLate = isLate;
  }
}

function nameWords({ name, words }: S3Place): NonNullable<S3Place["words"]> {
  return words ?? { who: "the repository", key: `repositories.${name}` };
}

/** As a signature has a key (AWS, "Signature Version 4", UriEncode): each segment by itself, and no segment is a way anywhere. */
function encodeKey(key: string): string {
  const encode = (segment: string): string =>
    encodeURIComponent(segment).replaceAll(
      /[!'()*]/g,
      (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`,
    );
  return key.split("/").map(encode).join("/");
}

function describeHint(code: string | undefined, place: S3Place): string {
  const { key, otherBucket = `correct ${key}.bucket` } = nameWords(place);
  switch (code) {
    case "NoSuchBucket":
      return `: make the bucket ${place.bucket}, or ${otherBucket}`;
    case "InvalidAccessKeyId":
    case "SignatureDoesNotMatch":
      return `: check the secret of ${key}`;
    case "RequestTimeTooSkewed":
      return ": the clock of this node or of the server is wrong: timedatectl says which";
    case "ExpiredToken":
    case "InvalidToken":
    case "TokenRefreshRequired":
      return `: the key of ${key} has expired: put a new one into its secret`;
    case "AccessDenied":
      return `: the key of ${key} may not do that`;
    default:
      return "";
  }
}

/** As `Content-MD5` has it (RFC 1864). */
function digestBody(body: Uint8Array): string {
  return createHash("md5").update(body).digest("base64");
}

function readCa(file: string, name: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new RepositoryError(`read repositories.${name}.ca_file`, { cause: error });
  }
}
