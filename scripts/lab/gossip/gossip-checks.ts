// What tests of a simulated fleet share: who thinks what of whom, when all agree, and what must hold at every event.

import type { Reachability } from "../../../shared/fleet/gossip-event.ts";
import { type FleetOptions, GossipFleet } from "./gossip-fleet.ts";

/** ORCA_SLOW=1 runs many more seeds. */
export const SLOW = process.env["ORCA_SLOW"] === "1";
export const SEEDS = Array.from({ length: SLOW ? 200 : 8 }, (_, index) => index + 1);
export const READY = { ready: true, state: "healthy" };

/** What every node of the fleet that is up thinks of one other. */
export function opinions(fleet: GossipFleet, of: string): Set<Reachability | undefined> {
  const others = fleet.live.filter((name) => name !== of);
  return new Set(
    others.map(
      (name) =>
        fleet
          .of(name)
          .view()
          .find(({ node }) => node === of)?.state,
    ),
  );
}

/** Whether all are of one opinion. */
export const all = (fleet: GossipFleet, of: string, state: Reachability) => (): boolean =>
  [...opinions(fleet, of)].every((one) => one === state);

/** Every live node sees every other alive, with its present word, and all views are equal. */
export function agree(fleet: GossipFleet): boolean {
  const live = new Set(fleet.live);
  const sums = new Set(fleet.live.map((name) => fleet.of(name).sum));
  if (sums.size > 1) return false;
  return fleet.live.every((name) =>
    fleet
      .of(name)
      .view()
      .every((peer) => !live.has(peer.node) || (peer.state === "alive" && peer.stale === undefined)),
  );
}

/** Checks at every change what must hold always: records only rise, and only their owners' words are held. */
function watchInvariants(fleet: GossipFleet, seed: number): void {
  const known = new Map<string, { boot: number; seq: number; life: unknown }>();
  fleet.onChange = (observer, of) => {
    const gossip = fleet.of(observer);
    const { records, relayed } = gossip.sizes;
    if (records > fleet.roster.size) throw new Error(`seed ${seed}: more records than nodes`);
    if (relayed > 256) throw new Error(`seed ${seed}: ${observer} answers for others without end`);
    for (const owner of of === undefined ? fleet.roster.keys() : [of]) {
      const { words } = gossip.look(owner);
      if (words === undefined) continue;
      const before = known.get(`${observer} ${owner}`);
      const fell =
        before?.life === gossip && (words.boot < before.boot || (words.boot === before.boot && words.seq < before.seq));
      if (fell) throw new Error(`seed ${seed}: ${observer} went back to an older record of ${owner}`);
      if (words.node !== owner || words.realm !== "prod")
        throw new Error(`seed ${seed}: ${observer} took another's word for ${owner}`);
      known.set(`${observer} ${owner}`, { boot: words.boot, seq: words.seq, life: gossip });
    }
  };
}

/** A fleet that has come to agree. */
export function begin(nodes: number, seed: number, loss = 0, more: Partial<FleetOptions> = {}): GossipFleet {
  const fleet = new GossipFleet({ nodes, seed, loss, ...more });
  watchInvariants(fleet, seed);
  fleet.startAll();
  fleet.until(() => agree(fleet), 60_000, "the first agreement");
  return fleet;
}
