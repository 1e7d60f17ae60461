// A whole fleet's gossip in one thread: a virtual clock, streams that lose and delay, hosts that freeze, crash and come back.
// The same seed is the same run. Streams are modelled as TCP behaves: what is lost comes later, and holds up what is behind it.

import { Gossip } from "../../../agent/gossip/core/gossip.ts";
import type { Message } from "../../../agent/gossip/core/message.ts";
import type { ServiceStatement } from "../../../agent/gossip/core/record.ts";
import type { Effect, Member } from "../../../agent/gossip/core/state.ts";
import { type LedFleet, leadFleet, type SignedTakeover } from "../../../shared/fleet/takeover.ts";
import type { GossipEvent } from "../../../shared/fleet/gossip-event.ts";
import { EventHeap, seedRng } from "./event-heap.ts";
import { Cores, type CpuModel } from "./gossip-cores.ts";
import { dialOver } from "./gossip-dial.ts";
import { Streams } from "./gossip-streams.ts";
import { countBytes, countPacket, countPayload, tagSigner } from "./gossip-wire.ts";
import { TICK_MS } from "../../../agent/gossip/settings.ts";

/** What a simulation is made with. */
export interface FleetOptions {
  nodes: number;
  seed: number;
  /** Share of packets that are lost, 0 to 1. */
  loss?: number;
  /** One-way delay, in milliseconds. */
  delayMs?: [number, number];
  meshLimit?: number;
  interests?: (node: string) => readonly string[];
  /** Without it, work takes no time. */
  cpu?: CpuModel;
  /** Each host's clock goes faster or slower than time by up to this share, and began somewhere else. */
  drift?: number;
  /** How the kernel repeats the first packet of a dial (gossip-dial.ts); none, as on older kernels, unless told. */
  synLinearTimeouts?: number;
  /** Their kernels do not double the waits of thin streams: net.ipv4.tcp_thin_linear_timeouts. */
  isLinear?: boolean;
}

/** Who verifies takeovers in a simulated fleet. */
export const RECOVERY_KEY = "key-recovery";

interface Host {
  name: string;
  /** The node that it speaks for: its own, unless it is a spare in another's place. */
  node: string;
  /** The takeovers that its disk remembers. */
  takeovers: SignedTakeover[];
  gossip: Gossip | undefined;
  /** What the disk remembers. */
  boot: number;
  key: string;
  up: boolean;
  frozen: boolean;
  inbox: (() => void)[];
  /** Counts lives, so that what was meant for an earlier one is dropped. */
  life: number;
  /** Its monotonic clock: what it shows at the start of time, and how fast it goes. */
  clock: { beganMs: number; rate: number };
}

/** Something that one node said or noticed, and when. */
export interface Seen {
  atMs: number;
  node: string;
  event: GossipEvent;
}

/** How a process starts: on which disk, with whose key, in whose place. */
interface StartChoices {
  boot?: number;
  key?: string;
  node?: string;
  takeovers?: readonly SignedTakeover[];
}

function keepTakeover(host: Host, takeover: SignedTakeover): void {
  host.takeovers = [...host.takeovers.filter(({ node }) => node !== takeover.node), takeover];
}

