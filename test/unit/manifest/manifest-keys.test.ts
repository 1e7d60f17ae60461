// Every place of the manifest's schema has an entry that says what the host does with it and who judges it; what is fine there is
// taken, and each hostile value is refused by whom the entry names, at that place.

import * as z from "zod";
import { describe, expect, test } from "vitest";

import { compileService } from "../../../agent/desired/build/compile.ts";
import type { DesiredSettings } from "../../../agent/desired/build/desired-settings.ts";
import { describeReason } from "../../../shared/text/describe-reason.ts";
import { judgeRelease } from "../../../agent/desired/policy/release-policy.ts";
import { STAND_IN_FACTS } from "../../../shared/secret/secret-facts.ts";
import { checkPolicy } from "../../../agent/desired/policy/policy-check.ts";
import { listTexts, NOT_JUDGED, OPEN_TABLES } from "../../../agent/desired/policy/policy-texts.ts";
import { manifestSchema } from "../../../shared/manifest/manifest.ts";
import { policySchema } from "../../../shared/policy/policy.ts";
import { FORBIDDEN, MANIFEST_KEYS } from "../../builders/data/manifest-keys.ts";
import { listPlaces } from "../../builders/data/schema-walk.ts";

const PLACES = listPlaces(manifestSchema);

/** The strict policy, with the little that it needs to tell a fine value from a hostile one. */
const POLICY = policySchema.parse({
  images: { registries: ["docker.io"] },
  mounts: { allowed_prefixes: ["/mnt/data"] },
  secrets: { allowed_prefixes: ["/prod"] },
  bootstrap: { allowed_files: ["/etc/orca/bootstrap/app.env"] },
  security: { devices: ["/dev/allowed"] },
  env: [{ name: "LD_*", forbidden: true }],
  text: { forbidden: [FORBIDDEN.replace(".", "[._]")] },
});

type Raw = Record<string, unknown>;

/** What an entry of a list needs besides the place in question. */
const AROUND: Readonly<Record<string, Raw>> = {
  volumes: { name: "data", target: "/data" },
  files: { source: "files/a", target: "/a" },
  routes: { host: "a.example", port: 80 },
  backups: { name: "b", engine: "files", schedule: "every 5h" },
  "backups.*.hooks.before": { exec: ["true"] },
  "backups.*.hooks.after": { exec: ["true"] },
  requires: { on: "db" },
};

/** What stands beside a name of an open table. */
const VALUES: Readonly<Record<string, unknown>> = {
  env: "x",
  labels: "x",
  sysctls: "1",
  ulimits: 1,
  "log.options": "10m",
  "secrets.env": "/prod/a",
  "secrets.files": "/prod/a",
  "secrets.templates": "/prod/a",
};
const NAMES: Readonly<Record<string, string>> = {
  env: "A",
  labels: "a",
  sysctls: "net.core.somaxconn",
  ulimits: "nofile",
  "log.options": "max-size",
  "secrets.env": "A",
  "secrets.files": "a",
  "secrets.templates": "a",
};

/** Builds a value from a place's steps; answers the path where it stands. */
function nest(steps: readonly string[], value: unknown, table = ""): { value: unknown; path: (string | number)[] } {
  const [step, ...rest] = steps;
  if (step === undefined) return { value, path: [] };
  const at = table === "" ? step : `${table}.${step}`;
  if (step === "<name>") return { value: { [String(value)]: VALUES[table] }, path: [String(value)] };
  if (step === "*" && OPEN_TABLES.has(table)) {
    const inner = nest(rest, value, at);
    const name = NAMES[table] ?? "a";
    return { value: { [name]: inner.value }, path: [name, ...inner.path] };
  }
  if (step === "*") {
    const inner = nest(rest, value, at);
    const around = rest.length === 0 ? undefined : AROUND[table];
    return {
      value: [around === undefined ? inner.value : { ...around, ...(inner.value as Raw) }],
      path: [0, ...inner.path],
    };
  }
  const inner = nest(rest, value, at);
  return { value: { [step]: inner.value }, path: [step, ...inner.path] };
}

