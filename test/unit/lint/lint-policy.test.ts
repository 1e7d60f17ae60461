// The host's law over a whole repository: each refusal at its key, with its rule.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { type Content, FLEET, lintFiles, service } from "../../builders/git/repository.ts";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "orca-policy-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function judge(
  policy: string,
  files: Record<string, Content>,
  node?: string,
  wanted = "policy",
): Promise<string[]> {
  const file = join(directory, "policy.toml");
  writeFileSync(file, policy);
  const problems = await lintFiles(files, { policy: file, ...(node === undefined ? {} : { node }) });
  return problems
    .filter(({ code }) => code === wanted)
    .map(({ file: where, line, column, key, hint }) => {
      const short = where.replace(/^orca\/(manifests\/)?/, "").replace(/\.toml$/, "");
      return `${short}:${line}:${column} ${key} ${hint.replace("the host's policy refuses it: rule ", "")}`;
    })
    .toSorted();
}

const volume = '[[volumes]]\nsource = "/srv/data"\ntarget = "/data"';
const NONE = 'backup = { none = "a cache" }';

describe("a policy", () => {
  it("that is empty denies what is dangerous, each at its key", async () => {
    const top = [
      "privileged = true",
      'network = "host"',
      'pid = "host"',
      'ipc = "host"',
      'cap_add = ["CHOWN", "SYS_ADMIN"]',
      'devices = ["/dev/kvm:/dev/kvm:rwm"]',
      NONE,
    ].join("\n");
    const tables = `${volume}\n[[volumes]]\nsource = "/var/run"\ntarget = "/r"\n[[volumes]]\nname = "x"\ntarget = "/x"\nephemeral = true\n[bootstrap]\nenv_file = "/etc/x.env"`;
    const files = {
      "manifests/vm-a/bad.toml": service(top, tables),
      "manifests/vm-a/port.toml": service('ports = ["8080:80", "[0::0]:9090:90"]'),
      "manifests/vm-a/good.toml": service('ports = ["10.0.0.1:9191:80"]'),
    };
    expect(await judge("", files)).toEqual([
      "vm-a/bad:12:1 volumes[0].source mounts.allowed_prefixes",
      "vm-a/bad:15:1 volumes[1].source mounts.docker_socket",
      "vm-a/bad:1:1 privileged security.privileged",
      "vm-a/bad:20:1 volumes[2].ephemeral volumes.allow_ephemeral",
      "vm-a/bad:22:1 bootstrap.env_file bootstrap.allowed_files",
      "vm-a/bad:2:1 network security.host_network",
      "vm-a/bad:3:1 pid security.host_pid",
      "vm-a/bad:4:1 ipc security.host_ipc",
      "vm-a/bad:5:21 cap_add[1] security.cap_add",
      "vm-a/bad:6:12 devices[0] security.devices",
      "vm-a/port:1:21 ports[1] ports.public",
    ]);
  });

  it("allows what it names", async () => {
    const policy = `[mounts]\nallowed_prefixes = ["/srv/"]\n[security]\nprivileged = ["app"]\n[ports]\npublic = [9090]`;
    const top = `privileged = true\nports = ["0.0.0.0:9090:90"]\n${NONE}`;
    expect(await judge(policy, { "manifests/vm-a/app.toml": service(top, volume) })).toEqual([]);
    const other = volume.replace("/srv/data", "/srvx/data");
    expect(await judge(policy, { "manifests/vm-a/app.toml": service(top, other) })).toEqual([
      "vm-a/app:8:1 volumes[0].source mounts.allowed_prefixes",
    ]);
  });

  it("judges the address that a port really gets: the node's own by fleet.toml, and any that the internet may reach", async () => {
    const app = { "manifests/vm-a/app.toml": service('ports = ["8080:80", "10.0.0.1:9090:90", "[fd00::1]:9191:91"]') };
    const at = (address: string): Record<string, Content> => ({
      ...app,
      "fleet.toml": FLEET.replace("10.0.0.1", address),
    });
    expect(await judge("", at("10.0.0.1"))).toEqual([]);
    for (const address of ["0.0.0.0", "203.0.113.7", "::", "2001:db8::7", "::ffff:203.0.113.7"]) {
      expect([address, await judge("", at(address))]).toEqual([address, ["vm-a/app:1:10 ports[0] ports.public"]]);
      expect(await judge("[ports]\npublic = [8080]", at(address))).toEqual([]);
    }
    const written = { "manifests/vm-a/app.toml": service('ports = ["203.0.113.7:5432:5432", "[2001:db8::1]:80:80"]') };
    expect(await judge("", written)).toEqual([
      "vm-a/app:1:10 ports[0] ports.public",
      "vm-a/app:1:35 ports[1] ports.public",
    ]);
  });

  it("that lends the engine's socket lends no directory around it", async () => {
    const policy = '[mounts]\ndocker_socket = true\nallowed_prefixes = ["/srv"]';
    const mount = (source: string) => ({
      "manifests/vm-a/app.toml": service(NONE, volume.replace("/srv/data", source)),
    });
    expect(await judge(policy, mount("/var/run/docker.sock"))).toEqual([]);
    for (const source of ["/", "/run", "/var/run"]) expect(await judge(policy, mount(source))).toHaveLength(1);
  });

  it("demands registries and digests, values of variables and prefixes of secrets", async () => {
    const policy = `
[images]
registries = ["registry.example"]
require_digest = true
[[env]]
name = "POLAR_API_URL"
must_match = "^https://sandbox\\\\."
[[env]]
name = "DEBUG*"
forbidden = true
[[env]]
name = "REGION"
required = true
[secrets]
allowed_prefixes = ["/prod"]`;
    const tables = `[env]\nPOLAR_API_URL = "https://api.example"\nDEBUG_A = "1"\nDEBUG_B = "1"\n[secrets.env]\nA = "/prod/a"\nB = "/production/b"\n[secrets.files]\nc = "/stage/c"`;
    expect(await judge(policy, { "manifests/vm-a/app.toml": service("", tables) })).toEqual([
      "vm-a/app:10:1 secrets.env.B secrets.allowed_prefixes",
      "vm-a/app:12:1 secrets.files.c secrets.allowed_prefixes",
      "vm-a/app:1:1 image images.registries",
      "vm-a/app:1:1 image images.require_digest",
      "vm-a/app:4:2 env env REGION",
      "vm-a/app:5:1 env.POLAR_API_URL env POLAR_API_URL",
      "vm-a/app:6:1 env.DEBUG_A env DEBUG*",
      "vm-a/app:7:1 env.DEBUG_B env DEBUG*",
    ]);
    const good = service("", '[env]\nREGION = "eu"\nPOLAR_API_URL = "https://sandbox.example"').replace(
      "app:1",
      `registry.example/app:1@sha256:${"a".repeat(64)}`,
    );
    expect(await judge(policy, { "manifests/vm-a/app.toml": good })).toEqual([]);
    const secret = service("", '[env]\nREGION = "eu"\n[secrets.env]\nPOLAR_API_URL = "/prod/url"');
    // What a secret holds is known on the host alone: said, and judged there.
    expect(await judge(policy, { "manifests/vm-a/app.toml": secret })).toEqual([
      "vm-a/app:1:1 image images.registries",
      "vm-a/app:1:1 image images.require_digest",
    ]);
    expect(await judge(policy, { "manifests/vm-a/app.toml": secret }, undefined, "policy-on-host")).toEqual([
      "vm-a/app:7:1 secrets.env.POLAR_API_URL rule env POLAR_API_URL",
    ]);
  });

  it("of a realm judges that realm, and its own host's place in it", async () => {
    const bad = service("privileged = true");
    const files = { "manifests/vm-a/a.toml": bad, "manifests/vm-stage/a.toml": bad };
    expect(await judge('realm = "stage"', files)).toEqual(["vm-stage/a:1:1 privileged security.privileged"]);
    expect(await judge('realm = "stage"', files, "vm-a")).toEqual(["fleet:3:1 nodes.vm-a.env realm"]);
    expect(await judge('realm = "lab"', files)).toEqual(["fleet:1:2 nodes use that host's policy"]);
  });

  it("bounds the caps of a node and the places of backups", async () => {
    const policy = `[memory]\nmax_total = "100MiB"\n[backups]\nendpoints = ["https://other.example"]\nregions = ["eu-2"]\n[pinned]\nrepository_endpoints = ["https://s3.example/"]`;
    const files = {
      "manifests/vm-a/a.toml": service(),
      "manifests/vm-a/b.toml": service(),
      "manifests/vm-b/a.toml": service(),
    };
    expect(await judge(policy, files)).toEqual([
      "fleet:16:1 repositories.s3-geo.endpoint backups.endpoints",
      "fleet:18:1 repositories.s3-geo.region backups.regions",
      "fleet:4:1 nodes.vm-a.memory memory.max_total",
    ]);
  });

  it("bounds the secrets of those who are told of trouble", async () => {
    const alerts = `${FLEET}
[alerts]
webhooks = [{ url_secret = "/prod/alerts" }, { url_secret = "/stage/alerts" }, { gitea_issues = true }]
heartbeat = { url_secret = "/other/heartbeat" }
`;
    const files = { "fleet.toml": alerts, "manifests/vm-a/a.toml": service("", NONE) };
    const found = await judge('[secrets]\nallowed_prefixes = ["/prod"]', files);
    const told = found.filter((line) => line.includes("alerts"));
    expect(told.map((line) => line.slice(line.indexOf(" ") + 1))).toEqual([
      "alerts.webhooks[1].url_secret secrets.allowed_prefixes",
      "alerts.heartbeat.url_secret secrets.allowed_prefixes",
    ]);
    const open = await judge("", files);
    expect(open.filter((line) => line.includes("alerts"))).toEqual([]);
  });

  it("that cannot be read is said", async () => {
    await expect(judge("[securty]\n", {})).rejects.toThrow(/policy\.toml:1:2: securty: there is no such key/);
  });
});

describe("without a policy", () => {
  it("what the shipped one refuses is warned of, and with one that allows it nothing is", async () => {
    const socket = '[[volumes]]\nsource = "/var/run/docker.sock"\ntarget = "/var/run/docker.sock"';
    const top = 'privileged = true\nnetwork = "host"\ncap_add = ["NET_ADMIN"]\nbackup = { none = "nothing" }';
    const files = { "manifests/vm-a/a.toml": service(top, socket) };
    const said = await lintFiles(files);
    expect(said.map(({ severity, key }) => `${severity} ${key}`).toSorted()).toEqual([
      "warning cap_add[0]",
      "warning network",
      "warning privileged",
      "warning volumes[0].source",
    ]);
    expect(said.find(({ key }) => key === "privileged")).toMatchObject({
      code: "host-policy",
      message: "a may not run privileged unless the host's policy allows it, and the shipped one does not",
      hint: expect.stringMatching(/rule security\.privileged.*orca lint --policy FILE/) as string,
    });
    const allowed =
      '[security]\nprivileged = ["a"]\nhost_network = ["a"]\ncap_add = ["NET_ADMIN"]\n[mounts]\ndocker_socket = true';
    expect(await judge(allowed, files)).toEqual([]);
  });
});
