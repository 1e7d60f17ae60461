// User-data as a pure function of fleet.toml: what is in it, that it is YAML as cloud-init reads it, its size, and that no secret and no
// misspelt key gets by. The real cloud-init judges it in test/docker/setup/cloud-init.test.ts.

import { assert, property, string } from "fast-check";
import { describe, expect, test } from "vitest";
import { parse as parseYaml } from "yaml";

import { buildAgentFile, buildPolicyFile } from "../../../agent/setup/node-files.ts";
import { buildUserData, checkUserData, USER_DATA_BYTES, type UserDataInput } from "../../../agent/setup/user-data.ts";
import { agentConfigSchema } from "../../../shared/config/agent-config.ts";
import { type Fleet, fleetSchema } from "../../../shared/fleet/fleet.ts";
import { policySchema } from "../../../shared/policy/policy.ts";
import { parseToml } from "../../../shared/text/parse-toml.ts";

const UUID = "5f0c2a1e-7b7d-4d53-9a41-0d6d3f1b1a01";
const SUM = "ab".repeat(32);

function fleetOf(host: object = {}): Fleet {
  const source = { url: "https://git.example.com/acme/platform.git" };
  return fleetSchema.parse({
    nodes: {
      "vm-edge": { address: "10.0.0.10", env: "prod", memory: "8GiB", data: { mount: "/mnt/data", uuid: UUID } },
      "vm-data": { address: "fd00::30", env: "prod", memory: "8GiB" },
      stage: { address: "10.0.1.10", env: "stage", memory: "8GiB" },
    },
    host: { source, ...host },
  });
}

function inputOf(fleet: Fleet, changes: Partial<UserDataInput> = {}): UserDataInput {
  const node = changes.node ?? "vm-edge";
  const entry = fleet.nodes[node];
  if (entry === undefined) throw new Error(node);
  return {
    fleet,
    node,
    provider: "hetzner",
    volume: undefined,
    package: { url: "https://packages.example.com/orca_1.4.2_{arch}.deb", sha256: { amd64: SUM } },
    agentFile: buildAgentFile(fleet, node) ?? "",
    policyFile: buildPolicyFile(entry),
    credentials: ["/etc/orca/git-token"],
    ...changes,
  };
}

interface CloudConfig {
  write_files: { path: string; content: string; permissions: string; owner: string }[];
  runcmd: string[][];
}

function read(text: string): CloudConfig {
  // As cloud-init's own reader: YAML 1.1.
  return parseYaml(text, { version: "1.1" }) as CloudConfig;
}

function fileOf(text: string, path: string): string {
  return read(text).write_files.find((file) => file.path === path)?.content ?? "";
}