/** A manifest with one value at one place, and the path of it. */
function build(place: string, value: unknown): { raw: Raw; path: (string | number)[] } {
  const { value: nested, path } = nest(place.split("."), value);
  const raw: Raw = { image: "app:1", resources: { memory: "64MiB" }, health: { tcp: { port: 80 } } };
  for (const [key, part] of Object.entries(nested as Raw)) {
    const isTable = key === "resources" || (key === "health" && !/http|exec/.test(place));
    raw[key] = isTable ? { ...(raw[key] as Raw), ...(part as Raw) } : part;
  }
  return { raw: complete(place, raw), path };
}

/** What has to be said beside it, so that nothing else is wrong. */
function complete(place: string, raw: Raw): Raw {
  const first = (key: string): Raw => (raw[key] as Raw[])[0] ?? {};
  if (raw["volumes"] !== undefined) raw["backup"] = { none: "a cache" };
  if (place === "volumes.*.source") delete first("volumes")["name"];
  if (place.startsWith("health.http")) raw["health"] = { http: { port: 80, ...(raw["health"] as { http: Raw }).http } };
  if (place.startsWith("backups.")) completeBackup(place, first("backups"));
  if (place.startsWith("log.options")) (raw["log"] as Raw)["driver"] = "json-file";
  if (place === "ulimits.*.soft")
    raw["ulimits"] = { nofile: { hard: 4_096, ...(raw["ulimits"] as Record<string, Raw>)["nofile"] } };
  if (place === "ulimits.*.hard")
    raw["ulimits"] = { nofile: { soft: 1, ...(raw["ulimits"] as Record<string, Raw>)["nofile"] } };
  if (place === "restart.backoff.max") (raw["restart"] as { backoff: Raw }).backoff["initial"] = "100ms";
  return raw;
}

/** Keys of a backup that go with one engine, or with another key. */
function completeBackup(place: string, backup: Raw): void {
  if (/\.(?:command|exec$)/.test(place) && !place.includes("hooks")) {
    backup["engine"] = "command";
    backup["command"] ??= ["true"];
  }
  if (place.includes(".source.")) {
    backup["engine"] = "objects";
    backup["source"] = { port: 9_000, bucket: "uploads", secret: "/prod/s3", ...(backup["source"] as Raw) };
  }
  if (/\.(?:connect|verify|wal)\./.test(place)) backup["engine"] = "postgres";
  if (place.endsWith(".keep")) backup["before_update"] = true;
}

/** Who refuses it, and where. */
function judge(raw: Raw): { judge: string; path: readonly (string | number)[] }[] {
  const parsed = manifestSchema.safeParse(raw);
  if (!parsed.success) return parsed.error.issues.flatMap(flatten).map((path) => ({ judge: "schema", path }));
  const refusals = checkPolicy({ service: "app", manifest: parsed.data, realPaths: {} }, POLICY);
  return refusals.map(({ rule, path }) => ({ judge: rule, path }));
}

function flatten(issue: z.core.$ZodIssue): PropertyKey[][] & (string | number)[][] {
  return [issue.path] as (string | number)[][] & PropertyKey[][];
}

/** True where one path is the other, or stands above it: a table as a whole may be what is refused. */
function touches(found: readonly (string | number)[], wanted: readonly (string | number)[]): boolean {
  const shorter = Math.min(found.length, wanted.length);
  return shorter > 0 && found.slice(0, shorter).join("\0") === wanted.slice(0, shorter).join("\0");
}

test("every place of the schema has an entry, and no entry is without a place", () => {
  expect(PLACES.length).toBeGreaterThan(100);
  expect(PLACES.filter((place) => !(place in MANIFEST_KEYS))).toEqual([]);
  expect(Object.keys(MANIFEST_KEYS).filter((place) => !PLACES.includes(place))).toEqual([]);
});

test("a key that is new fails the walk until somebody has said what the host does with it", () => {
  const grown = z.strictObject({
    ...(manifestSchema._zod.def as unknown as { shape: z.ZodRawShape }).shape,
    volumes_from: z.array(z.string()),
  });
  expect(listPlaces(grown).filter((place) => !(place in MANIFEST_KEYS))).toEqual(["volumes_from.*"]);
  expect(() => listPlaces(z.strictObject({ any: z.any() }))).toThrow("any: a schema of the kind any is not walked yet");
});

