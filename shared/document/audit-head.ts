// A line of the audit log, by its number and hash: what the log, its readers and its copies know of a line without judging it. Pure.

/** The newest line, by number and hash. */
export interface AuditHead {
  seq: number;
  hash: string;
}

/** The number and hash that a line claims; undefined when it is no whole line. Whether they are true is for the walk to say. */
export function parseHead(text: string): AuditHead | undefined {
  try {
    const { seq, hash } = (JSON.parse(text) ?? {}) as { seq?: unknown; hash?: unknown };
    return typeof seq === "number" && typeof hash === "string" ? { seq, hash } : undefined;
  } catch {
    return undefined;
  }
}
