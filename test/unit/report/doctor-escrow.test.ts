// The escrow as `orca doctor` judges it: none where a spare may come, one that is older than a file or a secret in it, and one that does.

import { expect, test } from "vitest";

import { checkEscrow } from "../../../agent/doctor/escrow-checks.ts";
import type { FileFact, HostView } from "../../../agent/doctor/doctor-facts.ts";
import { policySchema } from "../../../shared/policy/policy.ts";

const KEY = `ed25519:${"A".repeat(43)}`;
const MADE_MS = 1_000_000;
const file = (path: string, changedMs: number | undefined): FileFact => ({
  path,
  role: "a token",
  required: true,
  workTree: undefined,
  found: changedMs === undefined ? undefined : { uid: 0, gid: 0, mode: 0o600, kind: "file", changedMs },
});

function look(
  escrow: HostView["escrow"],
  secrets: { path: string; sinceMs: number }[] = [],
  key: string | undefined = KEY,
) {
  const policy = { policy: policySchema.parse(key === undefined ? {} : { pinned: { recovery_key: key } }) };
  const host = {
    escrow,
    policy,
    baseline: { secretAges: secrets },
    config: "/etc/orca/agent.toml",
    nowMs: 2 * MADE_MS,
  };
  return checkEscrow(host as unknown as HostView).map(({ severity, what }) => [severity, what]);
}

test("where no takeover counts, nothing is asked for", () => {
  expect(checkEscrow({ policy: { policy: policySchema.parse({}) } } as unknown as HostView)).toEqual([]);
});

test("none is weak, a whole one is fine", () => {
  expect(look(undefined)).toEqual([["warn", "no escrow of this node was made"]]);
  expect(
    look({ createdMs: MADE_MS, files: [file("/etc/orca/git-token", MADE_MS - 1)] }, [{ path: "/p/A", sinceMs: 1 }]),
  ).toEqual([["fine", "made 16m 40s ago, and nothing in it has changed since"]]);
});

test("one older than a secret in it is red, and names what", () => {
  const files = [file("/etc/orca/git-token", MADE_MS + 1), file("/etc/orca/registry.json", undefined), file("/k", 1)];
  expect(look({ createdMs: MADE_MS, files }, [{ path: "/prod/db/PW", sinceMs: MADE_MS + 5 }])).toEqual([
    [
      "fail",
      "made 16m 40s ago, and changed since then: /etc/orca/git-token, /etc/orca/registry.json (not there any more), /prod/db/PW",
    ],
  ]);
});