/** A simulated fleet. */
export class GossipFleet {
  readonly names: readonly string[];
  readonly rng: () => number;
  readonly seen: Seen[] = [];
  readonly hints: { atMs: number; node: string }[] = [];
  /** Called at each change of what a node knows of another; undefined stands for its roster. */
  onChange: (node: string, of: string | undefined) => void = () => undefined;
  /** What the network does to messages besides losing them. */
  tamper: (message: Message) => readonly Message[] = (message) => [message];
  /** Bytes put on the wire, with acknowledgements and what is sent again. */
  sentBytes = 0;
  events = 0;
  nowMs = 0;
  /** One way, in milliseconds; each packet's is drawn between the two, so that packets overtake each other. */
  delayMs: [least: number, most: number];
  /** Share of packets that are lost. */
  loss: number;
  readonly #options: FleetOptions;
  readonly #heap = new EventHeap();
  readonly #hosts = new Map<string, Host>();
  readonly #streams: Streams;
  readonly #cores: Cores | undefined;
  readonly #cut = new Set<string>();
  #rosters: ReadonlyMap<string, Member>;
  #nonces = 0;
  #changed = true;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.rng = seedRng(options.seed);
    this.delayMs = options.delayMs ?? [0.15, 0.75];
    this.loss = options.loss ?? 0;
    this.#streams = this.#lay();
    const { cpu } = options;
    this.#cores = cpu === undefined ? undefined : new Cores(cpu.cores, (delayMs, act) => this.after(delayMs, act));
    this.names = Array.from({ length: options.nodes }, (_, index) => `n${String(index + 1).padStart(4, "0")}`);
    this.#rosters = new Map(this.names.map((name) => [name, { publicKey: `key-${name}`, address: name }]));
    const { drift = 0 } = options;
    for (const name of this.names) {
      const state = { gossip: undefined, boot: 0, up: false, frozen: false, inbox: [], life: 0 };
      const clock =
        drift === 0 ? { beganMs: 0, rate: 1 } : { beganMs: this.rng() * 1e9, rate: 1 + drift * (2 * this.rng() - 1) };
      this.#hosts.set(name, { name, node: name, key: `key-${name}`, clock, takeovers: [], ...state });
    }
  }

  /** Starts a node's agent, on its disk or on one that has forgotten. */
  start(name: string, choices: StartChoices = {}): void {
    const host = this.#host(name);
    host.node = choices.node ?? host.node;
    for (const takeover of choices.takeovers ?? []) keepTakeover(host, takeover);
    host.life += 1;
    host.up = true;
    host.frozen = false;
    host.inbox = [];
    host.key = choices.key ?? host.key;
    host.boot = (choices.boot ?? host.boot) + 1;
    host.gossip = new Gossip(
      {
        node: host.node,
        realm: "prod",
        recoveryKey: () => RECOVERY_KEY,
        takeovers: host.takeovers,
        publicKey: host.key,
        boot: host.boot,
        signer: tagSigner(host.key),
        rng: this.rng,
        newNonce: () => `nonce-${(this.#nonces += 1)}`,
        ...(this.#options.meshLimit === undefined ? {} : { meshLimit: this.#options.meshLimit }),
      },
      this.#clockOf(host),
    );
    const interests = new Set(this.#options.interests?.(name) ?? []);
    this.#tell(host, (gossip, nowMs) => gossip.setRoster(nowMs, this.#rosterOf(host), interests));
    const { life } = host;
    const tick = (): void => {
      if (host.life !== life || !host.up) return;
      this.after(TICK_MS / host.clock.rate, () => this.#wake(host, tick));
      this.#tell(host, (gossip, nowMs) => gossip.tick(nowMs));
    };
    this.after(this.rng() * TICK_MS, () => this.#wake(host, tick));
  }

  startAll(): void {
    for (const name of this.names) this.start(name);
  }

  /** Ends a node's process: its kernel closes every stream. */
  crash(name: string): void {
    const host = this.#host(name);
    host.up = false;
    host.gossip = undefined;
    host.life += 1;
    this.#streams.closeAll(name, false);
  }

  /** Pulls the plug: nobody is told. */
  powerOff(name: string): void {
    const host = this.#host(name);
    host.up = false;
    host.gossip = undefined;
    host.life += 1;
    this.#streams.closeAll(name, true);
    this.isolate(name);
  }

  powerOn(name: string, choices: { boot?: number } = {}): void {
    this.join(name);
    this.start(name, choices);
  }

  /** SIGSTOP and SIGCONT: the kernel goes on, the process does not. */
  freeze(name: string, frozen: boolean): void {
    const host = this.#host(name);
    host.frozen = frozen;
    if (!frozen) for (const act of host.inbox.splice(0)) act();
  }

  /** Cuts one direction between two nodes, or heals it. */
  cut(from: string, to: string, isCut = true): void {
    if (isCut) this.#cut.add(`${from}>${to}`);
    else this.#cut.delete(`${from}>${to}`);
  }

  /** Cuts every link between two sides. */
  partition(left: readonly string[], right: readonly string[], isCut = true): void {
    for (const one of left)
      for (const other of right) {
        this.cut(one, other, isCut);
        this.cut(other, one, isCut);
      }
  }

  isolate(name: string): void {
    this.partition(
      [name],
      this.names.filter((other) => other !== name),
    );
  }

  join(name: string): void {
    this.partition(
      [name],
      this.names.filter((other) => other !== name),
      false,
    );
  }

  setRoster(roster: ReadonlyMap<string, Member>): void {
    this.#rosters = roster;
    for (const host of this.#hosts.values())
      this.#tell(host, (gossip, nowMs) => gossip.setRoster(nowMs, this.#rosterOf(host), new Set()));
  }

  /** The takeovers that a host knows. */
  takeoversOf(name: string): readonly SignedTakeover[] {
    return this.#host(name).takeovers;
  }

  /** True where packets get from one to the other, and both processes run. */
  reaches(from: string, to: string): boolean {
    return (
      [from, to].every((name) => this.#host(name).up && !this.#host(name).frozen) && !this.#cut.has(`${from}>${to}`)
    );
  }

  get roster(): ReadonlyMap<string, Member> {
    return this.#rosters;
  }

  publish(name: string, services: Readonly<Record<string, ServiceStatement>>, revision?: string): void {
    this.#tell(this.#host(name), (gossip, nowMs) => gossip.publish(nowMs, services, revision));
  }

  hint(name: string, revision: string): void {
    this.#tell(this.#host(name), (gossip, nowMs) => gossip.hint(nowMs, revision));
  }

  leave(name: string): void {
    this.#tell(this.#host(name), (gossip, nowMs) => gossip.leave(nowMs));
    this.after(5, () => this.crash(name));
  }

  /** A live node's gossip. */
  of(name: string): Gossip {
    const { gossip } = this.#host(name);
    if (gossip === undefined) throw new Error(`${name} is not up`);
    return gossip;
  }

  /** Those that are up. */
  get live(): string[] {
    return this.names.filter((name) => this.#hosts.get(name)?.gossip !== undefined);
  }

  after(delayMs: number, act: () => void): void {
    this.#heap.push(this.nowMs + delayMs, act);
  }

  /** Lets time pass. */
  run(forMs: number): void {
    const endMs = this.nowMs + forMs;
    while (this.#heap.nextMs <= endMs) {
      this.nowMs = Math.max(this.nowMs, this.#heap.nextMs);
      this.events += 1;
      this.#heap.pop()?.();
    }
    this.nowMs = endMs;
  }

  /** Lets time pass until a condition holds; answers how long that took, and throws when it takes too long. */
  until(holds: () => boolean, withinMs: number, what: string): number {
    const startMs = this.nowMs;
    this.#changed = true;
    for (;;) {
      // What is waited for shows in a view: it can have come about only where a view has changed.
      if (this.#changed && holds()) return this.nowMs - startMs;
      this.#changed = false;
      if (this.nowMs - startMs > withinMs || this.#heap.size === 0)
        throw new Error(`seed ${this.#options.seed}: ${what} did not come about within ${withinMs} ms`);
      this.nowMs = Math.max(this.nowMs, this.#heap.nextMs);
      this.events += 1;
      this.#heap.pop()?.();
    }
  }

  #host(name: string): Host {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`there is no ${name}`);
    return host;
  }

  /** Something happens to a process, now or when it is woken. */
  #wake(host: Host, act: () => void): void {
    if (host.frozen) host.inbox.push(act);
    else act();
  }

  #clockOf({ clock: { beganMs, rate } }: Host): number {
    return beganMs + this.nowMs * rate;
  }

  /** Something happens to a node, at the time that its own clock shows. */
  #tell(host: Host, act: (gossip: Gossip, nowMs: number) => Effect[]): void {
    if (host.gossip !== undefined) this.#carryOut(host, act(host.gossip, this.#clockOf(host)));
  }

  #carryOut(host: Host, effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind === "send")
        this.#work(host, this.#costOf(effect.message, "sendMs"), () => this.#send(host, effect.link, effect.message));
      else if (effect.kind === "dial") this.#work(host, this.#options.cpu?.dialMs ?? 0, () => this.#dial(host, effect));
      else if (effect.kind === "close") this.#work(host, 0, () => this.#streams.close(host.name, effect.link));
      else if (effect.kind === "store-boot") host.boot = effect.boot;
      else if (effect.kind === "wake")
        this.after(effect.afterMs / host.clock.rate, () =>
          this.#wake(host, () => this.#tell(host, (gossip, nowMs) => gossip.tick(nowMs))),
        );
      else if (effect.kind === "takeover") this.#takeOver(host, effect.takeover);
      else if (effect.kind === "event") this.seen.push({ atMs: this.nowMs, node: host.name, event: effect.event });
      else if (effect.kind === "hint") this.hints.push({ atMs: this.nowMs + effect.delayMs, node: host.name });
      else this.onChange(host.node, effect.node);
      this.#changed ||= effect.kind === "changed" || effect.kind === "event";
    }
  }

  /** A process does something, which takes it a core for a while. */
  #work(host: Host, costMs: number, act: () => void): void {
    if (this.#cores === undefined) return act();
    const { life } = host;
    this.#cores.run(host.name, costMs, () => (host.life === life ? act() : undefined));
  }

  #costOf(message: Message, what: "sendMs" | "receiveMs"): number {
    const { cpu } = this.#options;
    return cpu === undefined ? 0 : message.t === "record" ? cpu[what] : cpu.smallMs;
  }

  #latency(): number {
    const [least, most] = this.delayMs;
    return least + this.rng() * (most - least);
  }

  #isLost(from: string, to: string): boolean {
    if (this.loss === 0 && this.#cut.size === 0) return false;
    return this.#cut.has(`${from}>${to}`) || this.rng() < this.loss;
  }

  /** The fleet as a host reads it; one that was replaced takes no part. */
  #ledBy({ takeovers }: Host): LedFleet | undefined {
    if (takeovers.length === 0) return undefined;
    const fleet = [...this.#rosters].map(([node, member]) => ({ node, realm: "prod", ...member }));
    return leadFleet(fleet, takeovers);
  }

  #rosterOf(host: Host): ReadonlyMap<string, Member> {
    const led = this.#ledBy(host);
    if (led === undefined) return this.#rosters;
    const members = new Map<string, Member>();
    for (const { node, publicKey = "", address } of led.members) members.set(node, { publicKey, address });
    return members.get(host.node)?.publicKey === host.key ? members : new Map();
  }

  #takeOver(host: Host, takeover: SignedTakeover): void {
    keepTakeover(host, takeover);
    this.#tell(host, (gossip, nowMs) => gossip.setRoster(nowMs, this.#rosterOf(host), new Set()));
    const { node, spare, term } = takeover;
    this.seen.push({ atMs: this.nowMs, node: host.name, event: { kind: "takeover", node, spare, term } });
  }

  /** Who a key belongs to in the eyes of a host. */
  #judge(host: Host, key: string): { node: string; replaced?: boolean } | undefined {
    const led = this.#ledBy(host);
    const members = this.#rosterOf(host);
    const [node] = [...members].find(([, { publicKey }]) => publicKey === key) ?? [];
    const replaced = members.size === 0 ? undefined : led?.replaced.get(key);
    return node !== undefined ? { node } : replaced === undefined ? undefined : { node: replaced, replaced: true };
  }

  #dial(host: Host, { node: to, address }: { node: string; address: string }): void {
    const { life, name } = host;
    const ground = {
      after: (delayMs: number, act: () => void) => this.after(delayMs, act),
      isLost: (from: string, other: string) => this.#isLost(from, other),
      latencyMs: () => this.#latency(),
      isUp: (other: string) => this.#host(other).up,
      isFrozen: (other: string) => this.#host(other).frozen,
      synLinearTimeouts: this.#options.synLinearTimeouts ?? 0,
    };
    const failed = (refused: boolean): void =>
      this.#wake(host, () => {
        if (host.life === life) this.#tell(host, (gossip, nowMs) => gossip.dialFailed(nowMs, to, refused));
      });
    const connected = (): void => {
      if (!this.#connect(host, this.#host(address), to)) failed(false);
    };
    dialOver(ground, { from: name, to: address, connected, failed });
  }

  /** False where one of the two does not want the other's key. */
  #connect(from: Host, to: Host, node: string): boolean {
    if (!from.up) return true;
    const isLed = from.takeovers.length + to.takeovers.length > 0;
    const here = isLed ? this.#judge(to, from.key) : { node: from.node };
    const there = isLed ? this.#judge(from, to.key) : { node };
    if (here === undefined || there?.node !== node || there.replaced === true) return false;
    const id = this.#streams.open(from.name, to.name);
    if ("replaced" in here) return this.#turnAway(from, to, { id, node, here: { ...here, dialler: here.node } });
    for (const [host, other] of [
      [to, { ...here, dialler: here.node }],
      [from, { node, dialler: from.node }],
    ] as const) {
      const { life, name } = host;
      const link = { id, ...other };
      this.#wake(host, () => {
        if (host.gossip === undefined || host.life !== life) this.#streams.close(name, id);
        else this.#tell(host, (gossip, nowMs) => gossip.linkUp(nowMs, link));
      });
    }
    return true;
  }

  /** A stream is a link to the dialler once something comes on it. */
  #turnAway(
    from: Host,
    to: Host,
    { id, node, here }: { id: number; node: string; here: { node: string; dialler: string } },
  ): boolean {
    const effects = to.gossip?.linkUp(this.#clockOf(to), { id, ...here, replaced: true }) ?? [];
    const isTold = effects.some(({ kind }) => kind === "send");
    if (isTold) this.#tell(from, (gossip, nowMs) => gossip.linkUp(nowMs, { id, node, dialler: from.node }));
    this.#carryOut(to, effects);
    return isTold;
  }

  #send(host: Host, id: number, message: Message): void {
    if (this.#streams.send(host.name, id, message)) this.sentBytes += countBytes(message);
  }

  #lay(): Streams {
    return new Streams({
      isLinear: this.#options.isLinear ?? false,
      nowMs: () => this.nowMs,
      repeated: (bytes) => void (this.sentBytes += countPacket(bytes)),
      bytesOf: countPayload,
      after: (delayMs, act) => this.after(delayMs, act),
      isLost: (from, to) => this.#isLost(from, to),
      latencyMs: () => this.#latency(),
      isUp: (name) => this.#host(name).up,
      wake: (name, act) => {
        const host = this.#host(name);
        const { life } = host;
        this.#wake(host, () => (host.life === life ? act() : undefined));
      },
      received: (name, id, message) => {
        const host = this.#host(name);
        for (const one of this.tamper(message))
          this.#work(host, this.#costOf(one, "receiveMs"), () =>
            this.#tell(host, (gossip, nowMs) => gossip.receive(nowMs, id, one)),
          );
      },
      ended: (name, id) => {
        this.#tell(this.#host(name), (gossip, nowMs) => gossip.linkDown(nowMs, id));
      },
    });
  }
}
