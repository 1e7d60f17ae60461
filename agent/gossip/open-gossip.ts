// Puts the gossip of a node together: its identity, made where it is missing, the shell, and the loop's view of it. Called by
// daemon.ts.

import type { AgentWord } from "../../shared/fleet/agent-version.ts";
import type { GossipEvent } from "../../shared/fleet/gossip-event.ts";
import type { LostNode } from "../../shared/slo/availability.ts";
import type { Emit } from "../../shared/state/event.ts";
import { runChild } from "../host/os/child-process.ts";
import type { Clock } from "../host/os/clock.ts";
import { type Identity, loadIdentity, makeIdentity } from "./node-identity.ts";
import { LivePeers } from "./live-peers.ts";
import type { NatsSettings } from "./nats/nats-settings.ts";
import type { NatsShell } from "./nats/nats-shell.ts";
import type { MeshShell } from "./mesh/mesh-shell.ts";
import type { GossipShellOptions } from "./gossip-shell.ts";
import { MAKE_BYTES, MAKE_MS } from "./settings.ts";

/** What the gossip needs. */
export interface GossipParts {
  node: string;
  /** Undefined where it travels through NATS. */
  listen: string | undefined;
  nats: NatsSettings | undefined;
  identityFile: string;
  stateDir: string;
  /** The program whose command `make-identity` makes a missing key. */
  program: string;
  clock: Clock;
  /** What this node says of its agent. */
  agentWord?: (() => AgentWord | undefined) | undefined;
  /** The recovery key that this host's policy pins. */
  recoveryKey?: (() => string | undefined) | undefined;
  /** When other nodes were dead for this one. */
  lostWord?: (() => readonly LostNode[]) | undefined;
  emit: Emit;
}

/** The gossip, as the loop and as the report see it. */
export interface OpenGossip {
  shell: MeshShell | NatsShell;
  peers: LivePeers;
}

/** Opens the gossip; it begins once the loop knows the fleet. Throws when the key cannot be read or made. */
export async function openGossip(parts: GossipParts): Promise<OpenGossip> {
  const { identityFile, program, clock, emit } = parts;
  const identity = (await loadIdentity(identityFile)) ?? (await makeInChild(identityFile, program));
  const onEvent = (event: GossipEvent): void => emit({ kind: "gossip", atMs: clock.nowMs(), event });
  const shell = await openShell({ ...parts, identity, onEvent });
  return { shell, peers: new LivePeers(shell) };
}

/** Each way is loaded only where it is used. */
async function openShell(options: GossipParts & GossipShellOptions): Promise<OpenGossip["shell"]> {
  const { nats, listen = "" } = options;
  if (nats === undefined) return new (await import("./mesh/mesh-shell.ts")).MeshShell({ ...options, listen });
  return new (await import("./nats/nats-shell.ts")).NatsShell({ ...options, nats });
}

/** What makes a certificate takes memory that the agent would keep: a process of its own gives it back. */
async function makeInChild(file: string, program: string): Promise<Identity> {
  const end = await runChild({
    program,
    command: "make-identity",
    request: JSON.stringify({ file }),
    deadlineMs: MAKE_MS,
    answerLimitBytes: 4_096,
    memoryLimitBytes: MAKE_BYTES,
    signal: new AbortController().signal,
  });
  const identity = end.kind === "answered" ? await loadIdentity(file) : undefined;
  if (identity !== undefined) return identity;
  const reason = end.kind === "failed" ? end.reason : "it was not there afterwards";
  throw new Error(`make this node's key ${file}: ${reason}`);
}

/** The short-lived process behind `make-identity`: one line on stdin names the file. */
export async function runMakeIdentity(): Promise<number> {
  let text = "";
  for await (const piece of process.stdin) {
    text += String(piece);
    if (text.includes("\n")) break;
  }
  const { file } = JSON.parse(text) as { file: string };
  const { publicKey } = await makeIdentity(file);
  process.stdout.write(`${publicKey}\n`);
  return 0;
}
