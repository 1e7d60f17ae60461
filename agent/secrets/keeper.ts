// Knows the secrets of this node: asks the provider, keeps what it said last sealed on disk, and says what is known without
// a value. The only place that holds values between their reading and their delivery.

import { createHmac } from "node:crypto";

import { backoffDelayMs } from "../../shared/backoff.ts";
import { describeDuration } from "../../shared/duration.ts";
import { jitterFraction } from "../../shared/identity.ts";
import type { Redactor } from "../../shared/redactor.ts";
import type { Secret } from "../../shared/secret.ts";
import { nameVersion, type SecretFact, type SecretFacts } from "../../shared/secret-facts.ts";
import type { SecretAnswer, SecretProvider } from "../../shared/secret-provider.ts";
import type { Clock } from "../host/clock.ts";
import { isBootstrap, readBootstrap, readBootstrapVariables } from "./bootstrap-file.ts";
import type { HostKey } from "./host-key.ts";
import type { KeptSecret, SealedFile } from "./seal.ts";
import { tryTemplate } from "./template-trial.ts";

/** What a keeper needs. */
export interface KeeperOptions {
  /** Undefined where none is configured: then only bootstrap files are read. */
  provider: SecretProvider | undefined;
  /** Where values outlive the agent; undefined where nothing is to be kept. */
  sealed: SealedFile | undefined;
  key: HostKey;
  clock: Clock;
  redactor: Redactor;
  /** A value that was last read longer ago than that is not used any more. */
  maxStaleMs: number;
  /** Called when something has become known. */
  onChange: () => void;
}

/** Waits after a provider could not be asked; jitter only makes them longer. */
const RETRY = { initialMs: 5_000, maxMs: 60_000 };
/** Between two polls up to a tenth more or less passes, so that nodes do not ask at once. */
const POLL_JITTER = 0.1;
/** Older values of one path that are kept although nothing names them: a change may be taken back. */
const KEPT_VERSIONS = 3;
const DIGEST_DIGITS = 16;

function describeProvider(provider: SecretProvider | undefined): SecretFacts["provider"] {
  if (provider === undefined) return "none";
  return provider.kind === "infisical" ? "server" : "file";
}

/** What a program could print of a value: of a bootstrap file its single variables. */
function listShowable({ path, value }: KeptSecret): string[] {
  return isBootstrap(path) ? Object.values(readBootstrapVariables(value)) : [value.expose()];
}

type Known = Exclude<SecretAnswer, { kind: "value" }> | { kind: "value"; version: string };

