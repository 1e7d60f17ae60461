// Everything that a manifest can make the host do: for each place of its schema what the host does with what stands there, who
// judges it, a value that is fine and values that are refused. A place without an entry fails test/unit/manifest/manifest-keys.test.ts.

/** Who refuses a value: the schema, or a rule of the host's policy by the name that the policy file has for it. */
type Judge = "schema" | (string & {});

/** One place of the schema. */
export interface KeyEntry {
  /** What the host does with it. */
  does: string;
  fine: unknown;
  hostile: readonly [judge: Judge, value: unknown][];
}

/** The word that the policy of the test forbids in texts. */
export const FORBIDDEN = "forbidden.example";
const TEXT: readonly [Judge, unknown] = text(`x ${FORBIDDEN}`);

function text(value: string): readonly [Judge, unknown] {
  return ["text.forbidden", value];
}

function entry(does: string, fine: unknown, ...hostile: (readonly [Judge, unknown])[]): KeyEntry {
  return { does, fine, hostile: hostile.map(([judge, value]) => [judge, value]) };
}

/** A word of a closed list, or a flag: there is nothing to say in it but what the list has. */
function closed(does: string, fine: unknown, other: unknown = "other"): KeyEntry {
  return entry(does, fine, ["schema", other]);
}

function duration(does: string, fine: string, short: string | undefined, long: string): KeyEntry {
  return entry(
    does,
    fine,
    ...(short === undefined ? [] : ([["schema", short]] as const)),
    ["schema", long],
    ["schema", "36500d"],
  );
}

function argument(does: string): KeyEntry {
  return entry(does, "serve", TEXT, ["schema", "a\0b"], ["schema", "x".repeat(200_000)]);
}

function secretPath(does: string): KeyEntry {
  return entry(does, "/prod/app/KEY", ["secrets.allowed_prefixes", "/stage/app/KEY"], ["schema", "/prod/../stage/KEY"]);
}

function innerPath(does: string): KeyEntry {
  return entry(
    does,
    "/data/app",
    text(`/${FORBIDDEN}`),
    ["schema", "/proc/self/fd/7"],
    ["schema", "/a/../b"],
    ["schema", "/a\nb"],
  );
}

const HOUR = "1h";
const HEX = "0123456789abcdef".repeat(4);

const PROGRAM: Readonly<Record<string, KeyEntry>> = {
  image: entry(
    "pulls it and runs it",
    "app:1",
    ["images.registries", "evil.example/app:1"],
    // The engine would take an image that is here, from whatever registry, by its id.
    ...[HEX, HEX.slice(0, 12), "cafe", `sha256:${HEX}`, `sha256:${HEX.slice(0, 12)}`].map(
      (id) => ["schema", id] as const,
    ),
    ["schema", "https://user:password@evil.example/app"],
  ),
  "command.*": argument("runs it inside the container"),
  "entrypoint.*": argument("runs it inside the container"),
  user: entry("runs the program as this user of the image", "1000:1000", text(FORBIDDEN), ["schema", "root\nx"]),
  working_dir: innerPath("makes it and begins there"),
  stop_signal: entry("sends it to the container's first process", "SIGTERM", ["schema", "SIGTERM; reboot"]),
  stop_timeout: duration("waits so long for the container's end", "30s", undefined, "2h"),
  owner: entry("shows it", "ops", ["schema", "ops\u001B[2J"], ["schema", "x".repeat(500)]),
  "env.<name>": entry(
    "gives it to the program",
    "LOG_LEVEL",
    text(FORBIDDEN.replace(".", "_")),
    ["env LD_*", "LD_PRELOAD"],
    ["schema", "A=B"],
  ),
  "env.*": entry("gives it to the program", "info", TEXT, ["schema", "a\0b"], ["schema", "x".repeat(200_000)]),
  "secrets.env.<name>": entry("gives it to the program", "API_KEY", ["env LD_*", "LD_PRELOAD"], ["schema", "A B"]),
  "secrets.env.*": secretPath("asks the provider for it and puts it into a variable"),
  "secrets.files.<name>": entry("makes a file of this name in memory", "key.pem", text(FORBIDDEN), [
    "schema",
    "../../etc/cron.d/x",
  ]),
  "secrets.files.*": secretPath("asks the provider for it and puts it into that file"),
  "secrets.templates.<name>": entry("gives it to the service's templates", "smtp.password", text(FORBIDDEN), [
    "schema",
    "a/b",
  ]),
  "secrets.templates.*": secretPath("asks the provider for it and renders it into files"),
  "secrets.on_rotate": closed("restarts the service", "restart", "reboot"),
  "secrets.on_rotate.signal": entry("sends it to the container's first process", "SIGHUP", ["schema", "9; reboot"]),
  "bootstrap.env_file": entry(
    "reads this file of the host as root and gives its variables to the program",
    "/etc/orca/bootstrap/app.env",
    ["bootstrap.allowed_files", "/etc/shadow"],
    ["schema", "/etc/orca/bootstrap/../../shadow"],
  ),
  schedule: entry("runs it at these times", "every 5h", ["schema", "every 1ms"], ["schema", "* * * * * *"]),
  state: closed("stops or starts it", "running", "paused"),
  moved_from: entry("takes over that service's volumes on this node", "old", ["schema", "../old"]),
};

