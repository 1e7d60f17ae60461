// A node that is lost, its spare, and two peers, by one seed: the spare takes the place while the old node comes back before it, in the
// middle or after it, cut off from some or from all, with its wall clock a year off. Each machine runs its proxy by `judgeTenure` alone.

import { signTakeover } from "../../../agent/gossip/core/takeovers.ts";
import { TENURE_PATIENCE_MS } from "../../../agent/gossip/settings.ts";
import { GossipFleet, RECOVERY_KEY } from "../../../scripts/lab/gossip/gossip-fleet.ts";
import { tagSigner } from "../../../scripts/lab/gossip/gossip-wire.ts";
import { judgeTenure, type SignedTakeover, type Tenure } from "../../../shared/fleet/takeover.ts";

/** n0001 is lost, n0002 and n0003 are its peers, n0004 is its spare. */
const [OLD, SPARE] = ["n0001", "n0004"] as const;
const PEERS = ["n0002", "n0003"];
/** The machines that may run the node's services. */
const CLAIMANTS = [OLD, SPARE] as const;
/** How often a machine acts on its tenure: a turn of the loop, which a change of it wakes. */
const TURN_MS = 250;
const YEAR_MS = 365 * 86_400_000;

/** How the old node meets the takeover. */
export const RETURNS = ["before", "middle", "after", "never gone", "cut off from all", "restarts late"] as const;

/** What one run has shown. */
export interface TakeoverRun {
  /** The longest time in which both ran a proxy while a way led from one to the other. */
  bothMs: number;
  /** Both ran while no way led from one to the other: nothing can be done about that. */
  apartMs: number;
  /** The longest time in which nobody ran one, though a machine that may was up. */
  noneMs: number;
  /** Somebody was told of the takeover, or that a node is away. */
  isTold: boolean;
  /** Machines that run a proxy in the end. */
  running: string[];
  tenures: Record<string, Tenure["kind"] | "down">;
}

interface Machine {
  hasHeard: boolean;
  startedMs: number;
  /** The agent keeps what runs when it restarts, and a boot ends it. */
  runs: boolean;
}

/** Plays one seed. */
export class TakeoverSim {
  readonly fleet: GossipFleet;
  readonly #machines = new Map<string, Machine>();
  readonly #seed: number;
  readonly #run: TakeoverRun = { bothMs: 0, apartMs: 0, noneMs: 0, isTold: false, running: [], tenures: {} };
  #both = 0;
  #none = 0;

  constructor(seed: number) {
    this.#seed = seed;
    this.fleet = new GossipFleet({ nodes: 4, seed, drift: 0.05 });
  }

  /** The old node is up, then lost; the spare takes over; the old one returns as `how` says. */
  play(how: (typeof RETURNS)[number]): TakeoverRun {
    const { fleet } = this;
    const { rng } = fleet;
    for (const name of [OLD, ...PEERS]) this.#boot(name);
    this.#pass(4_000 + rng() * 4_000);
    fleet.loss = rng() < 0.3 ? rng() * 0.15 : 0;
    if (how === "cut off from all") fleet.isolate(OLD);
    else if (how !== "never gone") this.#powerOff(OLD);
    this.#pass(2_000 + rng() * 20_000);
    if (how === "before") this.#powerOn(OLD);
    if (how === "before") this.#pass(rng() * 40_000);
    const takeover = this.#takeover(1);
    if (rng() < 0.3) fleet.isolate(PEERS[0] as string);
    if (how === "middle") fleet.after(rng() * 3_000, () => this.#powerOn(OLD));
    this.#boot(SPARE, { node: OLD, takeovers: [takeover] });
    this.#pass(1_000 + rng() * 50_000);
    this.#disturb(how);
    this.#pass(40_000 + rng() * 20_000);
    fleet.loss = 0;
    for (const name of fleet.names) fleet.join(name);
    if (!fleet.live.includes(OLD)) this.#powerOn(OLD);
    this.#pass(45_000);
    return { ...this.#run, running: this.#running(), isTold: this.#isTold(), tenures: this.#tenures() };
  }

  /** What happens in the middle of it. */
  #disturb(how: (typeof RETURNS)[number]): void {
    const { fleet } = this;
    const { rng } = fleet;
    if (how === "after" || how === "restarts late") this.#powerOn(OLD);
    if (how === "restarts late") {
      this.#pass(rng() * 2_000);
      fleet.partition([OLD], [SPARE, PEERS[0] as string]);
      fleet.crash(OLD);
      this.#start(OLD);
    }
    if (rng() < 0.3) {
      fleet.crash(SPARE);
      this.#start(SPARE);
    }
    if (rng() < 0.3) fleet.partition([OLD], PEERS);
  }

  #takeover(term: number): SignedTakeover {
    const spoken = { realm: "prod", node: OLD, spare: SPARE, term, key: `key-${SPARE}`, address: SPARE };
    return signTakeover(spoken, tagSigner(RECOVERY_KEY));
  }

