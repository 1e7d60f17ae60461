// Notices that this node, or others of the realm, came up anew; follows it turn by turn and word by word; and keeps the last
// reports. Called by the loop on each turn and by the gossip when words have come in. It only watches: no start depends on it.

import { buildColdStartReport } from "../desired/cold-start/cold-start-report.ts";
import { type Clock, nameMoment } from "../host/os/clock.ts";
import type { PeerCold, PeerPort } from "../gossip/peer-port.ts";
import { watchColdStart } from "../plan/memory/cold-watch.ts";
import type { Plan, World } from "../plan/world.ts";
import type {
  ColdStartMemory,
  ColdStartReport,
  ColdStartStatement,
  OwnColdStart,
} from "../../shared/state/cold-start.ts";
import type { Emit } from "../../shared/state/event.ts";
import { sha256 } from "../../shared/state/identity.ts";

/** What it works with. */
export interface ColdStartOptions {
  node: string;
  clock: Clock;
  bootId: string;
  emit: Emit;
  memory: ColdStartMemory | undefined;
  peers: Pick<PeerPort, "coldStartStatements">;
}

const REPORTS_KEPT = 5;
const KNOWN_KEPT = 128;
/** A node that is away when all others have come up may still come, and be in the report. */
const GRACE_MS = 60_000;
/** One that comes later than that belongs to it all the same. */
const REOPEN_MS = 600_000;
/** What was said of a cold start is said for so long after it. */
const SAID_MS = 900_000;
/** A peer's begin is corrected by words that came faster by more than this. */
const SEEN_STEP_MS = 20;

interface Session {
  /** By the clock that never jumps. */
  beganMs: number;
  words: Map<string, ColdStartStatement>;
  /** When everything that was reached had come up, by the clock that never jumps. */
  quietMs: number | undefined;
}

/** Follows cold starts. */
export class ColdStarts {
  readonly #options: ColdStartOptions;
  readonly #startedMs: number;
  #memory: ColdStartMemory;
  /** When the own start began, by the clock that never jumps. */
  #beganMs = 0;
  #looked = false;
  readonly #seen = new Map<string, number>();
  readonly #heard = new Map<string, string>();
  /** Of each other node, what the last judgement was made from. */
  readonly #judged = new Map<string, string>();
  #word: { key: string; word: ColdStartStatement } | undefined;
  #session: Session | undefined;
  #last: { session: Session; endedMs: number } | undefined;

  constructor(options: ColdStartOptions) {
    this.#options = options;
    this.#startedMs = options.clock.monotonicMs();
    this.#memory = options.memory ?? { reports: [], known: [] };
    const { own } = this.#memory;
    if (own !== undefined) this.#beganMs = findBegin(own, options);
  }

  /** To be stored with each turn. */
  get memory(): ColdStartMemory {
    return this.#memory;
  }