const ENDPOINTS = [
  "http://169.254.169.254/latest/meta-data",
  "http://2852039166/",
  "http://0xa9fea9fe/",
  "http://[fd00:ec2::254]/",
  "http://[::ffff:169.254.169.254]/",
  "http://localhost:7070/",
  "http://LOCALHOST./",
  "tcp://127.0.0.1:2375",
  "tcp://[::1]:22",
  "tcp://0.0.0.0:22",
  "http://metadata.google.internal/",
  "http://[fe80::1]/",
  "http://100.100.100.200/",
].map((url) => ["endpoints.allowed", url] as const);

const ORDER: Readonly<Record<string, KeyEntry>> = {
  "requires.*": entry(
    "waits for it; an endpoint is asked by the host itself",
    "tcp://10.0.0.30:5432",
    ...ENDPOINTS,
    ["text.forbidden", `https://${FORBIDDEN}/`],
    ["schema", "file:///etc/shadow"],
  ),
  "requires.*.on": entry(
    "the same",
    "https://auth.example/health",
    ...ENDPOINTS,
    ["text.forbidden", `tcp://${FORBIDDEN}:1`],
    ["schema", "gopher://x"],
  ),
  "requires.*.expires": duration("waits so long", "5m", undefined, "400d"),
  "requires.*.then": closed("starts it or not", "start", "reboot"),
  "wants.*": entry("waits for it; an endpoint is asked by the host itself", "https://auth.example/", ...ENDPOINTS, [
    "text.forbidden",
    `https://${FORBIDDEN}/`,
  ]),
  wants_timeout: duration("waits so long", "40s", undefined, "2d"),
  "restart.policy": closed("starts it again or not", "always", "sometimes"),
  "restart.backoff.initial": duration("waits so long before it starts again", "2s", "1ms", "2h"),
  "restart.backoff.max": duration("waits at most so long", "2m", "1ms", "2d"),
  "restart.backoff.reset_after": duration("forgets earlier ends after so long", "10m", "1ms", "60d"),
  "update.order": closed("decides what runs when", "stop-first", "both"),
  "update.healthy_within": duration("takes a release back after so long", "5m", "1ms", "30d"),
  "update.drain": duration("leaves connections so long", "30s", undefined, "2h"),
  "update.settle": duration("holds a release for good after so long", "30s", undefined, "2d"),
  "update.rollback": closed("takes a bad release back", true, "no"),
  "update.backup_first.*": entry("has a backup of it made before a new container", "postgres", ["schema", "../x"]),
  "slo.availability": entry("measures it", 99.9, ["schema", 101]),
  "slo.rto": duration("judges the last incident by it", HOUR, "1ms", "4000d"),
  "slo.freeze": closed("holds changes while a promise is broken", true, "yes"),
  "slo.rpo": duration("judges backups by it", "6h", "1ms", "4000d"),
};

const HEALTH: Readonly<Record<string, KeyEntry>> = {
  "health.http.port": entry("asks the service's own container there", 8080, ["schema", 0], ["schema", 70_000]),
  "health.http.path": entry(
    "asks for it",
    "/health",
    text(`/${FORBIDDEN}`),
    ["schema", "/ HTTP/1.1\r\nHost: x"],
    ["schema", "http://x/"],
  ),
  "health.http.scheme": closed("asks so", "https", "file"),
  "health.http.status.*": entry("takes it as healthy", 204, ["schema", 99]),
  "health.tcp.port": entry("connects to the service's own container there", 5432, ["schema", -1]),
  "health.exec.*": argument("runs it inside the container, again and again"),
  "health.interval": duration("asks so often", "10s", "1ms", "2h"),
  "health.timeout": duration("waits so long", "5s", "1ms", HOUR),
  "health.retries": entry("counts so many failures", 3, ["schema", 0], ["schema", 100_000]),
  "health.start_period": duration("counts no failure for so long", "1m", undefined, "2d"),
};