  /** The machine boots: nothing of it runs. */
  #boot(name: string, choices: { node?: string; takeovers?: readonly SignedTakeover[] } = {}): void {
    this.#machines.set(name, { hasHeard: false, startedMs: this.fleet.nowMs, runs: false });
    this.fleet.start(name, choices);
    this.#say(name);
  }

  /** The agent starts anew; what runs goes on. */
  #start(name: string): void {
    const { runs = false } = this.#machines.get(name) ?? {};
    this.#machines.set(name, { hasHeard: false, startedMs: this.fleet.nowMs, runs });
    this.fleet.start(name);
    this.#say(name);
  }

  #powerOff(name: string): void {
    this.fleet.powerOff(name);
    this.#machines.delete(name);
  }

  #powerOn(name: string): void {
    if (this.fleet.live.includes(name)) return;
    this.fleet.join(name);
    this.#boot(name);
  }

  /** Services are said with a time that is a year off: only people read it. */
  #say(name: string): void {
    const sinceMs = (this.fleet.rng() - 0.5) * 2 * YEAR_MS;
    this.fleet.publish(name, { proxy: { ready: true, state: "healthy", sinceMs } });
  }

  #pass(forMs: number): void {
    for (let passed = 0; passed < forMs; passed += TURN_MS) {
      this.fleet.run(TURN_MS);
      for (const name of CLAIMANTS) this.#turn(name);
      this.#watch();
    }
  }

  /** One turn of a machine: it stops or starts what its tenure says. */
  #turn(name: string): void {
    const machine = this.#machines.get(name);
    const tenure = this.#judge(name);
    if (machine === undefined || tenure === undefined) return;
    if (tenure.kind === "replaced") machine.runs = false;
    if (tenure.kind === "held" || tenure.kind === "alone") machine.runs = true;
  }

  #judge(name: string): Tenure | undefined {
    const machine = this.#machines.get(name);
    if (machine === undefined || !this.fleet.live.includes(name)) return undefined;
    machine.hasHeard ||= this.fleet
      .of(name)
      .view()
      .some(({ stale, words }) => stale === undefined && words !== undefined);
    return judgeTenure({
      publicKey: `key-${name}`,
      takeover: this.fleet.takeoversOf(name).find(({ node }) => node === OLD),
      hasStandby: true,
      hasHeard: machine.hasHeard,
      sinceStartMs: this.fleet.nowMs - machine.startedMs,
      patienceMs: TENURE_PATIENCE_MS,
    });
  }

  #watch(): void {
    const run = this.#run;
    const running = this.#running();
    const isWay = this.#isWay(OLD, SPARE);
    this.#both = running.length > 1 && isWay ? this.#both + TURN_MS : 0;
    run.bothMs = Math.max(run.bothMs, this.#both);
    if (running.length > 1 && !isWay) run.apartMs += TURN_MS;
    const isUp = CLAIMANTS.some((name) => this.fleet.live.includes(name));
    this.#none = running.length === 0 && isUp ? this.#none + TURN_MS : 0;
    run.noneMs = Math.max(run.noneMs, this.#none);
  }

  /** A way over live machines, each of which speaks to the next in both directions. */
  #isWay(from: string, to: string): boolean {
    const seen = new Set([from]);
    for (const one of seen)
      for (const next of this.fleet.names)
        if (this.fleet.reaches(one, next) && this.fleet.reaches(next, one)) seen.add(next);
    return seen.has(to);
  }

  #running(): string[] {
    return CLAIMANTS.filter((name) => this.#machines.get(name)?.runs === true);
  }

  #isTold(): boolean {
    return this.fleet.seen.some(({ event }) => event.kind === "takeover" || event.kind === "unreachable");
  }

  #tenures(): TakeoverRun["tenures"] {
    return Object.fromEntries(CLAIMANTS.map((name) => [name, this.#judge(name)?.kind ?? "down"]));
  }

  /** The seed, for messages. */
  get seed(): number {
    return this.#seed;
  }
}
