// Generated manifests for fast-check: valid ones with every key that there is, and a writer of TOML in any order of keys.

import {
  type Arbitrary,
  array,
  boolean,
  constant,
  constantFrom,
  dictionary,
  integer,
  oneof,
  option,
  record,
  string,
  stringMatching,
  uniqueArray,
} from "fast-check";

/** What a manifest says, as plain data on the input side. */
export type ManifestInput = Record<string, unknown>;

const name = stringMatching(/^[a-z0-9](?:[a-z0-9-]{0,10}[a-z0-9])?$/);
const path = stringMatching(/^\/[a-z0-9_]{1,8}(?:\/[a-z0-9_]{1,8}){0,2}$/);
const text = string({ maxLength: 20, unit: "grapheme" }).map((value) => value.replaceAll("\0", "").toWellFormed());
const port = integer({ min: 1, max: 65_535 });
const argv = array(text, { minLength: 1, maxLength: 4 });
const envName = stringMatching(/^[A-Z_][A-Z0-9_]{0,12}$/);
const signal = constantFrom("SIGTERM", "SIGHUP", "SIGUSR1");
/** Names that JavaScript knows on every object: they are names like any others here. */
const envKey = oneof({ weight: 9, arbitrary: envName }, constantFrom("constructor", "toString", "hasOwnProperty"));

/** A duration as text, up to a few days. */
export const durationText: Arbitrary<string> = oneof(
  integer({ min: 1, max: 10_000 }).map((count) => `${count}ms`),
  integer({ min: 1, max: 600 }).map((count) => `${count}s`),
  integer({ min: 1, max: 90 }).map((count) => `${count}m`),
  integer({ min: 1, max: 48 }).map((count) => `${count}h`),
  integer({ min: 1, max: 30 }).map((count) => `${count}d`),
);

/** A duration as text that every key takes which takes one at all: of seconds or minutes. */
const shortText: Arbitrary<string> = oneof(
  integer({ min: 1, max: 600 }).map((count) => `${count}s`),
  integer({ min: 1, max: 10 }).map((count) => `${count}m`),
);

/** A size as text, 6 MiB and more. */
export const sizeText: Arbitrary<string> = oneof(
  integer({ min: 6, max: 4_096 }).map((count) => `${count}MiB`),
  constantFrom("1GiB", "1.5GiB", "2GB", "0.5GiB"),
);

const optional = <T>(arbitrary: Arbitrary<T>): Arbitrary<T | undefined> => option(arbitrary, { nil: undefined });

const publishedPort = record({
  address: constantFrom("", "127.0.0.1:", "0.0.0.0:", "[::1]:", "[::]:", "10.0.0.7:"),
  host: port,
  container: port,
  protocol: constantFrom("", "/tcp", "/udp"),
}).map((entry) => `${entry.address}${entry.host}:${entry.container}${entry.protocol}`);

const target = oneof(
  name,
  record({ node: name, service: name }).map((entry) => `${entry.node}/${entry.service}`),
  constantFrom("https://auth.example/health", "tcp://10.0.0.1:5432", "http://[::1]:80/"),
);

const requirement = oneof(
  target,
  record({ on: target, expires: optional(durationText), then: optional(constantFrom("start", "fail")) }),
);

const health = record({
  check: oneof(
    record({ tcp: record({ port }) }),
    record({ exec: argv }),
    record({
      http: record({ port, path: optional(constantFrom("/", "/health?x=1")), status: optional(constant([200, 204])) }),
    }),
  ),
  interval: optional(shortText),
  timeout: optional(shortText),
  retries: optional(integer({ min: 1, max: 10 })),
  start_period: optional(shortText),
}).map(({ check, ...rest }) => ({ ...check, ...rest }));

const volume = oneof(
  record({ name: stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,12}$/), target: path, read_only: optional(boolean()) }),
  record({ source: path, target: path }),
);

const file = record({
  source: constantFrom("files/a", "files/b.conf", "files/deep/c"),
  target: path,
  template: optional(boolean()),
  mode: optional(constantFrom("0444", "0400", "644")),
  owner: optional(constantFrom("1000", "1000:1000")),
  on_change: optional(oneof(constant("restart"), record({ signal }), record({ exec: argv }))),
});

const route = record({
  host: stringMatching(/^(?:\*\.)?[a-z0-9]{1,8}\.example$/),
  path: optional(path),
  port,
  allow: optional(constant(["10.0.0.0/16", "::1"])),
  rate: optional(constantFrom("60/s", "1000/m")),
  timeout: optional(shortText),
});