describe("user-data", () => {
  test("has host files that the agent takes, and its check finds nothing", async () => {
    const text = buildUserData(inputOf(fleetOf({ secrets: { url: "https://secrets.example.com", project: "p" } })));
    expect(checkUserData(text)).toEqual([]);
    const agent = await parseToml(agentConfigSchema, fileOf(text, "/etc/orca/agent.toml"), "agent.toml");
    expect(agent).toMatchObject({
      ok: true,
      value: {
        node: "vm-edge",
        source: { git: { token_file: "/etc/orca/git-token" } },
        secrets: { infisical: { environment: "prod", client_secret_file: "/etc/orca/infisical-secret" } },
        gossip: { listen: "10.0.0.10:7946" },
      },
    });
    const policy = await parseToml(policySchema, fileOf(text, "/etc/orca/policy.toml"), "policy.toml");
    expect(policy).toMatchObject({
      ok: true,
      value: { realm: "prod", mounts: { allowed_prefixes: ["/mnt/data"] }, secrets: { allowed_prefixes: ["/prod"] } },
    });
    // Permissions are texts, as cloud-init wants them: a number would be another mode.
    expect(read(text).write_files.map(({ permissions }) => permissions)).toEqual(
      read(text).write_files.map(({ path }) =>
        path.endsWith("orca-setup") ? "0755" : path.endsWith(".service") ? "0644" : "0600",
      ),
    );
  });

  test("the policy lets images come from where the node's manifests have them", () => {
    const node = fleetOf().nodes["stage"];
    if (node === undefined) throw new Error("stage");
    const images = ["quay.io/keycloak/keycloak:26.0", "postgres:16", "quay.io/a/b:1"];
    expect(buildPolicyFile(node, images)).toContain('registries = [ "docker.io", "quay.io" ]');
    expect(buildPolicyFile(node)).not.toContain("registries");
  });

  test("is the same for the same fleet, and small", () => {
    const make = (): string => buildUserData(inputOf(fleetOf()));
    expect(make()).toBe(make());
    expect(Buffer.byteLength(make())).toBeLessThan(USER_DATA_BYTES * 0.75);
  });

  test.each([
    ["hetzner", "/dev/disk/by-id/scsi-0HC_Volume_*"],
    ["digitalocean", "/dev/disk/by-id/scsi-0DO_Volume_*"],
    ["openstack", "/dev/disk/by-id/virtio-*"],
    [undefined, "VOLUMES=''"],
  ] as const)("on %s looks for a volume at %s", (provider, words) => {
    const settings = fileOf(buildUserData(inputOf(fleetOf(), { provider })), "/etc/orca/setup.env");
    expect(settings).toContain(words);
    expect(settings).toContain(`UUID='${UUID}'`);
  });

  test("a node without peers of its realm has no gossip, and a public source no token", () => {
    const fleet = fleetOf({ source: { url: "https://git.example.com/a/b.git", private: false } });
    const agent = buildAgentFile(fleet, "stage");
    expect(agent).not.toContain("gossip");
    expect(agent).not.toContain("token_file");
    expect(buildAgentFile(fleet, "vm-data")).toContain('listen = "[fd00::30]:7946"');
  });

  test("begins with another node's agent.toml where that is given", () => {
    const base = {
      node: "other",
      source: { dir: "/srv/x" },
      gossip: { listen: "10.9.9.9:7946", identity_file: "/x" },
      log: { level: "debug" },
    };
    const made = buildAgentFile(fleetOf(), "vm-edge", base) ?? "";
    expect(made).toMatch(/^node = "vm-edge"\n/);
    expect(made).toContain('listen = "10.0.0.10:7946"');
    expect(made).toContain('level = "debug"');
    expect(base.node).toBe("other");
  });

  test("names and resolvers go to the VM; a resolver that is one of the fleet's VMs is refused", () => {
    const text = buildUserData(
      inputOf(fleetOf({ names: { "git.example.com": "10.0.0.20" }, resolvers: ["10.0.0.2", "10.0.0.3"] })),
    );
    expect(fileOf(text, "/etc/orca/setup.hosts")).toBe("10.0.0.20 git.example.com\n");
    expect(fileOf(text, "/etc/orca/setup.env")).toContain("RESOLVERS='10.0.0.2 10.0.0.3'\n");
    expect(() => fleetOf({ resolvers: ["10.0.0.10"] })).toThrow(/vm-edge, one of the fleet's own/);
  });

  test("whatever a policy holds, cloud-init's reader gives it back byte for byte", () => {
    const fleet = fleetOf();
    assert(
      property(string({ unit: "binary" }), (policyFile) => {
        const text = buildUserData(inputOf(fleet, { policyFile }));
        expect(fileOf(text, "/etc/orca/policy.toml")).toBe(policyFile);
      }),
    );
  });

  test("whatever stands in a setting, a shell reads it back as one word", async () => {
    const { execFileSync } = await import("node:child_process");
    for (const word of ["a b", "it's", "$(touch /x)", "`id`", '"', "\\", "a\nb"]) {
      const settings = fileOf(buildUserData(inputOf(fleetOf(), { volume: word })), "/etc/orca/setup.env");
      const said = execFileSync("sh", ["-c", `${settings}\nprintf %s "$VOLUMES"`], { encoding: "utf8" });
      expect(said).toBe(word);
    }
  });
});

describe("its check", () => {
  const good = buildUserData(inputOf(fleetOf()));

  test.each([
    [
      "a misspelt key, which cloud-init passes over",
      good.replace("\nruncmd:", "\nruncmdd:"),
      /no key runcmdd.*write runcmd$/,
    ],
    ["another", good.replace("\nwrite_files:", "\nwrite_file:"), /no key write_file\b.*write write_files$/],
    ["a key that nobody knows", `${good}frobnicate: 1\n`, /no key frobnicate.*take it out$/],
    ["a first line that is not cloud-init's", good.slice(1), /first line.*write it there$/],
    ["one that is too large", `${good}# ${"x".repeat(USER_DATA_BYTES)}\n`, /bytes, and clouds take 16384/],
    [
      "a private key",
      `${good}ssh_keys:\n  ed25519_private: |\n    -----BEGIN OPENSSH PRIVATE KEY-----\n`,
      /a private key stands in it/,
    ],
    ["a token", `${good}final_message: ghp_${"a".repeat(36)}\n`, /a GitHub token stands in it/],
    ["a password in a URL", `${good}final_message: https://me:hunter22@x.example/\n`, /a URL in it has a password/],
    ["a tab", good.replace("\nruncmd:\n", "\nruncmd:\n\t- x\n"), /it is no YAML/],
    ["a list", "#cloud-config\n- a\n", /it has no keys/],
    ["nothing", "#cloud-config\n", /it has no keys/],
  ])("finds %s", (_what, text, words) => {
    const faults = checkUserData(text);
    expect(faults.map(({ what, fix }) => `${what}: ${fix}`).join("\n")).toMatch(new RegExp(words.source, "m"));
    expect(faults.every(({ line }) => line >= 1)).toBe(true);
  });

  test("says in which line", () => {
    const line = good.split("\n").indexOf("runcmd:") + 1;
    expect(checkUserData(good.replace("\nruncmd:", "\nruncmdd:"))).toMatchObject([{ line }]);
  });
});

describe("[host] of fleet.toml", () => {
  const EDGE = { ssh: ["office"], networks: { office: ["198.51.100.0/24"] } };

  test.each([
    [{ ssh: ["offce"] }, /no network .*offce/],
    [{ networks: { any: ["10.0.0.0/8"] } }, /any is a network already/],
    [{ open: [{ port: 443, from: ["any"], nodes: ["nobody"] }] }, /no node .*nobody/],
    [{ open: [{ port: 443, from: ["cdn"] }] }, /no network .*cdn/],
    [{ package: { url: "https://x.example/$(id).deb", sha256: {} } }, /orca_.version._.arch/],
    [{ source: { url: "https://me:pw@git.example.com/a.git" } }, /no user, password/],
    [{ admins: ["-----BEGIN OPENSSH PRIVATE KEY-----"] }, /no public SSH key/],
    [{ names: { "a b": "10.0.0.1" } }, /git\.example\.com/],
  ])("refuses %j", (host, words) => {
    expect(() => fleetOf(host)).toThrow(words);
  });

  test("takes networks by name, written out, and the known ones", () => {
    const host = {
      ...EDGE,
      open: [{ port: 443, from: ["any", "fleet", "office", "10.0.0.0/8", "fd00::/8"], nodes: ["vm-edge"] }],
    };
    expect(fleetOf(host).host?.open).toMatchObject([{ protocol: "tcp", port: 443 }]);
  });
});