const RESOURCES: Readonly<Record<string, KeyEntry>> = {
  "resources.memory": entry(
    "reserves so much of the node, and ends the service above it",
    "64MiB",
    ["schema", "1MiB"],
    ["schema", "1000TiB"],
  ),
  "resources.cpus": entry("gives it so many cores", 2, ["schema", 0.0001], ["schema", 100_000]),
  "resources.cpus_reserved": entry("prefers it under load", 1, ["schema", 0], ["schema", 10_000]),
  "resources.pids": entry("lets it have so many processes", 100, ["schema", 0], ["schema", 10_000_000]),
  shm_size: entry("gives it so much shared memory, within its cap", "1MiB", ["schema", "1TiB"]),
  "ulimits.<name>": entry(
    "raises or lowers a limit of the kernel",
    "nofile",
    ["schema", "nofiles"],
    ...["core", "nice", "rtprio", "rttime"].map((name) => ["security.ulimits", name] as const),
  ),
  "ulimits.*": entry("the same", 65_536, ["schema", 2 ** 31], ["schema", -1]),
  "ulimits.*.soft": entry("the same", 1_024, ["schema", 2 ** 31]),
  "ulimits.*.hard": entry("the same", 65_536, ["schema", 2 ** 31], ["schema", -1]),
  "sysctls.<name>": entry(
    "sets it in the container's namespaces",
    "net.core.somaxconn",
    ["sysctls (the host's own)", "kernel.core_pattern"],
    ["sysctls (the host's own)", "vm.swappiness"],
    ["sysctls (the host's own)", "kernel.panic"],
  ),
  "sysctls.*": entry("the same", "1024 65000", ["schema", "|/bin/sh\n"], text(FORBIDDEN)),
  "tmpfs.*": entry(
    "makes a directory in memory, within its cap",
    "/cache:size=1m,mode=1777",
    ["schema", "/cache:size=900g"],
    ["schema", "/cache:size=80%"],
    ["schema", "/cache:mpol=bind:0"],
    ["schema", "/a/../b"],
    ["schema", "/cache:nr_inodes=0"],
    text(`/${FORBIDDEN}`),
  ),
};

const MOUNTS: Readonly<Record<string, KeyEntry>> = {
  // Whether a volume of that name is somebody else's is known where the engine is (agent/plan/foreign-volume.ts).
  "volumes.*.name": entry("makes or takes a volume of this name", "data", ["schema", "../../etc"], text(FORBIDDEN)),
  "volumes.*.source": entry(
    "mounts this directory of the host",
    "/mnt/data/app",
    ["mounts.allowed_prefixes", "/srv/app"],
    ["mounts.allowed_prefixes", "/mnt/database"],
    ["mounts.docker_socket", "/var/run/docker.sock"],
    ["mounts (Orca's own directories)", "/var/lib/orca"],
    ["schema", "/mnt/data/../../etc"],
  ),
  "volumes.*.target": innerPath("shows it there inside the container"),
  "volumes.*.read_only": closed("lets it write or not", true, "no"),
  "volumes.*.ephemeral": entry(
    "begins it empty with each release, and removes that of earlier ones",
    false,
    ["volumes.allow_ephemeral", true],
    ["schema", "yes"],
  ),
  "files.*.source": entry(
    "reads this file of the node's directory in Git",
    "files/app.conf",
    ["schema", "../vm-b/secret"],
    ["schema", "/etc/shadow"],
  ),
  "files.*.target": innerPath("delivers it there inside the container"),
  "files.*.template": closed("renders it within limits", true, "yes"),
  "files.*.mode": entry("gives it these permissions", "0444", ["schema", "4755"]),
  "files.*.owner": entry("gives it to this user", "1000:1000", ["schema", "root"], ["schema", "9999999999"]),
  "files.*.on_change": closed("restarts the service", "restart", "reboot"),
  "files.*.on_change.signal": entry("sends it to the container's first process", "SIGHUP", ["schema", "KILL ALL"]),
  "files.*.on_change.exec.*": argument("runs it inside the container"),
};

