// Production and stage on one wire, for the firewall files of host-config/: VMs are network namespaces, two of them with an engine;
// in each a peer listens, connects and sends. Addresses are those of the shipped files. Needs root, iproute2, nftables and dockerd.

import { type ChildProcessWithoutNullStreams, execFileSync, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { PrivateEngine } from "../../../scripts/lab/engine/private-engine.ts";
import { IMAGE } from "../../../scripts/lab/engine/real-node.ts";
import type { PeerAnswer, PeerOrder } from "./wall-peer.ts";

const PEER = fileURLToPath(new URL("wall-peer.ts", import.meta.url));
const FIREWALL = fileURLToPath(new URL("../../../host-config/firewall/", import.meta.url));

/** Longer than any peer waits for the network. */
const ANSWER_MS = 20_000;

/** The shipped text of one side. */
export function readFirewall(side: "stage" | "production"): string {
  return readFileSync(`${FIREWALL}${side}.nft`, "utf8");
}

/** A program in a network namespace that does what it is told. */
export class WallPeer {
  readonly namespace: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting = new Map<number, (answer: PeerAnswer) => void>();
  #asked = 0;

  /** @param namespace the file of a network namespace */
  constructor(namespace: string) {
    this.namespace = namespace;
    this.#child = spawn("nsenter", [`--net=${namespace}`, process.execPath, PEER]);
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      const { id, answer } = JSON.parse(line) as { id: number; answer: PeerAnswer };
      this.#waiting.get(id)?.(answer);
      this.#waiting.delete(id);
    });
    this.#child.stderr.on("data", (chunk: Buffer) => console.error(`peer: ${chunk.toString()}`));
  }

  async ask(order: PeerOrder): Promise<PeerAnswer> {
    this.#asked += 1;
    const id = this.#asked;
    const answer = new Promise<PeerAnswer>((resolve) => {
      const timer = setTimeout(() => resolve("failed: the peer does not answer"), ANSWER_MS);
      this.#waiting.set(id, (word) => {
        clearTimeout(timer);
        resolve(word);
      });
    });
    this.#child.stdin.write(`${JSON.stringify({ id, order })}\n`);
    const word = await answer;
    if (word.startsWith("failed")) throw new Error(`${JSON.stringify(order)}: ${word}`);
    return word;
  }

  /** Connects, and lets go again. */
  connect(host: string, port: number, more: { from?: string; fromPort?: number; keep?: string } = {}): Promise<string> {
    return this.ask({ do: "connect", host, port, ...more });
  }

  datagram(host: string, port: number, more: { from?: string; fromPort?: number } = {}): Promise<string> {
    return this.ask({ do: "datagram", host, port, ...more });
  }

  async listen(...ports: number[]): Promise<void> {
    for (const port of ports) await this.ask({ do: "listen", port });
  }

  /** Runs a program in this namespace; throws where it fails. */
  run(...command: string[]): string {
    return execFileSync("nsenter", [`--net=${this.namespace}`, ...command], { encoding: "utf8" });
  }

  /** Replaces the firewall by this text, or takes it down. */
  load(text: string | undefined): void {
    const input = text ?? "table inet orca_isolation\ndelete table inet orca_isolation\n";
    const { status, stderr } = spawnSync("nsenter", [`--net=${this.namespace}`, "nft", "-f", "-"], {
      input,
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(stderr);
  }

  /** How many packets a named counter has seen. */
  count(counter: string): number {
    const words = this.run("nft", "-j", "list", "counter", "inet", "orca_isolation", counter);
    const { nftables } = JSON.parse(words) as { nftables: { counter?: { packets: number } }[] };
    return nftables.find((entry) => entry.counter !== undefined)?.counter?.packets ?? 0;
  }

  end(): void {
    this.#child.stdin.end();
    this.#child.kill("SIGKILL");
  }
}

let count = 0;

/** The wire and the VMs on it. */
export class WallLab {
  readonly #wire: string;
  readonly #namespaces: string[] = [];
  readonly #peers: WallPeer[] = [];
  readonly #engines: PrivateEngine[] = [];

  constructor() {
    count += 1;
    this.#wire = `wall${process.pid}-${count}`;
    execFileSync("ip", ["netns", "add", this.#wire]);
    this.#inWire("ip", "link", "add", "br0", "type", "bridge");
    this.#inWire("ip", "link", "set", "br0", "up");
  }

  /** A VM without an engine. */
  addHost(...addresses: string[]): WallPeer {
    const name = `${this.#wire}h${this.#namespaces.length}`;
    execFileSync("ip", ["netns", "add", name]);
    this.#namespaces.push(name);
    execFileSync("nsenter", [`--net=/var/run/netns/${name}`, "ip", "link", "set", "lo", "up"]);
    return this.#connect(`/var/run/netns/${name}`, addresses);
  }

  /** A VM with an engine of its own. */
  async addEngine(options: readonly string[], ...addresses: string[]): Promise<[WallPeer, PrivateEngine]> {
    const engine = new PrivateEngine(options);
    this.#engines.push(engine);
    await engine.create([IMAGE]);
    return [this.#connect(engine.namespace, addresses), engine];
  }

  /** A peer inside a container. */
  async enter(engine: PrivateEngine, container: string): Promise<WallPeer> {
    const pid = docker(engine, "inspect", "-f", "{{.State.Pid}}", container);
    return this.#track(new WallPeer(`/proc/${pid}/ns/net`));
  }

  async destroy(): Promise<void> {
    for (const peer of this.#peers) peer.end();
    for (const engine of this.#engines) {
      const running = docker(engine, "ps", "-aq").split("\n").filter(Boolean);
      if (running.length > 0) docker(engine, "rm", "-f", ...running);
      await engine.destroy();
    }
    for (const name of [...this.#namespaces, this.#wire]) execFileSync("ip", ["netns", "delete", name]);
  }

  #connect(namespace: string, addresses: readonly string[]): WallPeer {
    const wire = `w${this.#peers.length}`;
    const name = namespace.split("/").at(-1) ?? "";
    execFileSync("ip", ["link", "add", wire, "netns", this.#wire, "type", "veth", "peer", "lan0", "netns", name]);
    this.#inWire("ip", "link", "set", wire, "master", "br0", "up");
    const peer = this.#track(new WallPeer(namespace));
    peer.run("ip", "link", "set", "lan0", "up");
    for (const address of addresses)
      peer.run("ip", "addr", "add", address, "dev", "lan0", ...(address.includes(":") ? ["nodad"] : []));
    return peer;
  }

  #track(peer: WallPeer): WallPeer {
    this.#peers.push(peer);
    return peer;
  }

  #inWire(...command: string[]): void {
    execFileSync("nsenter", [`--net=/var/run/netns/${this.#wire}`, ...command]);
  }
}

/** Runs `docker …` on an engine of the lab; answers what it printed. */
export function docker(engine: PrivateEngine, ...parameters: string[]): string {
  return execFileSync("docker", ["-H", `unix://${engine.socketPath}`, ...parameters], { encoding: "utf8" }).trim();
}