const backupCommon = {
  name,
  schedule: constantFrom("every 5h", "0 3 * * *", "*/10 * * * 1-5"),
  repositories: optional(uniqueArray(name, { minLength: 1, maxLength: 3 })),
  before_update: optional(boolean()),
  memory: optional(constantFrom("128MiB", "1GiB")),
  image: optional(constant("tools:1")),
  min_size: optional(sizeText),
  retention: optional(
    record({ days: optional(integer({ min: 0, max: 90 })), weekly: optional(integer({ min: 0, max: 9 })) }),
  ),
};
const { image: _image, ...withoutImage } = backupCommon;
const proof = { image: optional(constant("postgres:16")), timeout: optional(shortText) };
const hooks = record({
  before: optional(
    array(record({ exec: argv, on_error: optional(constantFrom("abort", "continue")) }), { maxLength: 2 }),
  ),
  after: optional(array(record({ exec: argv, timeout: optional(constant("5m")) }), { maxLength: 2 })),
});

/** Which keys go together depends on the engine. */
const backup = oneof(
  record({
    ...backupCommon,
    engine: constantFrom("postgres", "mysql"),
    connect: optional(
      record({
        user: optional(constant("reader")),
        password: optional(constant("/prod/db/PASSWORD")),
        databases: optional(array(name, { minLength: 1, maxLength: 2 })),
      }),
    ),
    hooks: optional(hooks),
    verify: optional(record({ ...proof, schemas: optional(array(name, { maxLength: 2 })) })),
  }),
  record({ ...backupCommon, engine: constant("redis"), hooks: optional(hooks), verify: optional(record(proof)) }),
  record({ ...backupCommon, engine: constant("files"), stop: optional(boolean()), verify: optional(record(proof)) }),
  record({
    ...withoutImage,
    engine: constant("objects"),
    source: record({
      port,
      bucket: constantFrom("uploads", "a.b-c"),
      prefix: optional(constantFrom("app", "app/photos")),
      scheme: optional(constantFrom("http", "https")),
      secret: constant("/prod/minio/backup"),
    }),
    hooks: optional(hooks),
  }),
  record({ ...backupCommon, engine: constant("command"), command: argv, hooks: optional(hooks) }),
);

const scalars = {
  image: constantFrom("app:1", "registry.example:5000/team/app:1.2", `app@sha256:${"0".repeat(64)}`),
  resources: record({
    memory: sizeText,
    cpus: optional(integer({ min: 1, max: 64 })),
    pids: optional(integer({ min: 1, max: 9_999 })),
  }),
  health,
  command: optional(argv),
  entrypoint: optional(argv),
  user: optional(constantFrom("root", "1000:1000")),
  working_dir: optional(path),
  stop_signal: optional(signal),
  stop_timeout: optional(shortText),
  owner: optional(text.filter((value) => value !== "")),
  wants_timeout: optional(shortText),
  state: optional(constantFrom("running", "stopped")),
  shm_size: optional(constantFrom("64kB", "6MiB")),
  network: optional(constantFrom("orca", "host", "none")),
  pid: optional(constantFrom("private", "host")),
  ipc: optional(constantFrom("private", "shareable", "host", "none")),
  hostname: optional(constantFrom("web", "Web-1.example")),
  read_only: optional(boolean()),
  privileged: optional(boolean()),
  init: optional(boolean()),
};

const lists = {
  requires: optional(array(requirement, { maxLength: 3 })),
  wants: optional(array(target, { maxLength: 3 })),
  ports: optional(array(publishedPort, { maxLength: 4 })),
  tmpfs: optional(
    array(
      oneof(
        path,
        path.map((at) => `${at}:size=1m,mode=1777,noexec`),
      ),
      { maxLength: 2 },
    ),
  ),
  cap_add: optional(uniqueArray(constantFrom("NET_ADMIN", "CAP_SYS_TIME", "CHOWN"))),
  cap_drop: optional(constant(["ALL"])),
  devices: optional(constant(["/dev/kvm", "/dev/a:/dev/b:r"])),
  dns: optional(constant(["1.1.1.1", "0:0::1"])),
  files: optional(array(file, { maxLength: 3 })),
  routes: optional(array(route, { maxLength: 3 })),
};