const NETWORK: Readonly<Record<string, KeyEntry>> = {
  "ports.*": entry(
    "listens on this address and port of the host",
    "10.0.0.5:8443:8443",
    ["ports.public", "0.0.0.0:443:443"],
    ["ports.public", "[::]:443:443"],
    ["ports.public", "198.51.100.7:443:443"],
    ["schema", "1-65535:1-65535"],
  ),
  "routes.*.host": entry(
    "has proxies serve this name",
    "app.example",
    ["schema", "a\n  http-request deny"],
    text(FORBIDDEN),
  ),
  "routes.*.path": entry("narrows it", "/api", ["schema", "/a\nfoo"], text(`/${FORBIDDEN}`)),
  "routes.*.port": entry("hands requests on to this port of the service", 8080, ["schema", 70_000]),
  "routes.*.allow.*": entry("lets these networks call", "10.0.0.0/8", ["schema", "10.0.0.0/8\n}"]),
  "routes.*.rate": entry("limits each client", "60/s", ["schema", "60/s; x"]),
  "routes.*.timeout": duration("waits so long for an answer", "30s", "1ms", "30d"),
  hostname: entry("names the container so, also for others on the node's network", "web", text(FORBIDDEN), [
    "schema",
    "a b",
  ]),
  "dns.*": entry("has the container ask there", "10.0.0.53", ["schema", "evil.example"]),
  network: entry(
    "gives it the node's network, the host's or none",
    "orca",
    ["security.host_network", "host"],
    ["schema", "bridge"],
  ),
  pid: entry(
    "shows it its own processes or the host's",
    "private",
    ["security.host_pid", "host"],
    ["schema", "container:x"],
  ),
  ipc: entry(
    "gives it its own shared memory or the host's",
    "private",
    ["security.host_ipc", "host"],
    ["schema", "container:x"],
  ),
};

const POWERS: Readonly<Record<string, KeyEntry>> = {
  read_only: closed("lets it write to its image or not", true, "no"),
  "cap_add.*": entry(
    "gives it powers of root",
    "CHOWN",
    ["security.cap_add", "SYS_ADMIN"],
    ["security.cap_add", "ALL"],
    ["security.cap_add", "CAP_NET_ADMIN"],
    ["schema", "sys_admin"],
  ),
  "cap_drop.*": entry("takes them away", "ALL", ["schema", "all"]),
  "devices.*": entry(
    "gives it this device of the host",
    "/dev/allowed",
    ["security.devices", "/dev/sda"],
    ["security.devices", "/dev/sda:/dev/allowed:rwm"],
    ["schema", "/etc/shadow"],
    ["schema", "/dev/../etc/shadow"],
    ["schema", "/dev/allowed:/etc/passwd:x"],
  ),
  privileged: entry("gives it all of root's powers", false, ["security.privileged", true]),
  init: closed("puts a small init before the program", true, "yes"),
  "labels.<name>": entry(
    "writes it on the container, where other programs of the host read it",
    "team",
    TEXT,
    ["schema", "orca.node"],
    ["schema", "a\nb"],
  ),
  "labels.*": entry("the same", "core", TEXT, ["schema", "x".repeat(20_000)]),
  "log.driver": entry("has dockerd write what it prints", "json-file", ["log.syslog", "syslog"], ["schema", "fluentd"]),
  "log.options.<name>": entry(
    "tells dockerd, which is root, how",
    "max-size",
    ["schema", "env-regex"],
    ["schema", "env"],
    ["schema", "syslog-address"],
    ["schema", "syslog-tls-key"],
    ["schema", "labels-regex"],
  ),
  "log.options.*": entry("the same", "10m", ["schema", "900g"], ["schema", "-1"]),
};

