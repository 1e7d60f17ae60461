// From manifests and fleet.toml to what is backed up where, and what of fleet.toml's repositories is refused.

import { expect, test } from "vitest";

import { listRepositorySecrets } from "../../../agent/desired/build/repository-plans.ts";
import { listStorePlans } from "../../../agent/desired/build/store-plans.ts";
import { checkRepositoryPolicy } from "../../../agent/desired/policy/policy-repositories.ts";
import { fleetSchema } from "../../../shared/fleet/fleet.ts";
import { manifestSchema } from "../../../shared/manifest/manifest.ts";
import { policySchema } from "../../../shared/policy/policy.ts";

const KEY = `age1${"q".repeat(58)}`;
const OTHER = `age1${"p".repeat(58)}`;
const S3 = { kind: "s3", endpoint: "https://s3.example", bucket: "backups", region: "eu", secret: "/prod/backup/s3" };

function buildFleet(repositories: Record<string, unknown>): unknown {
  return { nodes: { vm1: { address: "10.0.0.1", env: "prod", memory: "8GiB", backup_key: KEY } }, repositories };
}

function listFaults(repositories: Record<string, unknown>): string[] {
  const { error } = fleetSchema.safeParse(buildFleet(repositories));
  return (error?.issues ?? []).map(({ path, message }) => `${path.join(".")}: ${message}`);
}

function parseManifest(repositories: string[]): ReturnType<typeof manifestSchema.parse> {
  return manifestSchema.parse({
    image: "postgres:16",
    resources: { memory: "1GiB" },
    health: { exec: ["pg_isready"] },
    backups: [{ name: "db", engine: "postgres", schedule: "every 5h", repositories, min_success: 1 }],
  });
}

test("a store knows its repositories, and whom it encrypts for: everybody that one of them names", () => {
  const fleet = fleetSchema.parse(
    buildFleet({
      geo: { ...S3, recipients: [OTHER], pruner_secret: "/prod/backup/pruner", lock_days: 7, prefix: "orca" },
      nas: { kind: "directory", path: "/mnt/nas", recipients: [KEY, OTHER] },
    }),
  );
  const manifest = parseManifest(["local", "geo", "nas", "gone"]);
  const [plan] = listStorePlans([{ service: "pg", manifest }], {
    fleet,
    node: "vm1",
    readText: () => undefined,
  });
  expect(plan).toMatchObject({ minSuccess: 1, recipients: [OTHER, KEY].toSorted(), backupKey: KEY });
  expect(plan?.repositories).toEqual([
    { kind: "local", name: "local", path: undefined },
    {
      ...S3,
      name: "geo",
      prefix: "orca",
      prunerSecret: "/prod/backup/pruner",
      lockDays: 7,
      caFile: undefined,
    },
    { kind: "directory", name: "nas", path: "/mnt/nas" },
    { kind: "unknown", name: "gone" },
  ]);
  expect(listRepositorySecrets([manifest], fleet)).toEqual(["/prod/backup/s3", "/prod/backup/pruner"]);
});

test.each<[string, Record<string, unknown>, string]>([
  ["http beyond loopback", { a: { ...S3, endpoint: "http://10.0.0.4:9000" } }, "repositories.a.endpoint: http goes to"],
  ["fewer recipients than it demands", { a: { ...S3, min_recipients: 2, recipients: [KEY] } }, "a.recipients: min_"],
  ["the name of the one that is always there", { local: S3 }, "repositories.local: every node has"],
  ["a prefix that leads elsewhere", { a: { ...S3, prefix: "../other" } }, "repositories.a.prefix: "],
])("refused: %s", (_name, repositories, words) => {
  const faults = listFaults(repositories);
  expect(faults).toHaveLength(1);
  expect(faults[0]).toContain(words);
});

test("http on loopback is fine, for a store on the same host", () => {
  for (const host of ["127.0.0.1:8080", "localhost:1", "[::1]:8080"])
    expect(listFaults({ a: { ...S3, endpoint: `http://${host}` } })).toEqual([]);
});

test("the host's law holds for the keys of repositories too", () => {
  const policy = policySchema.parse({ secrets: { allowed_prefixes: ["/stage"] } });
  const fleet = fleetSchema.parse(buildFleet({ a: { ...S3, pruner_secret: "/stage/pruner" } }));
  const [repository] = Object.values(fleet.repositories);
  expect(repository === undefined ? [] : checkRepositoryPolicy(repository, policy)).toEqual([
    { key: "secret", rule: "secrets.allowed_prefixes", message: "the secret /prod/backup/s3 is outside /stage" },
  ]);
});
