// Everything that can happen to a fleet, by one seed: packets lost, doubled, overtaken and late by seconds, links that work one
// way, partitions, clogged links, pauses, crashes with and without a disk, a cloned key, clocks that jump or go wrong, forgers in
// the realm and from another. What must hold is checked at every event; in the end, all must agree.

import type { Message } from "../../../agent/gossip/core/message.ts";
import { signRecord } from "../../../agent/gossip/core/record.ts";
import { agree, begin, READY } from "../../../scripts/lab/gossip/gossip-checks.ts";
import type { GossipFleet } from "../../../scripts/lab/gossip/gossip-fleet.ts";
import { tagSigner } from "../../../scripts/lab/gossip/gossip-wire.ts";

const NODES = 7;
const TROUBLES = 40;
const YEAR_MS = 365 * 86_400_000;
/** The delays that a network has, from a rack to a line that is jammed. */
const DELAYS: readonly [number, number][] = [
  [0.15, 0.75],
  [0.15, 0.75],
  [5, 60],
  [200, 3_000],
];

type Trouble = (fleet: GossipFleet, name: string, other: string) => void;

/** What may happen next; each is drawn as often as it stands here. */
const TROUBLES_BY_NAME: Record<string, Trouble> = {
  lossless: (fleet) => void (fleet.loss = 0),
  lossy: (fleet) => void (fleet.loss = 0.05 + fleet.rng() * 0.25),
  delay: (fleet) => void (fleet.delayMs = pick(fleet, DELAYS)),
  "one way": (fleet, name, other) => fleet.cut(name, other),
  "way back": (fleet, name, other) => fleet.cut(name, other, false),
  partition: (fleet) => {
    const left = fleet.names.filter(() => fleet.rng() < 0.5);
    fleet.partition(left, without(fleet, left), fleet.rng() < 0.6);
  },
  clog,
  heal: (fleet) => fleet.partition(fleet.names, fleet.names, false),
  pause: (fleet, name) => fleet.freeze(name, true),
  "pause ends": (fleet, name) => fleet.freeze(name, false),
  crash: (fleet, name) => (fleet.live.includes(name) ? fleet.crash(name) : fleet.start(name)),
  "power cut": (fleet, name) => (fleet.live.includes(name) ? fleet.powerOff(name) : fleet.powerOn(name)),
  "lost disk": (fleet, name) => {
    if (fleet.live.includes(name)) fleet.crash(name);
    fleet.powerOn(name, { boot: 0 });
  },
  // A wall clock is only shown to people: whatever it says must change nothing.
  "clock jump": (fleet, name) =>
    fleet.publish(name, { db: { ...READY, sinceMs: (fleet.rng() - 0.5) * 2 * YEAR_MS, start: draw(fleet) } }),
  change: (fleet, name) => fleet.publish(name, { db: { ...READY, start: draw(fleet) } }),
};

/** Runs everything by one seed; throws with the seed where something does not hold. */
export function runChaos(seed: number): void {
  const fleet = begin(NODES, seed, 0, { drift: 0.05 });
  const forge = startForgers(fleet);
  const kinds = Object.values(TROUBLES_BY_NAME);
  for (let trouble = 0; trouble < TROUBLES; trouble += 1) {
    const [name, other] = [pick(fleet, fleet.names), pick(fleet, fleet.names)];
    pick(fleet, kinds)(fleet, name, other);
    fleet.run(fleet.rng() * 4_000);
    if (forge.believed() !== undefined) throw new Error(`seed ${seed}: ${forge.believed()}`);
  }
  forge.end();
  fleet.loss = 0;
  fleet.delayMs = [0.15, 0.75];
  fleet.partition(fleet.names, fleet.names, false);
  for (const name of fleet.names) {
    fleet.freeze(name, false);
    if (!fleet.live.includes(name)) fleet.powerOn(name);
  }
  // A disk that forgot its counter is told of it, at most every 5 s; what TCP still holds back comes by then too.
  fleet.until(() => agree(fleet), 60_000, "agreement after all that");
}

/** Links stop one by one, and are free again in another order. */
function clog(fleet: GossipFleet): void {
  const links = fleet.names.flatMap((from) => fleet.names.map((to) => [from, to] as const));
  for (const [from, to] of links) {
    if (from === to || fleet.rng() < 0.5) continue;
    fleet.after(fleet.rng() * 6_000, () => fleet.cut(from, to));
    fleet.after(6_000 + fleet.rng() * 6_000, () => fleet.cut(from, to, false));
  }
}

/** Messages are doubled and said again; with them come lies: of a member, of stage, and of a clone of one node's key. */
function startForgers(fleet: GossipFleet): { end: () => void; believed: () => string | undefined } {
  const clone = tagSigner("key-n0003");
  const said: Message[] = [];
  const lie = (node: string, realm: string, key: string): Message => ({
    t: "record",
    record: signRecord(
      { v: 1, realm, node, boot: 900_000, seq: 1, services: { db: { ...READY, start: LIE } } },
      tagSigner(key),
    ),
  });
  fleet.tamper = (message) => {
    if (said.length < 500) said.push(message);
    const drawn = fleet.rng();
    if (drawn < 0.9) return [message];
    if (drawn < 0.93) return [message, message];
    if (drawn < 0.96) return [message, pick(fleet, said)];
    const victim = pick(fleet, fleet.names);
    if (drawn < 0.975) return [message, lie(victim, "prod", "key-n0001-forged")];
    if (drawn < 0.99) return [message, lie(victim, "stage", `key-${victim}`)];
    // The clone says what its key may say: it must be noticed and outbid, and speaks for nobody else.
    const words = { v: 1 as const, realm: "prod", node: "n0003", boot: 50, seq: 1, services: {} };
    return [message, { t: "record", record: signRecord(words, clone) }];
  };
  return {
    end: () => {
      fleet.tamper = (message) => [message];
    },
    believed: () => {
      for (const observer of fleet.live)
        for (const node of fleet.names)
          if (fleet.of(observer).look(node).words?.services["db"]?.start === LIE)
            return `${observer} believes a lie of ${node}`;
      return undefined;
    },
  };
}

const LIE = "a lie";

function pick<T>({ rng }: GossipFleet, list: readonly T[]): T {
  const one = list[Math.floor(rng() * list.length)];
  if (one === undefined) throw new Error("there is nothing to draw from");
  return one;
}

function draw({ rng }: GossipFleet): string {
  return `run-${Math.floor(rng() * 1e9)}`;
}

function without({ names }: GossipFleet, some: readonly string[]): string[] {
  return names.filter((name) => !some.includes(name));
}