const BACKUPS: Readonly<Record<string, KeyEntry>> = {
  "backups.*.name": entry("names it in the repository", "main", ["schema", "../x"]),
  "backups.*.engine": closed("reads the data so", "postgres", "shell"),
  "backups.*.command.*": argument("runs it inside the container"),
  "backups.*.exec": closed("runs it in the service's own container", true, "yes"),
  "backups.*.stop": closed("stops the service while it is read", true, "yes"),
  "backups.*.image": entry(
    "runs this image beside the service, in its network or with its volumes",
    "tools:1",
    ["images.registries", "evil.example/app:1"],
    ["schema", HEX],
  ),
  "backups.*.connect.user": entry(
    "connects as this user",
    "reader",
    TEXT,
    ["schema", "a\nb"],
    ["schema", "x".repeat(200)],
  ),
  "backups.*.connect.password": secretPath("asks the provider for it and puts it into a file in memory for the dump"),
  "backups.*.connect.databases.*": entry(
    "dumps this one",
    "app",
    TEXT,
    ["schema", "a\nb"],
    ["schema", "x".repeat(200)],
  ),
  "backups.*.source.port": entry(
    "reads the bucket at this port of the service's own container",
    9_000,
    ["schema", 0],
    ["schema", 70_000],
    ["schema", "10.0.0.9:9000"],
  ),
  "backups.*.source.scheme": closed("speaks so", "https", "file"),
  "backups.*.source.bucket": entry(
    "reads this bucket",
    "uploads",
    text(FORBIDDEN),
    ["schema", "../uploads"],
    ["schema", "a/b"],
    ["schema", "evil.example/"],
  ),
  "backups.*.source.prefix": entry(
    "reads what lies below it",
    "app/photos",
    TEXT,
    ["schema", "/app"],
    ["schema", "app/"],
    ["schema", "a\nb"],
  ),
  "backups.*.source.region": entry(
    "signs for it",
    "eu-central-1",
    text(FORBIDDEN),
    ["schema", "eu\nx"],
    ["schema", ""],
  ),
  "backups.*.source.secret": secretPath("asks the provider for it and signs requests with it"),
  "backups.*.hooks.before.*.exec.*": argument("runs it inside the service's container"),
  "backups.*.hooks.before.*.timeout": duration("ends waiting after so long", "5m", "1ms", "2h"),
  "backups.*.hooks.before.*.on_error": closed("goes on or not", "continue", "ignore"),
  "backups.*.hooks.after.*.exec.*": argument("runs it inside the service's container"),
  "backups.*.hooks.after.*.timeout": duration("ends waiting after so long", "5m", "1ms", "2h"),
  "backups.*.hooks.after.*.on_error": closed("goes on or not", "continue", "ignore"),
  "backups.*.memory": entry("caps the dump with it, and reserves it", "512MiB", ["schema", "1MiB"], ["schema", "all"]),
  "backups.*.min_size": entry("takes nothing smaller for a dump", "1MiB", ["schema", "some"]),
  "backups.*.keep": duration("keeps it so long", "30d", "1h", "4000d"),
  "backups.*.schedule": entry("makes it at these times", "every 5h", ["schema", "every 1ms"], ["schema", "@once"]),
  // Where such a repository lies is judged by `backups` and `pinned` (agent/desired/policy-repositories.ts).
  "backups.*.repositories.*": entry("keeps it there", "local", ["schema", "https://evil.example"], ["schema", "../x"]),
  "backups.*.min_success": entry("counts", 1, ["schema", 0], ["schema", 1_000]),
  "backups.*.before_update": closed("makes one before an update", true, "no"),
  "backups.*.wal.base": entry("makes a base at these times", "every 7d", ["schema", "every 1ms"], ["schema", "@once"]),
  "backups.*.wal.ship": duration("sends what is new of the log so often", "30s", "1ms", "2h"),
  "backups.*.wal.slot": entry("makes a replication slot of that name", "orca", ["schema", "a'b"], ["schema", ""]),
  "backups.*.wal.window": duration("keeps the log so long", "7d", "1m", "4000d"),
  "backups.*.retention.days": entry("keeps so many", 14, ["schema", -1], ["schema", 100_000]),
  "backups.*.retention.daily": entry("keeps so many", 14, ["schema", -1], ["schema", 100_000]),
  "backups.*.retention.weekly": entry("keeps so many", 4, ["schema", -1], ["schema", 100_000]),
  "backups.*.retention.monthly": entry("keeps so many", 1, ["schema", -1], ["schema", 100_000]),
  "backups.*.verify.schedule": entry("restores it at these times", "0 3 * * 0", ["schema", "every 1ms"]),
  "backups.*.verify.image": entry(
    "runs this image beside the data",
    "postgres:16",
    ["images.registries", "evil.example/app:1"],
    ["schema", HEX],
  ),
  "backups.*.verify.extensions.*": entry("asks the restored database", "vector", TEXT, ["schema", "a\nb"]),
  "backups.*.verify.schemas.*": entry("asks the restored database", "public", TEXT, ["schema", "a\nb"]),
  "backups.*.verify.queries.*": entry("asks the restored database", "select true", TEXT, [
    "schema",
    "x".repeat(10_000),
  ]),
  "backups.*.verify.fk_allowlist": entry(
    "reads this file of the node's directory in Git",
    "files/fk",
    ["schema", "/etc/shadow"],
    ["schema", "../x"],
  ),
  "backups.*.verify.max_size": entry("restores nothing larger", "1GiB", ["schema", "all"]),
  "backups.*.verify.timeout": duration("gives up after so long", HOUR, "1ms", "30d"),
  "backup.none": entry("shows it", "a cache", ["schema", "x"], ["schema", "a\u001B[2Jb"]),
};

/** Place of the schema → what is known of it. */
export const MANIFEST_KEYS: Readonly<Record<string, KeyEntry>> = {
  ...PROGRAM,
  ...ORDER,
  ...HEALTH,
  ...RESOURCES,
  ...MOUNTS,
  ...NETWORK,
  ...POWERS,
  ...BACKUPS,
};
