// One node's gossip through a real NATS server: a key of its own, and a fleet.toml in the test's hand.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type Identity, makeIdentity } from "../../../agent/gossip/node-identity.ts";
import type { NatsSettings } from "../../../agent/gossip/nats/nats-settings.ts";
import { NatsShell } from "../../../agent/gossip/nats/nats-shell.ts";
import { systemClock } from "../../../agent/host/os/clock.ts";
import type { AgentWord } from "../../../shared/fleet/agent-version.ts";
import type { FleetMember } from "../../../shared/state/desired-state.ts";
import type { GossipEvent } from "../../../shared/fleet/gossip-event.ts";

/** One node. */
export class NatsNode {
  readonly node: string;
  readonly realm: string;
  readonly identity: Identity;
  readonly stateDir = mkdtempSync(join(tmpdir(), "orca-nats-node-"));
  readonly events: GossipEvent[] = [];
  readonly hints: string[] = [];
  /** What it says of its agent. */
  agentWord: AgentWord | undefined;
  settings: NatsSettings;
  shell: NatsShell;

  private constructor(node: string, realm: string, identity: Identity, settings: NatsSettings) {
    [this.node, this.realm, this.identity, this.settings] = [node, realm, identity, settings];
    this.shell = this.#open();
  }

  static async create(node: string, settings: NatsSettings, realm = "prod"): Promise<NatsNode> {
    const directory = mkdtempSync(join(tmpdir(), "orca-key-"));
    const identity = await makeIdentity(join(directory, "key"));
    rmSync(directory, { recursive: true });
    return new NatsNode(node, realm, identity, settings);
  }

  /** The line of fleet.toml. */
  get member(): FleetMember {
    return { node: this.node, realm: this.realm, address: "10.0.0.1", publicKey: this.identity.publicKey };
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

  #open(): NatsShell {
    const shell = new NatsShell({
      node: this.node,
      identity: this.identity,
      stateDir: this.stateDir,
      clock: systemClock,
      agentWord: () => this.agentWord,
      nats: this.settings,
      onEvent: (event) => this.events.push(event),
    });
    shell.onHint = (revision) => this.hints.push(revision);
    return shell;
  }
}
