// What `GET /v1/trial` gives on the socket: how this run of the agent stands, for a judge of another version. Its keys never change their
// meaning; what a later version adds, an earlier judge passes over.

/** The document. */
export interface TrialDocument {
  version: 1;
  /** The version of the agent that answers. */
  agent: string;
  /** Another value for each start of the agent. */
  run: string;
  /** A turn has read what is wanted and what runs, and the newest one has not failed. */
  reconciled: boolean;
  /** Peers that hold what this run has said; null where the node has no peers, or its way to them does not tell. */
  heardBy: readonly string[] | null;
}
