// Knows the secrets of this node: asks the provider, keeps what it said last sealed on disk, and says what is known without
// a value. The only place that holds values between their reading and their delivery.

import { createHmac } from "node:crypto";

import { backoffDelayMs } from "../../shared/backoff.ts";
import { jitterFraction } from "../../shared/identity.ts";
import type { Redactor } from "../../shared/redactor.ts";
import type { Secret } from "../../shared/secret.ts";
import { nameVersion, type SecretFacts, type SecretTrouble } from "../../shared/secret-facts.ts";
import type { SecretAnswer, SecretProvider, SecretRefused } from "../../shared/secret-provider.ts";
import type { Clock } from "../host/clock.ts";
import { isBootstrap, readBootstrap, readBootstrapVariables } from "./bootstrap-file.ts";
import { buildFacts, describeFact, type Known } from "./fact-view.ts";
import type { HostKey } from "./host-key.ts";
import { REFUSAL_POLL_MS, Refusals } from "./refusals.ts";
import { judgeRound, type RoundVerdict } from "./round.ts";
import type { KeptSecret, SealedFile } from "./seal.ts";

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
/** The same after it refused everything: a question for each secret, which a person has to help with. */
const RETRY_REFUSED = { initialMs: 5_000, maxMs: 300_000 };
/** Between two polls up to a tenth more or less passes, so that nodes do not ask at once. */
const POLL_JITTER = 0.1;
/** So much later than a provider asked for, at most, so that nodes behind one address do not come back at once. */
const WAIT_SPREAD_MS = 5_000;
/** Older values of one path that are kept although nothing names them: a change may be taken back. */
const KEPT_VERSIONS = 3;
const DIGEST_DIGITS = 16;

/** What a program could print of a value: of a bootstrap file its single variables. */
function listShowable({ path, value }: KeptSecret): string[] {
  return isBootstrap(path) ? Object.values(readBootstrapVariables(value)) : [value.expose()];
}

/** The secrets of one node. */
export class SecretKeeper {
  readonly #options: KeeperOptions;
  readonly #digestKey: Buffer;
  /** Path → values, newest first. */
  #kept = new Map<string, KeptSecret[]>();
  #answers = new Map<string, Known>();
  readonly #refusals: Refusals;
  #wanted: ReadonlySet<string> = new Set();
  /** Folders outside of which nothing may be asked for. */
  #within: readonly string[] | undefined;
  /** What a round that was cut off has still to ask for, and whether it has read a value yet. */
  #rest: { paths: ReadonlySet<string>; answered: boolean } | undefined;
  /** Values that are gone, and that a container which still runs may print. */
  #spent = new Map<string, readonly string[]>();
  #inUse: ReadonlySet<string> = new Set();
  #facts: SecretFacts;
  #reading: Promise<void> | undefined;
  #again = false;
  #failures = 0;
  #trouble: SecretTrouble | undefined;
  #faults: string[] = [];
  #cancelTimer = (): void => undefined;
  #closed = false;
  /** False until somebody has said what is needed: nothing may be forgotten before that. */
  #knowsWants = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#digestKey = options.key.derive("secret digest");
    this.#refusals = new Refusals(options.clock);
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