const tables = {
  env: optional(dictionary(envKey, text, { maxKeys: 6 })),
  labels: optional(
    dictionary(
      stringMatching(/^[a-z][a-z.]{0,12}$/).filter((key) => key !== "orca" && !key.startsWith("orca.")),
      text,
      { maxKeys: 4 },
    ),
  ),
  sysctls: optional(constant({ "net.core.somaxconn": "1024" })),
  ulimits: optional(constantFrom({ nofile: 1024 }, { nofile: { soft: 1, hard: 2 }, core: -1 })),
  restart: optional(
    record({
      policy: optional(constantFrom("always", "on-failure", "never")),
      backoff: optional(constant({ initial: "2s", max: "1m" })),
    }),
  ),
  secrets: optional(
    record({
      env: optional(dictionary(envKey, constant("/prod/a/B"), { maxKeys: 3 })),
      files: optional(constant({ "tls.key": "/prod/k" })),
      templates: optional(constant({ "smtp.password": "/prod/s", DB: "/prod/d" })),
      on_rotate: optional(oneof(constant("restart"), record({ signal }))),
    }),
  ),
  update: optional(
    record({
      order: optional(constantFrom("stop-first", "start-first")),
      settle: optional(shortText),
      rollback: optional(boolean()),
    }),
  ),
  slo: optional(
    record({
      availability: optional(constantFrom(99, 99.5, 99.99)),
      rto: optional(shortText),
      rpo: optional(shortText),
      freeze: optional(boolean()),
    }),
  ),
  log: optional(
    oneof(
      record({
        driver: optional(constantFrom("local", "json-file")),
        options: optional(constantFrom({ "max-size": "5m" }, { "max-file": "2", compress: "true" })),
      }),
      record({
        driver: constantFrom("journald", "syslog"),
        options: optional(constantFrom({ tag: "x" }, { mode: "non-blocking", labels: "a,b.c" })),
      }),
      constant({ driver: "none" }),
    ),
  ),
};

const withVolumes = optional(
  record({
    volumes: array(volume, { minLength: 1, maxLength: 3 }),
    kept: oneof(array(backup, { minLength: 1, maxLength: 2 }), constant("a cache")),
  }),
);

/** A valid manifest. */
export const manifestInput: Arbitrary<ManifestInput> = record({
  ...scalars,
  ...lists,
  ...tables,
  kept: withVolumes,
}).map(({ kept, ...rest }) => {
  if (kept === undefined) return rest;
  const backups = typeof kept.kept === "string" ? { backup: { none: kept.kept } } : { backups: kept.kept };
  return { ...rest, volumes: kept.volumes, ...backups };
});

/**
 * Writes data as TOML, with the keys of each table in the order that `order` gives them. Tables become headers or inline
 * tables, as `inline` says for each.
 */
export function writeToml(data: ManifestInput, order: (keys: string[]) => string[], inline: () => boolean): string {
  const lines: string[] = [];
  const later: [string, Record<string, unknown>, string][] = [];
  for (const key of order(keysOf(data))) {
    const value = data[key];
    const isTables = Array.isArray(value) && value.length > 0 && value.every((entry) => isTable(entry));
    if (isTable(value) && !inline()) later.push([key, value, `[${quoteKey(key)}]`]);
    else if (isTables && !inline()) for (const entry of value) later.push([key, entry, `[[${quoteKey(key)}]]`]);
    else lines.push(`${quoteKey(key)} = ${writeValue(value, order)}`);
  }
  for (const [, table, header] of later) {
    lines.push(header, ...order(keysOf(table)).map((key) => `${quoteKey(key)} = ${writeValue(table[key], order)}`));
  }
  return `${lines.join("\n")}\n`;
}

function keysOf(data: object): string[] {
  return Object.entries(data).flatMap(([key, value]) => (value === undefined ? [] : [key]));
}

function isTable(value: unknown): value is ManifestInput {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function quoteKey(key: string): string {
  return /^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key);
}

function writeValue(value: unknown, order: (keys: string[]) => string[]): string {
  if (Array.isArray(value)) return `[${value.map((entry) => writeValue(entry, order)).join(", ")}]`;
  if (!isTable(value)) return writeScalar(value);
  return `{ ${order(keysOf(value))
    .map((key) => `${quoteKey(key)} = ${writeValue(value[key], order)}`)
    .join(", ")} }`;
}

/** JSON's texts are TOML's, but for DEL, which TOML wants escaped. */
function writeScalar(value: unknown): string {
  return JSON.stringify(value).replaceAll("\u007F", String.raw`\u007F`);
}
