// Which names in the state directory are Orca's, and which of them `orca up --down` removes.

import { describe, expect, test } from "vitest";

import { findStatePart, isOfUp } from "../../../agent/host/state-layout.ts";

describe("an entry of the state directory", () => {
  test.each([
    ["orca.db", "store"],
    ["orca.db-wal", "store"],
    ["orca.db.damaged-1796025600000", "store"],
    ["orca.db.damaged-1796025600000-shm", "store"],
    ["audit.jsonl", "audit"],
    ["audit.jsonl.head.new", "audit"],
    ["audit.jsonl.torn-1796025600000", "audit"],
    ["hosts.new", "hosts"],
    ["host.key", "hostKey"],
    ["secrets.sealed.new", "sealed"],
    ["identity.key.crt", "identity"],
  ])("%s belongs to %s", (entry, part) => {
    expect(findStatePart(entry)).toBe(part);
  });

  test.each([
    "",
    "orca",
    "orca.db2",
    "orcaXdb",
    "files.old",
    "my-audit.jsonl",
    "audit",
    "audit.jsonl.bak",
    "hosts.new.new",
  ])("%j is somebody else's", (entry) => {
    expect([findStatePart(entry), isOfUp(entry)]).toEqual([undefined, false]);
  });

  test("a key that fleet.toml names, and what was read of Git, stay when a trial is taken down", () => {
    expect(["identity.key", "git", "gossip-boot", "commit-status.json"].filter(isOfUp)).toEqual([]);
    expect(["orca.db", "files", "host.key", "agent.sock", "run", "report.json.new"].every(isOfUp)).toBe(true);
  });
});
