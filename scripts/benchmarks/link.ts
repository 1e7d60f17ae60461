// A link between this host and the namespace of an engine, over which its agent has a Git server, pushes and neighbours.

import { execFileSync } from "node:child_process";
import { connect, createServer, type Server } from "node:net";

import type { Lab } from "./lab.ts";

/** Its two ends, in a range that no network uses (RFC 5737): this host, and the agent. */
const HOST = "203.0.113.1";
export const PEER = "203.0.113.2";
/** More addresses of this host's end: members of the gossip that are not the agent. */
export const NEIGHBOURS = ["203.0.113.3", "203.0.113.4"] as const;
const GIT_PORT = 18_410;

/** Joins this host and the engine's namespace; answers how to part them. */
export function openLink(lab: Lab): () => void {
  const name = lab.engine.namespace.split("/").at(-1) ?? "";
  const inside = (...words: string[]): void =>
    void execFileSync("nsenter", [`--net=${lab.engine.namespace}`, ...words]);
  execFileSync("ip", ["link", "add", "orca-bench", "type", "veth", "peer", "name", "orca-peer", "netns", name]);
  for (const address of [HOST, ...NEIGHBOURS])
    execFileSync("ip", ["address", "add", `${address}/29`, "dev", "orca-bench"]);
  execFileSync("ip", ["link", "set", "orca-bench", "up"]);
  inside("ip", "address", "add", `${PEER}/29`, "dev", "orca-peer");
  inside("ip", "link", "set", "orca-peer", "up");
  return () => void execFileSync("ip", ["link", "delete", "orca-bench"]);
}

/** Passes the Git server on to the link, and counts what goes over it. */
export class Relay {
  bytes = 0;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(port: number): Promise<Relay> {
    const server = createServer((from) => {
      const to = connect(port, "127.0.0.1");
      for (const [one, other] of [
        [from, to],
        [to, from],
      ] as const) {
        one.on("data", (piece: Buffer) => (relay.bytes += piece.length));
        one.on("error", () => other.destroy());
        one.pipe(other);
      }
    });
    const relay = new Relay(server);
    await new Promise<void>((resolve) => server.listen(GIT_PORT, HOST, resolve));
    return relay;
  }

  /** The address of what the server serves, by way of the link. */
  lead(url: string): string {
    return `http://${HOST}:${GIT_PORT}${new URL(url).pathname}`;
  }

  async close(): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
