// Who belongs to this node's realm, by fleet.toml, and who a key belongs to. Pure; used by the shell.

import { leadFleet, type SignedTakeover } from "../../shared/fleet/takeover.ts";
import type { FleetMember } from "../../shared/state/desired-state.ts";
import type { PeerLook } from "./core/gossip.ts";
import type { Member } from "./core/state.ts";
import { normalizeKey } from "./node-identity.ts";
import type { KeyVerdict } from "./mesh/transport.ts";

/** What Git says of the fleet. */
export interface RosterSource {
  fleet: readonly FleetMember[];
  /** Nodes that this node waits for, or that wait for it. */
  interests: readonly string[];
}

/** The realm as the protocol needs it. */
export interface Roster {
  realm: string | undefined;
  /** Empty while this node itself does not belong to it. */
  members: ReadonlyMap<string, Member>;
  interests: ReadonlySet<string>;
  /** Key → whose it is, in every realm. */
  owners: ReadonlyMap<string, { node: string; realm: string }>;
  /** Old key → the node in whose place a spare stands. */
  replaced: ReadonlyMap<string, string>;
  node: string;
  /** Why this node takes no part, in words. */
  trouble: string | undefined;
}

/** Who this node is, and which takeovers count. */
interface Standpoint {
  node: string;
  ownKey: string;
  takeovers: readonly SignedTakeover[];
}

/** Builds the roster of this node's realm: its nodes with a key, and spares in the place of those that were lost. */
export function buildRoster(source: RosterSource, { node, ownKey, takeovers }: Standpoint): Roster {
  const { interests } = source;
  const led = leadFleet(source.fleet.map(normalizeMember), takeovers);
  const fleet = led.members;
  const own = fleet.find((member) => member.node === node);
  const owners = new Map<string, { node: string; realm: string }>();
  const members = new Map<string, Member>();
  for (const { node: name, realm, address, publicKey: key } of fleet) {
    if (key === undefined) continue;
    owners.set(key, { node: name, realm });
    if (realm === own?.realm) members.set(name, { publicKey: key, address });
  }
  const takeover = takeovers.find((entry) => entry.node === node && entry.realm === own?.realm);
  const trouble =
    takeover === undefined || takeover.key === ownKey
      ? findTrouble(own, members.get(node)?.publicKey, ownKey)
      : `${takeover.spare} stands in the place of this node (takeover ${takeover.term})`;
  return {
    realm: own?.realm,
    owners,
    replaced: led.replaced,
    node,
    trouble,
    interests: new Set(interests),
    members: trouble === undefined ? members : new Map(),
  };
}

function normalizeMember(member: FleetMember): FleetMember {
  const { publicKey } = member;
  return { ...member, publicKey: publicKey === undefined ? undefined : normalizeKey(publicKey) };
}

function findTrouble(own: FleetMember | undefined, key: string | undefined, ownKey: string): string | undefined {
  if (own === undefined) return "fleet.toml does not list this node";
  if (key === ownKey) return undefined;
  const write = `write public_key = "${ownKey}" into [nodes.${own.node}]`;
  return key === undefined
    ? `fleet.toml has no key of this node: ${write}`
    : `fleet.toml has another key of this node than its own: ${write}, or put the right key file in place`;
}

/** Who shows this key? Peers of the realm are let in, everyone else is refused with the reason. */
export function judgeKey(roster: Roster | undefined, key: string): KeyVerdict {
  if (roster === undefined) return { kind: "not-taking-part", refused: "nothing is known of the fleet yet" };
  const owner = roster.owners.get(key);
  const replaced = owner === undefined ? roster.replaced.get(key) : undefined;
  // Its machine is told that a spare stands in its place, and is turned away.
  if (replaced !== undefined && roster.trouble === undefined) return { node: replaced, replaced: true };
  if (owner === undefined) return { kind: "unknown-key", refused: "its key is not in fleet.toml" };
  if (owner.node === roster.node)
    return { kind: "own-key", refused: "it shows this node's own key: another machine has a copy of it" };
  if (owner.realm !== roster.realm)
    return { kind: "other-realm", refused: `${owner.node} belongs to another realm (${owner.realm})` };
  return roster.members.has(owner.node)
    ? { node: owner.node }
    : { kind: "not-taking-part", refused: roster.trouble ?? "this node takes no part" };
}

/** Does a stream come from where a node of the realm lives? Says nothing of who it is. */
export function isPeerAddress(roster: Roster | undefined, address: string): boolean {
  const plain = address.replace(/^::ffff:/, "");
  return [...(roster?.members.values() ?? [])].some((member) => member.address === plain);
}

/** What is known of any node before the gossip has begun. */
export function describeUnbegun(roster: Roster | undefined): PeerLook {
  const why = roster?.trouble ?? "the gossip has not begun yet";
  return { state: "unknown", why, stale: why, words: undefined };
}
