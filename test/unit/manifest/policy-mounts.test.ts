// Lint, which knows a source as it is written, and the host, which knows where it really leads, judge by one law: what lint takes
// the host refuses only for a link that leads out, and what lint refuses the host never takes.

import { expect, test } from "vitest";

import { checkPolicy } from "../../../agent/desired/policy/policy-check.ts";
import { manifestSchema } from "../../../shared/manifest/manifest.ts";
import { policySchema } from "../../../shared/policy/policy.ts";

const ZONE = "/usr/share/zoneinfo/Etc/UTC";
const LINKS: Readonly<Record<string, string>> = {
  "/etc/localtime": ZONE,
  // The host's data directory is a link itself.
  "/mnt/data": "/srv/disk1",
  "/mnt/data/app": "/srv/disk1/app",
  "/mnt/data/out": "/root",
};

function judge(source: string, allowed: readonly string[], isHost: boolean): string[] {
  const manifest = manifestSchema.parse({
    image: "app:1",
    resources: { memory: "16MiB" },
    health: { tcp: { port: 80 } },
    backup: { none: "a cache" },
    volumes: [{ source, target: "/d", read_only: true }],
  });
  const policy = policySchema.parse({ mounts: { allowed_prefixes: allowed } });
  return checkPolicy({ service: "app", manifest, realPaths: isHost ? LINKS : {} }, policy).map(({ rule }) => rule);
}

const REFUSED = ["mounts.allowed_prefixes"];

test.each<[how: string, source: string, allowed: string[], verdict: { lint: string[]; host: string[] }]>([
  ["a link that the policy names itself", "/etc/localtime", ["/etc/localtime"], { lint: [], host: [] }],
  ["a link whose end alone it names", "/etc/localtime", ["/usr/share/zoneinfo"], { lint: REFUSED, host: REFUSED }],
  ["both", "/etc/localtime", ["/etc/localtime", "/usr/share/zoneinfo"], { lint: [], host: [] }],
  ["its end, written out", ZONE, ["/usr/share/zoneinfo"], { lint: [], host: [] }],
  ["a directory below an allowed one that is a link", "/mnt/data/app", ["/mnt/data"], { lint: [], host: [] }],
  ["a link out of it", "/mnt/data/out", ["/mnt/data"], { lint: [], host: REFUSED }],
  ["what is not allowed", "/srv/disk2", ["/mnt/data"], { lint: REFUSED, host: REFUSED }],
])("%s", (_how, source, allowed, { lint, host }) => {
  expect(judge(source, allowed, false)).toEqual(lint);
  expect(judge(source, allowed, true)).toEqual(host);
});
