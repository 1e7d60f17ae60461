// The laws that every topology is held to can fail: each is shown a topology that breaks it.

import { expect, test } from "vitest";

import type { Manifest } from "../../../shared/manifest/manifest.ts";
import {
  findBadFiles,
  findBadReferences,
  findEmptyPromises,
  findLooseSecrets,
  findLostRecoveryPoints,
  findUnknownRepositories,
  findUnmarkedCaps,
} from "../../builders/data/topology-laws.ts";
import { HOUR, MINUTE, readEdges, readFigure } from "../../builders/data/topology-figures.ts";
import { manifestAt, placeOf, readTopology, type Topology } from "../../../scripts/lab/cold/topology.ts";

const sound = await readTopology("breakpilot");

/** The topology with some keys of one manifest replaced. */
function alter(at: string, changes: Partial<Manifest>): Topology {
  const services = sound.services.map((entry) =>
    placeOf(entry) === at ? { ...entry, manifest: { ...entry.manifest, ...changes } } : entry,
  );
  return { ...sound, services };
}

function need(service: string, node?: string): Manifest["requires"][number] {
  return { target: { kind: "service", node, service }, expiresMs: undefined, then: "fail" };
}

const portal = manifestAt(sound, "vm-control/customer-portal");
const postgres = manifestAt(sound, "vm-data/postgres-app");

const BROKEN: [string, (topology: Topology) => string[], Topology, RegExp][] = [
  ["no such service", findBadReferences, alter("vm-edge/gitea", { requires: [need("postgres")] }), /there is none/],
  ["no such node", findBadReferences, alter("vm-edge/gitea", { requires: [need("gitea", "vm-x")] }), /there is none/],
  [
    "an order across realms",
    findBadReferences,
    alter("stage/customer-portal", { requires: [need("keycloak-26", "vm-edge")] }),
    /another realm/,
  ],
  [
    "an endpoint",
    findBadReferences,
    alter("stage/customer-portal", { wants: [{ kind: "endpoint", url: "https://auth.breakpilot.com/" }] }),
    /an endpoint/,
  ],
  [
    "availability over what is required",
    findEmptyPromises,
    alter("vm-control/customer-portal", { slo: { availability: 99.9 } }),
    /availability 99.9 over 99.5/,
  ],
  [
    "recovery faster than what is required",
    findEmptyPromises,
    alter("vm-control/customer-portal", { slo: { rto: MINUTE } }),
    /rto 60000 under 600000/,
  ],
  [
    "a required service without figures",
    findEmptyPromises,
    alter("vm-data/qdrant", { slo: undefined }),
    /qdrant.*none/,
  ],
  [
    "six hours for an RPO of six hours",
    findLostRecoveryPoints,
    alter("vm-data/postgres-app", { backups: postgres.backups.map((entry) => ({ ...entry, schedule: "every 6h" })) }),
    /postgres-app: rpo 21600000/,
  ],
  [
    "a day for an RPO of a day",
    findLostRecoveryPoints,
    alter("vm-data/minio", {
      backups: manifestAt(sound, "vm-data/minio").backups.map((entry) => ({ ...entry, schedule: "0 3 * * *" })),
    }),
    /minio: rpo 86400000/,
  ],
  [
    "a repository that is nowhere",
    findUnknownRepositories,
    alter("vm-data/postgres-app", { backups: postgres.backups.map((entry) => ({ ...entry, repositories: ["s4"] })) }),
    /no repository s4/,
  ],
  [
    "a literal secret",
    findLooseSecrets,
    alter("vm-control/customer-portal", { env: { ...portal.env, SMTP_PASSWORD: "hunter2" } }),
    /SMTP_PASSWORD holds a literal/,
  ],
  [
    "a password in a URL",
    findLooseSecrets,
    alter("vm-control/customer-portal", { env: { DATABASE: "postgres://portal:hunter2@vm-data/app" } }),
    /a URL with a password: vm-data/,
  ],
  [
    "a secret of prod on stage",
    findLooseSecrets,
    alter("stage/litellm", { secrets: { env: { A: "/prod/litellm/A" }, files: {}, on_rotate: "restart" } }),
    /not under \/stage\//,
  ],
  [
    "a path used twice",
    findBadFiles,
    alter("vm-data/minio", {
      volumes: ["a", "b"].map((name) => ({ name, target: "/data", read_only: false, ephemeral: false })),
    }),
    /\/data is used twice/,
  ],
  ["a file that nobody mounts", findBadFiles, alter("vm-data/litellm", { files: [] }), /nobody mounts it/],
  ["a file that is not there", findBadFiles, { ...sound, files: new Map() }, /no file/],
  ["a cap without a word", findUnmarkedCaps, { ...sound, texts: new Map([["a/b", 'memory = "1GiB"']]) }, /a\/b/],
];

test.each(BROKEN)("%s is seen", (_what, law, broken, message) => {
  expect(law(sound)).toEqual([]);
  expect(law(broken).join("\n")).toMatch(message);
});

test("a figure is found by key, name, host and option, and is undefined where there is none", () => {
  const rows: [string, string, unknown][] = [
    ["vm-data/postgres-app", "health.tcp.port", 5432],
    ["vm-data/postgres-app", "backups[db].schedule", "every 5h"],
    ["vm-data/postgres-app", "backups[none].schedule", undefined],
    ["vm-data/postgres-app", "setting[max_connections]", "200"],
    ["vm-data/postgres-app", "setting[work_mem]", undefined],
    ["vm-data/litellm", "option[--port]", "4000"],
    ["vm-data/litellm", "option[--workers]", undefined],
    ["vm-control/mariadb", "option[--character-set-server]", "utf8mb4"],
    ["vm-control/customer-portal", "routes[*.breakpilot.com].port", 3000],
    ["vm-control/customer-portal", "env.POLAR", undefined],
    ["fleet", "nodes[vm-edge].cpus", 2],
    ["vm-data/postgres-app", "slo.rpo", 6 * HOUR],
  ];
  expect(rows.map(([at, key]) => [at, key, readFigure(sound, at, key)])).toEqual(rows);
  expect(() => readFigure(sound, "vm-edge/nothing", "image")).toThrow("breakpilot has no vm-edge/nothing");
  expect(readEdges(sound, "vm-edge/keycloak-26")).toEqual({
    requires: ["postgres-keycloak"],
    wants: ["infisical"],
    expiring: [],
  });
});
