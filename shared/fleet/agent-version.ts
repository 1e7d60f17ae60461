// Which version of the agent fleet.toml wants on a node, and what the nodes of a realm tell each other of theirs.

/** The version that a node is to run. */
export interface AgentPin {
  version: string;
  /** Of the package, by Debian's name of the architecture. */
  sha256: Readonly<Partial<Record<"amd64" | "arm64", string | undefined>>>;
  /** The node of the realm that goes first; the node itself where it is the one. */
  canary: string;
}

/** What a node says of the agent that it runs. */
export interface AgentWord {
  version: string;
  /** False while that version is on trial. */
  confirmed: boolean;
}

/** How a node's own update stands. */
export interface AgentUpdate {
  running: string;
  /** Undefined where fleet.toml pins none. */
  wanted: string | undefined;
  /** `go`: the updater was asked. `waits`: something else comes first. `stuck`: somebody has to do something. */
  stage: "none" | "trial" | "waits" | "stuck" | "go";
  why: string | undefined;
}