  /** Takes a turn; answers what this node has to say of its own cold start, where that is news. */
  look(world: World, planned: Plan): ColdStartStatement | undefined {
    const { engine } = world.observed;
    if (engine.reachable) this.#follow(sha256(engine.run).slice(0, 12), world, planned);
    this.#looked = true;
    this.hear();
    const { own } = this.#memory;
    if (own?.doneMs !== undefined && this.#elapsedMs - own.doneMs > SAID_MS)
      this.#memory = { ...this.#memory, own: undefined };
    return this.#word?.word;
  }

  /**
   * Words of other nodes may have come in.
   * @param changed those that have; without it, all are looked at
   */
  hear(changed?: readonly PeerCold[]): void {
    const matters = (changed ?? []).filter((peer) => this.#hearOne(peer)).length > 0;
    if (changed !== undefined && !matters) return;
    const peers = this.#options.peers.coldStartStatements();
    if (changed === undefined) for (const peer of peers) this.#hearOne(peer);
    this.#say(peers.filter(({ why }) => why === undefined).map(({ node }) => node));
    this.#judge(peers);
  }

  /** Takes one node's word; true where the whole is to be judged anew: during a cold start, most records only tell of services. */
  #hearOne({ node, version, word, why }: PeerCold): boolean {
    const before = this.#seen.get(node);
    if (word !== undefined && this.#heard.get(node) !== version) {
      this.#heard.set(node, version);
      const beganMs = Math.round(this.#options.clock.monotonicMs() - word.ageMs - this.#beganMs);
      if (before === undefined || beganMs < before - SEEN_STEP_MS) this.#seen.set(node, beganMs);
    }
    if (word !== undefined && this.#session?.words.has(node) === true) this.#session.words.set(node, word);
    const judged = `${word?.run} ${word?.done} ${why === undefined}`;
    const isSame = this.#judged.get(node) === judged && this.#seen.get(node) === before;
    this.#judged.set(node, judged);
    return !isSame;
  }

  /** The reports, newest first; the first may be under way. */
  list(): ColdStartReport[] {
    const current = this.#session === undefined ? [] : [this.#build(this.#session, undefined)];
    return [...current, ...this.#memory.reports];
  }

  get #elapsedMs(): number {
    return Math.round(this.#options.clock.monotonicMs() - this.#beganMs);
  }

  #follow(run: string, world: World, planned: Plan): void {
    const { clock, bootId } = this.#options;
    const { lastRun, own: before } = this.#memory;
    if (lastRun !== run) {
      // Seen at this agent's first look, it began when the agent did; else at this turn. On a new installation nothing came back.
      this.#beganMs = this.#looked ? clock.monotonicMs() : this.#startedMs;
      this.#seen.clear();
      this.#heard.clear();
      const begin = { boot: bootId, beganMs: this.#beganMs };
      const own = { run, beganMs: nameMoment(clock, this.#beganMs), clock: begin, services: {} };
      this.#memory = { ...this.#memory, lastRun: run, own: lastRun === undefined ? undefined : own };
    } else if (before?.doneMs !== undefined) return;
    const { own } = this.#memory;
    if (own === undefined) return;
    const next = watchColdStart(own, { world, planned }, this.#elapsedMs);
    // Everything ran on: that is no cold start.
    const isNone = next.doneMs !== undefined && Object.keys(next.services).length === 0;
    this.#memory = { ...this.#memory, own: isNone ? undefined : next };
  }

  /** Says it anew where something changed, and where another node has just been reached: it learns the age from that. */
  #say(reached: readonly string[]): void {
    const { own } = this.#memory;
    if (own === undefined || Object.keys(own.services).length === 0) {
      this.#word = undefined;
      return;
    }
    const services = Object.fromEntries(Object.entries(own.services).map(([name, { word }]) => [name, word]));
    const done = own.doneMs === undefined ? {} : { done: true as const };
    const seen = Object.fromEntries(this.#seen);
    const key = JSON.stringify([services, done, seen, reached, own.run]);
    if (this.#word?.key === key) return;
    this.#word = { key, word: { run: own.run, ageMs: Math.max(0, this.#elapsedMs), ...done, seen, services } };
  }

  #judge(peers: ReturnType<PeerPort["coldStartStatements"]>): void {
    const { node: ownNode, clock } = this.#options;
    const all = [{ node: ownNode, word: this.#word?.word, why: undefined }, ...peers];
    const present = all.flatMap(({ node, word }) => (word === undefined ? [] : [{ node, word }]));
    const isFresh = present.some(({ node, word }) => !this.#memory.known.includes(nameStart(node, word)));
    if (this.#session === undefined && !isFresh) return;
    const session = (this.#session ??= this.#open(present));
    for (const { node, word } of present)
      if (session.words.has(node) || !this.#memory.known.includes(nameStart(node, word))) session.words.set(node, word);
    const away = listAway(session, peers);
    const isQuiet = [...session.words].every(
      ([node, { done }]) => done === true || away.some((one) => one.node === node),
    );
    const nowMs = clock.monotonicMs();
    session.quietMs = isQuiet ? (session.quietMs ?? nowMs) : undefined;
    if (session.quietMs === undefined || (away.length > 0 && nowMs - session.quietMs < GRACE_MS)) return;
    this.#end(session);
  }

  #open(present: readonly { node: string; word: ColdStartStatement }[]): Session {
    const { clock } = this.#options;
    const nowMs = clock.monotonicMs();
    if (this.#last !== undefined && nowMs - this.#last.endedMs < REOPEN_MS) {
      const [, ...reports] = this.#memory.reports;
      this.#memory = { ...this.#memory, reports };
      return { ...this.#last.session, quietMs: undefined };
    }
    const ages = present
      .filter(({ node, word }) => !this.#memory.known.includes(nameStart(node, word)))
      .map(({ word }) => word.ageMs);
    return { beganMs: nowMs - Math.max(...ages), words: new Map(), quietMs: undefined };
  }

  #end(session: Session): void {
    const { clock, emit } = this.#options;
    const report = this.#build(session, clock.nowMs());
    const starts = [...session.words].map(([node, word]) => nameStart(node, word));
    this.#memory = {
      ...this.#memory,
      reports: [report, ...this.#memory.reports].slice(0, REPORTS_KEPT),
      known: [...new Set([...starts, ...this.#memory.known])].slice(0, KNOWN_KEPT),
    };
    this.#last = { session, endedMs: clock.monotonicMs() };
    this.#session = undefined;
    emit({ kind: "cold-start", atMs: clock.nowMs(), report });
  }

  #build(session: Session, endedMs: number | undefined): ColdStartReport {
    const missing = listAway(session, this.#options.peers.coldStartStatements());
    const beganMs = nameMoment(this.#options.clock, session.beganMs);
    return buildColdStartReport(session.words, { beganMs, endedMs, missing });
  }
}

/** When a cold start began that the agent before this one has seen, by the clock that never jumps. */
function findBegin({ clock: begin, beganMs }: OwnColdStart, { clock, bootId }: ColdStartOptions): number {
  if (begin?.boot === bootId) return Math.min(begin.beganMs, clock.monotonicMs());
  return clock.monotonicMs() - Math.max(0, clock.nowMs() - beganMs);
}

function nameStart(node: string, { run }: ColdStartStatement): string {
  return `${node}@${run}`;
}

/** Nodes that are not reached and have not come up. */
function listAway(
  { words }: Session,
  peers: ReturnType<PeerPort["coldStartStatements"]>,
): { node: string; why: string }[] {
  return peers.flatMap(({ node, why }) => (why === undefined || words.get(node)?.done === true ? [] : [{ node, why }]));
}