describe.each(Object.entries(MANIFEST_KEYS))("%s", (place, { does, fine, hostile }) => {
  test(`is taken where it is fine (the host ${does})`, () => {
    const { raw } = build(place, fine);
    expect(judge(raw)).toEqual([]);
  });

  test.each(hostile.map(([by, value]) => [by, JSON.stringify(value).slice(0, 60), value] as const))(
    "is refused by %s: %s",
    (by, _shown, value) => {
      const { raw, path } = build(place, value);
      const found = judge(raw);
      expect(found.filter((entry) => touches(entry.path, path)).map((entry) => entry.judge)).toContain(by);
    },
  );
});

/** Places that are no part of a release, which is what a container and its probes are made from. */
const NOT_KEPT = /^(?:backups|routes|slo|moved_from)\b|^files\.\*\.(?:source|template)$|^secrets\.templates\./;

describe("a release that is kept is judged as its manifest is, from what is kept of it", () => {
  const settings: DesiredSettings = {
    node: "vm1",
    policy: POLICY,
    standIns: undefined,
    address: undefined,
    ports: "as-written",
    budget: "warn",
    hostNotes: [],
    assumeDataMounted: false,
    frontImage: undefined,
    agentPorts: [],
    templates: undefined,
  };

  /** Judges a release with this value; undefined also where the manifest itself is refused by its schema. */
  function judgeKept(place: string, value: unknown): string | undefined {
    const parsed = manifestSchema.safeParse(build(place, value).raw);
    if (!parsed.success) return undefined;
    const secrets = { versions: { "/prod/a": "1" }, blocked: undefined, notes: [] };
    const context = {
      settings,
      fleet: undefined,
      services: [],
      readFile: () => new Uint8Array(),
      revision: "a",
      secrets,
    };
    const compiled = compileService("app", parsed.data, context);
    if (!compiled.ok) throw new Error(`${place}: ${JSON.stringify(compiled.findings)}`);
    const refusal = judgeRelease(compiled.service, {
      settings,
      realPaths: {},
      secrets: STAND_IN_FACTS,
      findContent: () => undefined,
    });
    return refusal && describeReason(refusal, 0);
  }

  const kept = Object.entries(MANIFEST_KEYS).filter(([place]) => !NOT_KEPT.test(place));

  test.each(kept)("%s", (place, { fine, hostile }) => {
    expect(judgeKept(place, fine)).toBeUndefined();
    for (const [by, value] of hostile.filter(([who]) => who !== "schema"))
      expect(judgeKept(place, value), JSON.stringify(value)).toContain(`rule ${by}`);
  });

  test("most rules are tried", () => {
    expect(kept.flatMap(([, { hostile }]) => hostile.filter(([by]) => by !== "schema")).length).toBeGreaterThan(60);
  });
});

test("every rule of the policy that judges services is the judge of some place", () => {
  const judges = new Set(Object.values(MANIFEST_KEYS).flatMap(({ hostile }) => hostile.map(([by]) => by)));
  const rules = [
    "images.registries",
    "mounts.allowed_prefixes",
    "mounts.docker_socket",
    "volumes.allow_ephemeral",
    "ports.public",
    "security.privileged",
    "security.host_network",
    "security.host_pid",
    "security.host_ipc",
    "security.devices",
    "security.cap_add",
    "security.ulimits",
    "secrets.allowed_prefixes",
    "bootstrap.allowed_files",
    "text.forbidden",
    "endpoints.allowed",
    "log.syslog",
    "env LD_*",
  ];
  expect(rules.filter((rule) => !judges.has(rule))).toEqual([]);
});

test("what is forbidden in texts is looked for in every text but those that others judge", () => {
  const texts = PLACES.filter((place) => !(place in NOT_JUDGED) && place.includes("<name>"));
  for (const place of texts) expect(OPEN_TABLES.has(place.replace(/\.<name>$/, ""))).toBe(true);
  const { raw } = build("env.*", "x");
  const manifest = manifestSchema.parse({
    ...raw,
    requires: ["tcp://db.example:1", "vm-a/db"],
    hostname: "h",
    labels: { k: "v" },
    owner: "nobody",
    image: "app:1",
  });
  const found = listTexts(manifest).map(({ value }) => value);
  expect(found).toEqual(expect.arrayContaining(["tcp://db.example:1", "h", "k", "v", "A", "x"]));
  for (const left of ["nobody", "app:1", "vm-a", "db"]) expect(found).not.toContain(left);
});
