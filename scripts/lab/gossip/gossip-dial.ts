// How a dial goes between simulated hosts: flight by flight of TCP's and TLS's handshakes, each of which may be lost.

import { RTO_MS } from "./gossip-sending.ts";

const SYN_RTO_MS = 1_000;
const DIAL_TIMEOUT_MS = 2_500;

/** The world that dials run through. */
export interface DialGround {
  readonly after: (delayMs: number, act: () => void) => void;
  readonly isLost: (from: string, to: string) => boolean;
  readonly latencyMs: () => number;
  readonly isUp: (name: string) => boolean;
  readonly isFrozen: (name: string) => boolean;
  /**
   * How many times the first packet is repeated each second before that doubles: net.ipv4.tcp_syn_linear_timeouts of Linux 6.5 and
   * later (4 unless told), none on older ones.
   */
  readonly synLinearTimeouts: number;
}

/** Dials; one of the two is called, once: `connected`, or `failed` by a refusal or because nothing came in time. */
export function dialOver(
  ground: DialGround,
  {
    from,
    to,
    connected,
    failed,
  }: Record<"from" | "to", string> & { connected: () => void; failed: (refused: boolean) => void },
): void {
  let isOver = false;
  const end = (act: () => void): void => {
    if (!isOver) act();
    isOver = true;
  };
  /** The times it was repeated count for the flight that is under way. */
  const fly = (flight: number, repeated: number): void => {
    if (isOver) return;
    const [source, target] = flight % 2 === 0 ? [from, to] : [to, from];
    if (ground.isLost(source, target))
      return ground.after(repeatAfterMs(flight, repeated, ground.synLinearTimeouts), () => fly(flight, repeated + 1));
    ground.after(ground.latencyMs(), () => {
      if (flight === 1 && !ground.isUp(to)) return end(() => failed(true));
      // Its kernel shakes hands; the process does not.
      if (flight >= 2 && ground.isFrozen(to)) return;
      if (flight < 3) return fly(flight + 1, 0);
      end(() => (ground.isUp(to) ? connected() : failed(false)));
    });
  };
  ground.after(DIAL_TIMEOUT_MS, () => end(() => failed(false)));
  fly(0, 0);
}

function repeatAfterMs(flight: number, repeated: number, linear: number): number {
  if (flight > 1) return RTO_MS * 2 ** repeated;
  return SYN_RTO_MS * 2 ** Math.max(0, repeated - (flight === 0 ? linear : 0));
}
