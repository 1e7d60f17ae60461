// The agent.toml of a spare in a lost node's place: the node's own, with the spare's address and a directory in place of Git, which was
// lost with the node. Pure; `orca recover` reads and writes the files.

import { parse, stringify } from "smol-toml";

/** What is another on the spare. */
export interface SparePlace {
  address: string;
  /** Where the manifests lie. */
  sourceDir: string;
}

/** Builds the text. Throws where the node's own is no TOML. */
export function buildSpareAgent(text: string, { address, sourceDir }: SparePlace): string {
  const config = parse(text) as Record<string, Record<string, unknown>>;
  const { source: _source, ...rest } = config;
  const listen = config["gossip"]?.["listen"];
  const port = typeof listen === "string" ? listen.slice(listen.lastIndexOf(":") + 1) : undefined;
  const host = address.includes(":") ? `[${address}]` : address;
  const gossip = port === undefined ? {} : { gossip: { ...config["gossip"], listen: `${host}:${port}` } };
  return stringify({ ...rest, ...gossip, source: { dir: sourceDir } });
}
