// What is usually written elsewhere (Compose files, docker run), and the word for it in a manifest. Only describe-issue.ts asks, once
// a key is unknown or has another form than here. Pure; shows no value but a service's own plain words.

/** Keys of a service as Compose knows them → what to write here. */
const SERVICE_WORDS: Readonly<Record<string, string>> = {
  build: 'build the image elsewhere and name it: image = "registry/name:tag"',
  cgroup_parent: "leave it out: the caps are in [resources]",
  configs: 'write [[files]] with source = "files/…" and target = "/…"',
  container_name: "leave it out: a service is reached by its file's name",
  cpu_count: "write cpus = 1.5 under [resources]",
  cpu_quota: "write cpus = 1.5 under [resources]",
  cpu_shares: "write cpus_reserved = 0.5 under [resources]",
  cpus: "write cpus = 1.5 under [resources]",
  depends_on: 'write requires = ["name"]: what must be healthy before this starts',
  deploy: "write the caps under [resources] and how it is replaced under [update]; each manifest is one container",
  dns_search: "leave it out: services of a node are reached by their names",
  domainname: 'write hostname = "name.example.com"',
  env_file: 'write [env] with NAME = "value", and secrets by path under [secrets.files]',
  environment: 'write [env] with NAME = "value", and secrets by path under [secrets.files]',
  expose: "leave it out: services of a node reach every port of each other; ports are what others reach",
  external_links: 'leave it out, and write requires = ["node/name"] if it must be waited for',
  extra_hosts: "leave it out: services are reached by name, other hosts by DNS",
  group_add: 'write user = "uid:gid"',
  healthcheck: 'write [health] with exactly one of http = { port = 8080 }, tcp = { port = 5432 } or exec = ["program"]',
  links: 'leave it out, and write requires = ["name"] if it must be waited for',
  logging: 'write [log] with driver = "local"',
  mem_limit: 'write memory = "512MiB" under [resources]',
  mem_reservation: 'write memory = "512MiB" under [resources]: it is a hard cap',
  memswap_limit: "leave it out: memory under [resources] caps memory and swap together",
  mounts: 'write [[volumes]] with name = "data" and target = "/data"',
  network_mode: 'write network = "host" or "none"; the host\'s policy must allow the host\'s',
  networks: "leave it out: services of a node share its network and reach each other by their names",
  oom_kill_disable: "leave it out: what is over its cap is ended and started again",
  pids_limit: "write pids = 512 under [resources]",
  platform: "leave it out: the image is pulled for the host",
  profiles: 'leave it out, or write state = "stopped"',
  pull_policy: "leave it out: an image that is not there is pulled; name it by @sha256: to fix it",
  replicas: "leave it out: each manifest is one container; write another manifest for another one",
  restart_policy: 'write [restart] with policy = "always", "on-failure" or "never"',
  scale: "leave it out: each manifest is one container; write another manifest for another one",
  security_opt: "leave it out: the engine's own profiles hold",
  services: "write each service as a file of its own: manifests/NODE/NAME.toml",
  stdin_open: "leave it out: orca exec -it is for people",
  stop_grace_period: 'write stop_timeout = "30s"',
  tty: "leave it out: orca exec -it is for people",
  userns_mode: "leave it out: the engine's own setting holds",
  version: "leave it out",
  volumes_from: "write the same [[volumes]] in both manifests",
};

const HEALTH_WORDS: Readonly<Record<string, string>> = {
  test: 'write exec = ["program", "argument"], or http = { port = 8080 } or tcp = { port = 5432 }',
  cmd: 'write exec = ["program", "argument"]',
  start_interval: "leave it out: a service that starts is probed often by itself",
  disable: "leave it out: every service has a health check; tcp = { port = 5432 } is the least",
};

const RESOURCE_WORDS: Readonly<Record<string, string>> = {
  limits: 'write memory = "512MiB" and cpus = 1.5 under [resources] itself',
  reservations: "write cpus_reserved = 0.5; memory is always a hard cap",
  mem_limit: 'write memory = "512MiB"',
  cpu: "write cpus = 1.5",
};

/** Tables, each told by a key that it alone has: which file it stands in is not known here. */
const TABLES: readonly (readonly [depth: number, mark: string, words: Readonly<Record<string, string>>])[] = [
  [0, "image", SERVICE_WORDS],
  [1, "start_period", HEALTH_WORDS],
  [1, "cpus_reserved", RESOURCE_WORDS],
];

/**
 * What to write in place of a key that is usual elsewhere; undefined where it is not.
 * @param path where the table stands
 * @param known the keys that the table has
 */
export function translateKey(
  key: string,
  path: readonly (string | number)[],
  known: readonly string[],
): string | undefined {
  const words = TABLES.find(([depth, mark]) => path.length === depth && known.includes(mark))?.[2];
  return words !== undefined && Object.hasOwn(words, key) ? words[key] : undefined;
}

const RESTART_WORDS: Readonly<Record<string, string>> = {
  always: "leave it out: that is what happens",
  "unless-stopped": "leave it out: that is what happens; orca stop stops it for good",
  no: 'write [restart] with policy = "never"',
  never: 'write [restart] with policy = "never"',
  "on-failure": 'write [restart] with policy = "on-failure"',
};

/** Values that have another form elsewhere, by the key and the value that stands there; undefined where nothing is known. */
export function translateValue(path: readonly (string | number)[], value: unknown): string | undefined {
  const [key, index, ...deeper] = path;
  if (deeper.length > 0) return undefined;
  if (key === "volumes" && typeof value === "string") return translateVolume(value);
  if (key === "ports") return translatePort(value);
  if (index !== undefined) return undefined;
  if (key === "restart" && typeof value === "string")
    return RESTART_WORDS[value.replace(/:\d+$/, "")] ?? 'write [restart] with policy = "always"';
  if (key === "env" && Array.isArray(value)) return 'write a table: [env] with NAME = "value"';
  if (key === "labels" && Array.isArray(value)) return 'write a table: [labels] with name = "value"';
  if ((key === "command" || key === "entrypoint") && typeof value === "string")
    return 'write a list, an entry for each word: ["program", "argument"]; no shell reads it';
  if ((key === "requires" || key === "wants") && typeof value === "object" && !Array.isArray(value))
    return 'write a list of names: ["postgres"]';
  return undefined;
}

/** `data:/var/lib/x:ro` as the table that it is here. */
function translateVolume(text: string): string | undefined {
  const [source = "", target, mode] = text.split(":");
  if (!/^[\w./-]{1,80}$/.test(source) || (target !== undefined && !/^\/[\w./-]{0,80}$/.test(target)))
    return 'write [[volumes]] with name = "data" and target = "/data"';
  const readOnly = mode?.split(",").includes("ro") === true ? ", read_only = true" : "";
  if (target === undefined) return `write [[volumes]] with name = "data" and target = "${source}"`;
  if (source.startsWith(".")) return `write [[files]] with source = "files/…" and target = "${target}"`;
  const kind = source.startsWith("/") ? "source" : "name";
  return `write [[volumes]] with ${kind} = "${source}" and target = "${target}"${readOnly}`;
}

function translatePort(value: unknown): string | undefined {
  if (typeof value === "number" && Number.isInteger(value))
    return `write "${value}:${value}": the host's port and the container's`;
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const { published, target } = value as { published?: unknown; target?: unknown };
  const isPort = (port: unknown): boolean => /^\d{1,5}$/.test(String(port));
  return isPort(published) && isPort(target) ? `write "${String(published)}:${String(target)}"` : 'write "8080:80"';
}
