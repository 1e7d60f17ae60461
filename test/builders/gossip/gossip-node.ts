// One node's gossip on real sockets: a key of its own, a listener on an address of 127/8, and a fleet.toml in the test's hand.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { type Identity, makeIdentity } from "../../../agent/gossip/node-identity.ts";
import { MeshShell } from "../../../agent/gossip/mesh/mesh-shell.ts";
import { systemClock } from "../../../agent/host/os/clock.ts";
import type { AgentWord } from "../../../shared/fleet/agent-version.ts";
import type { FleetMember } from "../../../shared/state/desired-state.ts";
import type { GossipEvent } from "../../../shared/fleet/gossip-event.ts";

let count = 0;

/** A place on loopback that no other test uses. */
function choosePlace(): { host: string; port: number } {
  count += 1;
  return { host: `127.${50 + (process.pid % 150)}.${count >> 8}.${count & 255}`, port: 27_946 };
}

/** One node. */
export class GossipNode {
  readonly node: string;
  readonly host: string;
  readonly port: number;
  readonly stateDir = mkdtempSync(join(tmpdir(), "orca-gossip-"));
  readonly events: GossipEvent[] = [];
  readonly hints: string[] = [];
  /** What it says of its agent. */
  agentWord: AgentWord | undefined;
  identity: Identity;
  shell: MeshShell;

  readonly #recoveryKey: string | undefined;

  private constructor(node: string, identity: Identity, recoveryKey: string | undefined) {
    this.#recoveryKey = recoveryKey;
    ({ host: this.host, port: this.port } = choosePlace());
    this.node = node;
    this.identity = identity;
    this.shell = this.#open();
  }

  static async create(node: string, recoveryKey?: string): Promise<GossipNode> {
    const directory = mkdtempSync(join(tmpdir(), "orca-key-"));
    const identity = await makeIdentity(join(directory, "key"));
    rmSync(directory, { recursive: true });
    return new GossipNode(node, identity, recoveryKey);
  }

  /** The line of fleet.toml. */
  get member(): FleetMember {
    return { node: this.node, realm: "prod", address: this.host, publicKey: this.identity.publicKey };
  }

  /** A new life on the same disk, as after a restart of the agent. */
  restart(): void {
    this.shell = this.#open();
  }

  state(of: string): string | undefined {
    return this.shell.view().find(({ node }) => node === of)?.state;
  }

  async dispose(): Promise<void> {
    await this.shell.close();
    rmSync(this.stateDir, { recursive: true, force: true });
  }

  #open(): MeshShell {
    const shell = new MeshShell({
      node: this.node,
      listen: `${this.host}:${this.port}`,
      identity: this.identity,
      stateDir: this.stateDir,
      clock: systemClock,
      agentWord: () => this.agentWord,
      recoveryKey: () => this.#recoveryKey,
      onEvent: (event) => this.events.push(event),
    });
    shell.onHint = (revision) => this.hints.push(revision);
    return shell;
  }
}

/** Waits in real time; answers how long it took, in milliseconds. */
export async function eventually(holds: () => boolean, withinMs: number, what: string): Promise<number> {
  const from = performance.now();
  while (!holds()) {
    if (performance.now() - from > withinMs) throw new Error(`${what} did not come about within ${withinMs} ms`);
    await sleep(2);
  }
  return performance.now() - from;
}