/** The secrets of one node. */
export class SecretKeeper {
  readonly #options: KeeperOptions;
  readonly #digestKey: Buffer;
  /** Path → values, newest first. */
  #kept = new Map<string, KeptSecret[]>();
  #answers = new Map<string, Known>();
  #wanted: ReadonlySet<string> = new Set();
  #inUse: ReadonlySet<string> = new Set();
  #facts: SecretFacts;
  #reading: Promise<void> | undefined;
  #again = false;
  #failures = 0;
  #trouble: { reason: string; sinceMs: number } | undefined;
  #faults: string[] = [];
  #cancelTimer = (): void => undefined;
  #closed = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#digestKey = options.key.derive("secret digest");
    this.#facts = this.#buildFacts();
  }

  /** What is known now; the same object as long as nothing has changed. */
  get facts(): SecretFacts {
    return this.#facts;
  }

  /** True while a reading is under way. */
  get isBusy(): boolean {
    return this.#reading !== undefined;
  }

  /** What people should know: how the provider is set up, and since when it cannot be asked. */
  get notes(): string[] {
    const { provider, clock } = this.#options;
    const trouble = this.#trouble;
    if (provider === undefined) return this.#faults;
    const since =
      trouble === undefined
        ? []
        : [
            `secrets: ${provider.location} cannot be asked for ${describeDuration(clock.nowMs() - trouble.sinceMs)}: ` +
              `${trouble.reason}; what was known before is used`,
          ];
    return [...provider.notes, ...since, ...this.#faults];
  }

  /** Opens what is sealed on disk, and begins to watch the provider. */
  async start(): Promise<void> {
    const { sealed, provider, key } = this.#options;
    const { kept, lost } = (await sealed?.load()) ?? { kept: [], lost: 0 };
    this.#kept = Map.groupBy(kept, (entry) => entry.path);
    if (lost > 0)
      this.#faults.push(`secrets: ${lost} sealed values do not open with ${key.location}; they are read anew`);
    this.#learn();
    provider?.watch(() => this.refresh());
    this.#facts = this.#buildFacts();
  }

  /** Says which paths are needed; one that was never asked for is asked for at once. */
  want(paths: ReadonlySet<string>): void {
    const isNew = [...paths].some((path) => !this.#wanted.has(path) && !this.#answers.has(path));
    this.#wanted = paths;
    // A provider that cannot be asked is not asked more often because more is wanted of it.
    if (isNew && (this.#trouble === undefined || [...paths].some(isBootstrap))) this.refresh();
  }

  /** Says which versions a service runs with or could go back to: these are kept. */
  use(versions: ReadonlySet<string>): void {
    this.#inUse = versions;
  }

  /** The value of one version, for the one place that delivers it. */
  find(path: string, version: string): Secret | undefined {
    return this.#kept.get(path)?.find((entry) => entry.version === version)?.value;
  }

  /** Asks the provider now; while it is being asked already, once more after that. */
  refresh(): void {
    if (this.#closed) return;
    if (this.#reading !== undefined) {
      this.#again = true;
      return;
    }
    this.#cancelTimer();
    this.#reading = this.#read().finally(() => {
      this.#reading = undefined;
      if (!this.#again) return;
      this.#again = false;
      this.refresh();
    });
  }

  /** Ends watching and waits for a reading under way. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelTimer();
    this.#options.provider?.close();
    await this.#reading;
  }

  async #read(): Promise<void> {
    const { provider, clock } = this.#options;
    const wanted = [...this.#wanted].toSorted();
    const paths = wanted.filter((path) => !isBootstrap(path));
    const answers = new Map<string, SecretAnswer>();
    for (const path of wanted.filter(isBootstrap)) answers.set(path, await readBootstrap(path));
    if (paths.length > 0 && provider !== undefined) {
      for (const [path, answer] of await provider.read(paths)) answers.set(path, answer);
    }
    if (this.#closed) return;
    const nowMs = clock.nowMs();
    let news = false;
    for (const path of wanted) news = this.#take(path, answers.get(path), nowMs) || news;
    this.#forget(wanted);
    const down = paths.map((path) => answers.get(path)).find((answer) => answer?.kind === "unavailable");
    const wasDown = this.#trouble !== undefined;
    this.#noteTrouble(down, nowMs);
    this.#learn();
    await this.#save(wanted.some((path) => answers.get(path)?.kind !== "unavailable"));
    this.#schedule(down);
    // While it is down its age is told, which changes with each try.
    if (!news && !wasDown && down === undefined) return;
    this.#facts = this.#buildFacts();
    this.#options.onChange();
  }

  /** Takes one answer over; true when it says something else than the one before. */
  #take(path: string, answer: SecretAnswer | undefined, nowMs: number): boolean {
    const before = this.#answers.get(path);
    if (answer === undefined) return false;
    if (answer.kind !== "value") {
      this.#answers.set(path, answer);
      // What was revoked must not come back.
      if (answer.kind !== "unavailable") this.#kept.delete(path);
      return before?.kind !== answer.kind;
    }
    const version = this.#digest(path, answer.value);
    const others = (this.#kept.get(path) ?? []).filter((entry) => entry.version !== version);
    const kept = others.filter(
      (entry, index) => index < KEPT_VERSIONS - 1 || this.#inUse.has(nameVersion(path, entry.version)),
    );
    this.#kept.set(path, [{ path, version, readMs: nowMs, value: answer.value }, ...kept]);
    this.#answers.set(path, { kind: "value", version });
    return before?.kind !== "value" || before.version !== version;
  }

  /** What nothing wants and nothing runs with is not kept. */
  #forget(wanted: readonly string[]): void {
    for (const [path, entries] of this.#kept) {
      if (wanted.includes(path) || entries.some((entry) => this.#inUse.has(nameVersion(path, entry.version)))) continue;
      this.#kept.delete(path);
    }
    for (const path of this.#answers.keys()) if (!this.#wanted.has(path)) this.#answers.delete(path);
  }

  #noteTrouble(down: SecretAnswer | undefined, nowMs: number): void {
    this.#failures = down === undefined ? 0 : this.#failures + 1;
    if (down === undefined || down.kind === "value") this.#trouble = undefined;
    else this.#trouble = { reason: down.reason, sinceMs: this.#trouble?.sinceMs ?? nowMs };
  }

  #schedule(down: SecretAnswer | undefined): void {
    const { provider, clock } = this.#options;
    const delayMs = down?.kind === "unavailable" ? this.#retryMs(down) : this.#pollMs(provider?.pollMs);
    if (delayMs === undefined || this.#closed) return;
    this.#cancelTimer = clock.after(delayMs, () => this.refresh());
  }

  #retryMs({ waitMs = 0 }: { waitMs?: number }): number {
    const backoffMs = backoffDelayMs(RETRY, this.#failures - 1, "secrets");
    // The formula takes jitter off; here a wait must never be shorter than it says.
    return Math.max(waitMs, Math.min(RETRY.maxMs, backoffMs * 1.25));
  }

  #pollMs(pollMs: number | undefined): number | undefined {
    if (pollMs === undefined) return undefined;
    const { provider, clock } = this.#options;
    const spread = jitterFraction(`${provider?.location}\n${clock.nowMs()}`) * 2 - 1;
    return Math.round(pollMs * (1 + POLL_JITTER * spread));
  }

  async #save(hasRead: boolean): Promise<void> {
    if (!hasRead) return;
    const kept = [...this.#kept.values()].flat().filter((entry) => !isBootstrap(entry.path));
    try {
      await this.#options.sealed?.save(kept);
      this.#faults = [];
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#faults = [
        `secrets: the last known values could not be sealed on disk, a reboot would not have them: ${reason}`,
      ];
    }
  }

  #learn(): void {
    this.#options.redactor.learn([...this.#kept.values()].flat().flatMap(listShowable));
  }

  #digest(path: string, value: Secret): string {
    const digest = createHmac("sha256", this.#digestKey).update(`${path}\0${value.expose()}`).digest("hex");
    return digest.slice(0, DIGEST_DIGITS);
  }

  #buildFacts(): SecretFacts {
    const facts = new Map([...this.#answers].map(([path, answer]) => [path, this.#describe(path, answer)] as const));
    return {
      provider: describeProvider(this.#options.provider),
      look: (path) => facts.get(path),
      holds: (path, version) => this.find(path, version) !== undefined,
      matches: ({ path, version, variable }, pattern) => {
        const value = this.find(path, version);
        if (value === undefined) return undefined;
        if (variable === undefined) return pattern.test(value.expose());
        return pattern.test(readBootstrapVariables(value)[variable] ?? "");
      },
      listVariables: (path, version) => {
        const value = isBootstrap(path) ? this.find(path, version) : undefined;
        return value === undefined ? [] : Object.keys(readBootstrapVariables(value));
      },
      tryTemplate: (trial) => tryTemplate(trial, (path, version) => this.find(path, version)),
    };
  }

  #describe(path: string, answer: Known): SecretFact {
    const newest = this.#kept.get(path)?.[0];
    if (answer.kind === "value") return { ...answer, readMs: newest?.readMs ?? 0 };
    if (answer.kind !== "unavailable" || newest === undefined) return { kind: answer.kind, reason: answer.reason };
    const ageMs = this.#options.clock.nowMs() - newest.readMs;
    const { maxStaleMs } = this.#options;
    if (ageMs <= maxStaleMs)
      return { kind: "cached", version: newest.version, readMs: newest.readMs, reason: answer.reason };
    const limit = describeDuration(maxStaleMs);
    const reason = `${answer.reason}; its last value is ${describeDuration(ageMs)} old, more than the ${limit} allowed`;
    return { kind: "unavailable", reason };
  }
}
