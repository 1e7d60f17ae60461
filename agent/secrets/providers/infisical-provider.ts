// The provider behind an Infisical server: keeps the token, bounds logins and time. The questions themselves are asked by a
// short-lived child through the server's SDK, which would cost the agent 14 MiB for good.

import { Secret } from "../../../shared/secret/secret.ts";
import type { SecretAnswer, SecretProvider } from "../../../shared/secret/secret-provider.ts";
import { type Clock, systemClock } from "../../host/os/clock.ts";
import { watchFiles } from "../../host/files/watch-files.ts";
import { askChild } from "./file-provider.ts";
import { LOGIN_LATER, type InfisicalPlace, type ReadAnswer } from "./read-exchange.ts";

/** How long one round may take; the child gives up by itself before it is killed. */
const DEADLINE_MS = 20_000;
const KILL_AFTER_MS = 5_000;
/** Of a token's life so much is used; then a new login is cheaper than finding out that it ended. */
const TOKEN_SHARE = 0.7;
/** After so many failed logins in a row there is at most one in this time. */
const FREE_LOGINS = 5;
const LOGIN_EVERY_MS = 60_000;
/** After lists of a folder with all below it did not help, each folder is asked for itself for so long. */
const FLAT_MS = 3_600_000;

/** Which server, and how often it is asked. */
export interface InfisicalConfig {
  place: InfisicalPlace;
  pollMs: number;
  /** How long one round may take, where 20 s are not meant. */
  deadlineMs?: number;
}

/** Secrets from an Infisical server. */
export class InfisicalProvider implements SecretProvider {
  readonly kind = "infisical";
  readonly location: string;
  readonly pollMs: number;
  readonly notes: readonly string[];
  readonly #place: InfisicalPlace;
  readonly #deadlineMs: number;
  readonly #program: string;
  readonly #ask: typeof askChild;
  readonly #clock: Clock;
  readonly #abort = new AbortController();
  #token: { value: Secret; untilMs: number } | undefined;
  #failedLogins = 0;
  #nextLoginMs = Number.NEGATIVE_INFINITY;
  /** The last login was refused: other credentials may be tried at once. */
  #isRefused = false;
  #flatUntilMs = Number.NEGATIVE_INFINITY;
  #stopWatching = (): void => undefined;
  #reading: Promise<unknown> = Promise.resolve();

  /**
   * @param program the agent's own entry, which the child is started from
   * @param ask asks one round; only a test that makes hundreds of them does that in its own process
   */
  constructor(config: InfisicalConfig, program: string, clock = systemClock, ask = askChild) {
    const { url, project, environment } = config.place;
    this.#place = config.place;
    this.#deadlineMs = config.deadlineMs ?? DEADLINE_MS;
    this.#program = program;
    this.#ask = ask;
    this.#clock = clock;
    this.pollMs = config.pollMs;
    this.location = `${url} (project ${project}, environment ${environment})`;
    const isClear = url.startsWith("http:") && !/^http:\/\/(127\.|localhost|\[::1\])/.test(url);
    this.notes = isClear ? [`secrets: ${url} is asked without TLS, and secrets travel in clear: write https://`] : [];
  }

  /** One round at a time: a second one waits for the first. */
  async read(paths: readonly string[], within?: readonly string[]): Promise<ReadonlyMap<string, SecretAnswer>> {
    const reading = this.#reading.then(() => this.#read(paths, within));
    this.#reading = reading.catch(() => undefined);
    return reading;
  }

  /** It does not say when something changes, and is polled; but new credentials on this host are tried at once. */
  watch(onHint: () => void): void {
    const { clientIdFile, clientSecretFile } = this.#place;
    this.#stopWatching = watchFiles([clientIdFile, clientSecretFile], () => {
      if (!this.#isRefused) return;
      this.#nextLoginMs = Number.NEGATIVE_INFINITY;
      onHint();
    });
  }

  close(): void {
    this.#stopWatching();
    this.#abort.abort();
  }

  async #read(
    paths: readonly string[],
    within: readonly string[] | undefined,
  ): Promise<ReadonlyMap<string, SecretAnswer>> {
    const nowMs = this.#clock.monotonicMs();
    const mayLogin = nowMs >= this.#nextLoginMs;
    const isFresh = this.#token !== undefined && (nowMs < this.#token.untilMs || !mayLogin);
    const token = isFresh ? this.#token?.value.expose() : undefined;
    const deadlineMs = this.#deadlineMs;
    const flat = nowMs < this.#flatUntilMs;
    const place = this.#place;
    const request = { kind: "infisical", place, paths, within, flat, token, mayLogin, deadlineMs } as const;
    const limits = { deadlineMs: deadlineMs + KILL_AFTER_MS, signal: this.#abort.signal };
    // Without a token and without the right to ask for one there is nothing that a child could do.
    const answer = token === undefined && !mayLogin ? TOO_SOON : await this.#ask(this.#program, request, limits);
    this.#noteLogin(answer);
    if (answer.flat === true && !flat) this.#flatUntilMs = nowMs + FLAT_MS;
    return new Map(paths.map((path) => [path, choose(path, answer)]));
  }

  /** Keeps the token of a login; after one that did not lead to answers, the next may have to wait. */
  #noteLogin({ token, logins, failure, answers }: ReadAnswer): void {
    const nowMs = this.#clock.monotonicMs();
    const led = failure === undefined || Object.keys(answers).length > 0;
    if (led) {
      this.#failedLogins = 0;
      this.#nextLoginMs = Number.NEGATIVE_INFINITY;
    }
    if (logins === 0) return;
    this.#isRefused = failure?.refused === "login";
    this.#token =
      token === undefined
        ? undefined
        : { value: new Secret(token.value), untilMs: nowMs + token.expiresInMs * TOKEN_SHARE };
    // A token that the server gives and then refuses would otherwise be asked for again and again.
    if (led) return;
    this.#failedLogins += logins;
    const spacingMs = this.#failedLogins >= FREE_LOGINS ? LOGIN_EVERY_MS : 0;
    this.#nextLoginMs = nowMs + Math.max(spacingMs, failure?.waitMs ?? 0);
  }
}

const TOO_SOON: ReadAnswer = { answers: {}, logins: 0, requests: 0, failure: { reason: LOGIN_LATER } };

/** What was read before a round failed is read. */
function choose(path: string, { answers, failure }: ReadAnswer): SecretAnswer {
  const answer = answers[path];
  if (answer?.kind === "value") return { kind: "value", value: new Secret(answer.value) };
  if (answer !== undefined) return answer;
  const { reason, waitMs, refused } = failure ?? { reason: "the child that reads secrets left it out" };
  const isRefused = refused === undefined ? {} : { refused: true };
  return { kind: "unavailable", reason, ...(waitMs === undefined ? {} : { waitMs }), ...isRefused };
}