  /** What people should know of how the provider is set up, and of what is kept. */
  get notes(): string[] {
    return [...(this.#options.provider?.notes ?? []), ...this.#faults];
  }

  /** Why the provider gives nothing, and since when. */
  get trouble(): SecretTrouble | undefined {
    return this.#trouble;
  }

  /** Opens what is sealed on disk, and begins to watch the provider. */
  async start(): Promise<void> {
    const { sealed, provider, key } = this.#options;
    const { kept, lost, refusals = [] } = (await sealed?.load()) ?? { kept: [], lost: 0 };
    this.#refusals.load(refusals);
    this.#kept = Map.groupBy(kept, (entry) => entry.path);
    if (lost > 0)
      this.#faults.push(`secrets: ${lost} sealed values do not open with ${key.location}; they are read anew`);
    this.#learn();
    provider?.watch(() => this.refresh());
    this.#facts = this.#buildFacts();
  }

  /**
   * Says which paths are needed; one that was never asked for is asked for at once.
   * @param within folders outside of which nothing may be asked for; undefined: none are set
   */
  want(paths: ReadonlySet<string>, within?: readonly string[]): void {
    const isNew = [...paths].some((path) => !this.#wanted.has(path) && !this.#answers.has(path));
    this.#wanted = paths;
    this.#within = within;
    this.#knowsWants = true;
    // A provider that cannot be asked is not asked more often because more is wanted of it.
    if (!isNew || (this.#trouble !== undefined && ![...paths].some(isBootstrap))) return;
    if (this.#rest === undefined) this.refresh();
    else this.#begin();
  }

  /** Says which versions a service runs with or could go back to: these are kept. */
  use(versions: ReadonlySet<string>): void {
    this.#inUse = versions;
  }

  /** The value of one version, for the one place that delivers it. */
  find(path: string, version: string): Secret | undefined {
    return this.#kept.get(path)?.find((entry) => entry.version === version)?.value;
  }

  /** Asks the provider now, for everything; while it is being asked already, once more after that. */
  refresh(): void {
    this.#rest = undefined;
    this.#begin();
  }

  /** Asks for everything, or for what a round that was cut off has left. */
  #begin(): void {
    if (this.#closed || !this.#knowsWants) return;
    if (this.#reading !== undefined) {
      this.#again = true;
      return;
    }
    this.#cancelTimer();
    this.#reading = this.#read().finally(() => {
      this.#reading = undefined;
      if (!this.#again) return;
      this.#again = false;
      this.#begin();
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
    const all = provider === undefined ? [] : wanted.filter((path) => !isBootstrap(path));
    const rest = this.#rest;
    const paths = rest === undefined ? all : all.filter((path) => rest.paths.has(path) || !this.#answers.has(path));
    const answers = new Map<string, SecretAnswer>();
    for (const path of wanted.filter(isBootstrap)) answers.set(path, await readBootstrap(path));
    const given = paths.length > 0 ? await provider?.read(paths, this.#within) : undefined;
    if (this.#closed) return;
    const round = judgeRound({
      answers: given ?? new Map(),
      size: all.length,
      answeredBefore: rest?.answered ?? false,
    });
    for (const [path, answer] of given ?? []) answers.set(path, answer);
    const nowMs = clock.nowMs();
    let news = false;
    for (const [path, answer] of answers) news = this.#take(path, answer, { round, nowMs }) || news;
    this.#forget(wanted);
    const wasDown = this.#trouble !== undefined;
    this.#noteTrouble(round, nowMs);
    // A reading that was asked for meanwhile begins anew.
    const goesOn = round.left.length > 0 && this.#trouble === undefined;
    if (this.#rest === rest) this.#rest = goesOn ? { paths: new Set(round.left), answered: round.answered } : undefined;
    this.#learn();
    await this.#save([...answers.values()].some(({ kind }) => kind !== "unavailable"));
    this.#schedule(round);
    if (!news && !wasDown && this.#trouble === undefined) return;
    this.#facts = this.#buildFacts();
    this.#options.onChange();
  }

  /** Takes one answer over; true when it says something else than the one before. */
  #take(path: string, answer: SecretAnswer, { round, nowMs }: { round: RoundVerdict; nowMs: number }): boolean {
    const before = this.#answers.get(path);
    if (answer.kind === "unavailable") {
      // The round goes on there in a moment.
      if (round.down === undefined && before?.kind === "value") return false;
      this.#answers.set(path, answer);
      return before?.kind !== answer.kind;
    }
    if (answer.kind !== "value") return this.#takeRefusal(path, answer, round);
    const version = this.#digest(path, answer.value);
    const others = (this.#kept.get(path) ?? []).filter((entry) => entry.version !== version);
    const kept = others.filter(
      (entry, index) => index < KEPT_VERSIONS - 1 || this.#inUse.has(nameVersion(path, entry.version)),
    );
    this.#kept.set(path, [{ path, version, readMs: nowMs, value: answer.value }, ...kept]);
    this.#answers.set(path, { kind: "value", version });
    this.#refusals.clear(path);
    this.#spent.delete(path);
    return before?.kind !== "value" || before.version !== version;
  }

  /** A refusal of everything is a failure of the round; one of a path ends its value when it has stood for its time. */
  #takeRefusal(path: string, answer: SecretRefused, round: RoundVerdict): boolean {
    const before = this.#answers.get(path);
    const kept = this.#kept.get(path);
    const { kind, reason } = answer;
    if (kept !== undefined && !round.confirmed && !isBootstrap(path)) {
      this.#answers.set(path, { kind: "unavailable", reason: `it refuses everything: ${reason}` });
      return before?.kind !== "unavailable";
    }
    const known = this.#refusals.get(path);
    this.#answers.set(path, { kind, reason });
    if (kept === undefined && known === undefined) return before?.kind !== kind || before.reason !== reason;
    const refusal = this.#refusals.note(path, answer, kept?.[0]?.readMs ?? known?.readMs ?? 0);
    if (refusal.ended && kept !== undefined) {
      // What was revoked must not come back.
      this.#spent.set(path, kept.flatMap(listShowable));
      this.#kept.delete(path);
    }
    return known === undefined || known.ended !== refusal.ended || known.reason !== reason || before?.kind !== kind;
  }

  /** What nothing wants and nothing runs with is not kept. */
  #forget(wanted: readonly string[]): void {
    for (const [path, entries] of this.#kept) {
      if (wanted.includes(path) || entries.some((entry) => this.#inUse.has(nameVersion(path, entry.version)))) continue;
      this.#kept.delete(path);
    }
    for (const path of this.#answers.keys()) if (!this.#wanted.has(path)) this.#answers.delete(path);
    for (const path of this.#spent.keys()) if (!this.#wanted.has(path)) this.#spent.delete(path);
    this.#refusals.keepOnly(this.#wanted);
  }

  #noteTrouble({ down, refusesAll }: RoundVerdict, nowMs: number): void {
    const reason = down?.reason ?? (refusesAll === undefined ? undefined : `it refuses everything: ${refusesAll}`);
    this.#failures = reason === undefined ? 0 : this.#failures + 1;
    const { provider } = this.#options;
    // What was never given is refused, and said so of the services that ask for it: the provider is not in trouble for that.
    const isNews = down !== undefined || this.#kept.size > 0;
    if (reason === undefined || provider === undefined || !isNews) this.#trouble = undefined;
    else {
      const { location } = provider;
      const refused = reason.startsWith("it refuses everything");
      this.#trouble = { location, reason, refused, sinceMs: this.#trouble?.sinceMs ?? nowMs };
    }
  }

  #schedule(round: RoundVerdict): void {
    const delayMs = this.#chooseDelayMs(round);
    if (delayMs === undefined || this.#closed) return;
    this.#cancelTimer = this.#options.clock.after(delayMs, () => this.#begin());
  }

  #chooseDelayMs({ left, waitMs, down, refusesAll }: RoundVerdict): number | undefined {
    if (left.length > 0 || refusesAll !== undefined) {
      const retry = refusesAll === undefined ? RETRY : RETRY_REFUSED;
      const failures = down === undefined && refusesAll === undefined ? 0 : Math.max(0, this.#failures - 1);
      // The formula takes jitter off; here a wait must never be shorter than it says.
      const backoffMs = backoffDelayMs(retry, failures, "secrets") * 1.25;
      const askedMs = waitMs === 0 ? 0 : waitMs + this.#spread() * WAIT_SPREAD_MS;
      return Math.max(askedMs, Math.min(retry.maxMs, backoffMs));
    }
    const pollMs = this.#pollMs(this.#options.provider?.pollMs);
    // A refusal is asked about again, also of a provider that says itself when something changes.
    return this.#refusals.isOpen ? Math.min(REFUSAL_POLL_MS, pollMs ?? REFUSAL_POLL_MS) : pollMs;
  }

  /** Another number from 0 to 1 on each node. */
  #spread(): number {
    return jitterFraction(
      `${this.#options.key.derive("secret spread").toString("hex")}\n${this.#options.clock.nowMs()}`,
    );
  }

  #pollMs(pollMs: number | undefined): number | undefined {
    return pollMs === undefined ? undefined : Math.round(pollMs * (1 + POLL_JITTER * (this.#spread() * 2 - 1)));
  }

  async #save(hasRead: boolean): Promise<void> {
    if (!hasRead) return;
    const kept = [...this.#kept.values()].flat().filter((entry) => !isBootstrap(entry.path));
    try {
      await this.#options.sealed?.save(kept, this.#refusals.list());
      this.#faults = [];
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#faults = [
        `secrets: the last known values could not be sealed on disk, a reboot would not have them: ${reason}`,
      ];
    }
  }

  #learn(): void {
    const kept = [...this.#kept.values()].flat().flatMap(listShowable);
    this.#options.redactor.learn([...kept, ...[...this.#spent.values()].flat()]);
  }

  #digest(path: string, value: Secret): string {
    const digest = createHmac("sha256", this.#digestKey).update(`${path}\0${value.expose()}`).digest("hex");
    return digest.slice(0, DIGEST_DIGITS);
  }

  #buildFacts(): SecretFacts {
    const { provider, clock, maxStaleMs } = this.#options;
    const ages = { nowMs: clock.nowMs(), maxStaleMs };
    const paths = [...this.#answers.keys(), ...this.#refusals.list().map(({ path }) => path)];
    const facts = paths.map((path) => {
      const [newest] = this.#kept.get(path) ?? [];
      const known = { answer: this.#answers.get(path), newest, refusal: this.#refusals.get(path) };
      return [path, describeFact(known, ages)] as const;
    });
    return buildFacts(provider, new Map(facts), (path, version) => this.find(path, version));
  }
}
