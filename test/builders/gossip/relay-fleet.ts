// Nodes of a realm with a server between them, in one thread with one clock: the server keeps the last value of each key and passes
// messages on at once, unless a test makes it lie.

import { Relay } from "../../../agent/gossip/core/relay.ts";
import type { RelayMessage } from "../../../agent/gossip/core/relay-message.ts";
import type { RelayEffect } from "../../../agent/gossip/core/relay-state.ts";
import type { ServiceStatement, SignedRecord, Signer } from "../../../agent/gossip/core/record.ts";
import type { Member } from "../../../agent/gossip/core/state.ts";
import type { GossipEvent } from "../../../shared/fleet/gossip-event.ts";

const TICK_MS = 250;

/** A signature that costs nothing: who does not hold the key cannot make the tag. */
export function buildSigner(own: string): Signer {
  const tag = (key: string, text: string): string => {
    let hash = 5_381;
    for (const character of `${key}\n${text}`) hash = (Math.imul(hash, 33) ^ (character.codePointAt(0) ?? 0)) >>> 0;
    return hash.toString(16);
  };
  return { sign: (text) => tag(own, text), verify: (key, text, signature) => tag(key, text) === signature };
}

/** One node. */
interface Host {
  node: string;
  relay: Relay | undefined;
  boot: number;
  connected: boolean;
  events: GossipEvent[];
  hints: string[];
  /** Whose records it asked the bucket for. */
  fetched: string[];
}

/** A realm in the test's hand. */
export class RelayFleet {
  nowMs = 1_000;
  readonly hosts = new Map<string, Host>();
  readonly bucket = new Map<string, SignedRecord | undefined>();
  /** Everything that was said, for whoever wants to say it again. */
  readonly log: RelayMessage[] = [];
  /** What the server does with a message to a node; as it is, nothing. */
  meddle: (message: RelayMessage, to: string) => readonly RelayMessage[] = (message) => [message];
  /** The same for values. */
  meddleValue: (record: SignedRecord, to: string) => readonly SignedRecord[] = (record) => [record];
  /** And with one that was asked for. */
  meddleFetch: (record: SignedRecord) => SignedRecord | undefined = (record) => record;
  readonly #interests: ReadonlySet<string>;
  #random = 1;

  constructor(count: number, interests: readonly string[] = []) {
    this.#interests = new Set(interests);
    for (let index = 1; index <= count; index += 1) {
      const node = `vm${index}`;
      this.hosts.set(node, { node, relay: undefined, boot: 0, connected: false, events: [], hints: [], fetched: [] });
    }
    for (const node of this.hosts.keys()) this.start(node);
  }

  of(node: string): Host {
    const host = this.hosts.get(node);
    if (host === undefined) throw new Error(`there is no ${node}`);
    return host;
  }

  relay(node: string): Relay {
    const { relay } = this.of(node);
    if (relay === undefined) throw new Error(`${node} does not run`);
    return relay;
  }

  state(of: string, by: string): string | undefined {
    return this.relay(by)
      .view()
      .find(({ node }) => node === of)?.state;
  }

  /** An agent starts, or starts anew. */
  start(node: string, boot = this.of(node).boot + 1): void {
    const host = this.of(node);
    host.boot = boot;
    const options = { node, realm: "prod", publicKey: node, boot, signer: buildSigner(node) };
    const chance = { rng: () => this.#draw(), newNonce: () => `nonce-${Math.floor(this.#draw() * 1e12)}` };
    host.relay = new Relay({ ...options, ...chance }, this.nowMs);
    this.#carryOut(host, host.relay.setRoster(this.nowMs, this.#roster(), this.#interests));
    this.connect(node);
  }

  /** An agent ends without a word. */
  kill(node: string): void {
    Object.assign(this.of(node), { relay: undefined, connected: false });
  }

  connect(node: string): void {
    const host = this.of(node);
    host.connected = true;
    // What stands in its own name is read before it puts anything there.
    this.#value(node, this.bucket.get(node), host);
    this.#carryOut(host, this.relay(node).connected(this.nowMs));
    for (const [key, record] of this.bucket) this.#value(key, record, host);
  }

  disconnect(node: string, why = "the server does not answer"): void {
    const host = this.of(node);
    host.connected = false;
    this.#carryOut(host, this.relay(node).disconnected(this.nowMs, why));
  }

  publish(node: string, services: Readonly<Record<string, ServiceStatement>>): void {
    this.#carryOut(this.of(node), this.relay(node).publish(this.nowMs, services, undefined));
  }

  leave(node: string): void {
    this.#carryOut(this.of(node), this.relay(node).leave(this.nowMs));
    this.kill(node);
  }

  hint(node: string, revision: string): void {
    this.#carryOut(this.of(node), this.relay(node).hint(this.nowMs, revision));
  }

  /** Somebody else with a connection says something, or puts a value. */
  inject(message: RelayMessage): void {
    for (const host of this.hosts.values()) this.#deliver(message, host);
  }

  put(key: string, record: SignedRecord | undefined): void {
    this.bucket.set(key, record);
    for (const host of this.hosts.values()) this.#value(key, record, host);
  }

  advance(byMs: number): void {
    for (const endMs = this.nowMs + byMs; this.nowMs < endMs;) {
      this.nowMs += TICK_MS;
      for (const host of this.hosts.values())
        if (host.relay !== undefined) this.#carryOut(host, host.relay.tick(this.nowMs));
    }
  }

  #roster(): Map<string, Member> {
    return new Map([...this.hosts.keys()].map((node) => [node, { publicKey: node, address: "10.0.0.1" }]));
  }

  #draw(): number {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#random / 2 ** 32;
  }

  #carryOut(host: Host, effects: readonly RelayEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === "event") host.events.push(effect.event);
      else if (effect.kind === "hint") host.hints.push(effect.revision);
      else if (effect.kind === "store-boot") host.boot = effect.boot;
      else if (effect.kind === "put" && host.connected) this.put(host.node, effect.record);
      else if (effect.kind === "fetch" && host.connected) this.#fetch(host, effect.node);
      else if (effect.kind === "say" && host.connected) this.#say(host, effect.message);
    }
  }

  #fetch(host: Host, node: string): void {
    host.fetched.push(node);
    const record = this.bucket.get(node);
    const got = record === undefined ? undefined : this.meddleFetch(record);
    if (got !== undefined) this.#carryOut(host, this.relay(host.node).takeValue(this.nowMs, node, got));
  }

  #say(from: Host, message: RelayMessage): void {
    this.log.push(message);
    for (const host of this.hosts.values())
      if (host !== from) for (const one of this.meddle(message, host.node)) this.#deliver(one, host);
  }

  #deliver(message: RelayMessage, host: Host): void {
    const to = message.t === "ask" ? message.target : message.t === "proof" ? message.to : host.node;
    if (host.relay === undefined || !host.connected || to !== host.node) return;
    this.#carryOut(host, host.relay.receive(this.nowMs, message));
  }

  #value(key: string, record: SignedRecord | undefined, host: Host): void {
    if (host.relay === undefined || !host.connected) return;
    const records = record === undefined ? [undefined] : this.meddleValue(record, host.node);
    for (const one of records) this.#carryOut(host, host.relay.takeValue(this.nowMs, key, one));
  }
}
