// Takeovers as the protocols hold them: signed with the recovery key, the highest term of each node, said again in every own record so
// that they reach whoever is there. Pure; used by gossip.ts, relay.ts and `orca recover`.

import type { SignedTakeover, Takeover } from "../../../shared/fleet/takeover.ts";
import { compareText } from "../../../shared/text/problem.ts";
import type { Signer } from "./record.ts";

const DOMAIN = "orca-takeover-v1";

/** The part of a protocol's state that takeovers are held in. */
interface TakeoverState {
  readonly options: { realm: string; signer: Signer; recoveryKey?: (() => string | undefined) | undefined };
  readonly takeovers: Map<string, SignedTakeover>;
  readonly effects: { push(effect: { kind: "takeover"; takeover: SignedTakeover }): unknown };
}

/** What the recovery key signs. */
function describeTakeover({ realm, node, spare, term, key, address }: Takeover): string {
  return [DOMAIN, realm, node, spare, term, key, address].join("\n");
}

/** Signs a takeover with the recovery key. */
export function signTakeover(takeover: Takeover, signer: Pick<Signer, "sign">): SignedTakeover {
  return { ...takeover, signature: signer.sign(describeTakeover(takeover)) };
}

/** True for what the recovery key has signed. */
function isRecoverySigned(takeover: SignedTakeover, recoveryKey: string, signer: Pick<Signer, "verify">): boolean {
  return signer.verify(recoveryKey, describeTakeover(takeover), takeover.signature);
}

/** The higher term counts; of two with one term the greater text does, so that it is the same one everywhere. */
export function outranks(takeover: SignedTakeover, held: SignedTakeover | undefined): boolean {
  if (held === undefined) return true;
  const order = takeover.term - held.term || compareText(describeTakeover(takeover), describeTakeover(held));
  return order > 0;
}

/**
 * Takes what somebody says of takeovers: whoever says it, the recovery key's signature alone makes it true.
 * @param sayOn called before anything follows from what counts now: whoever is linked is told first, the old key too
 */
export function hearTakeovers(state: TakeoverState, said: readonly SignedTakeover[], sayOn: () => void): void {
  const { realm, signer, recoveryKey } = state.options;
  const key = recoveryKey?.();
  if (key === undefined) return;
  const taken: SignedTakeover[] = [];
  for (const takeover of said) {
    if (takeover.realm !== realm || !outranks(takeover, state.takeovers.get(takeover.node))) continue;
    if (!isRecoverySigned(takeover, key, signer)) continue;
    state.takeovers.set(takeover.node, takeover);
    taken.push(takeover);
  }
  if (taken.length > 0) sayOn();
  for (const takeover of taken) state.effects.push({ kind: "takeover", takeover });
}

/** Those that the disk remembers, by node. */
export function keyTakeovers(takeovers: readonly SignedTakeover[] = []): Map<string, SignedTakeover> {
  return new Map(takeovers.map((takeover) => [takeover.node, takeover]));
}
