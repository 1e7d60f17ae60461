// The files that land on a VM: each is parsed by what will read it.

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { FIREWALL_FILE } from "../../../agent/cli/doctor/read-firewall.ts";
import { agentConfigSchema } from "../../../shared/config/agent-config.ts";
import { parseToml } from "../../../shared/text/parse-toml.ts";
import { policySchema } from "../../../shared/policy/policy.ts";
import { VERSION } from "../../../shared/version.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));

function read(path: string): string {
  return readFileSync(`${root}${path}`, "utf8");
}

test("agent.toml is a valid configuration of the agent, and its paths are those of the unit", async () => {
  const text = read("host-config/agent.toml");
  const plain = await parseToml(agentConfigSchema, text, "agent.toml");
  // As it is shipped it needs no file that a new host does not have.
  expect(plain).toMatchObject({ ok: true, value: { node: "vm-edge" } });
  expect(plain.ok && plain.value.alerts).toBe(undefined);
  // What it shows as a comment is valid too.
  const parsed = await parseToml(agentConfigSchema, text.replaceAll(/^# (?=\[alerts\]|\w+ = )/gm, ""), "agent.toml");
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  expect(parsed.value).toMatchObject({
    node: "vm-edge",
    status: { listen: ["127.0.0.1:7070", "127.0.0.1:80"] },
    state: { dir: "/var/lib/orca" },
    policy: { file: "/etc/orca/policy.toml" },
    alerts: { min: "warning", repeat: 21_600_000 },
  });
  expect(read("systemd/orca-agent.service")).toContain("StateDirectory=orca\n");
});

test("an agent.toml that listens on another address than loopback is refused", async () => {
  const text = read("host-config/agent.toml").replace('"127.0.0.1:7070"', '"10.0.0.10:7070"');
  const parsed = await parseToml(agentConfigSchema, text, "agent.toml");
  expect(parsed).toMatchObject({
    ok: false,
    problems: [{ key: "status.listen[0]", message: "status is served on loopback only" }],
  });
});

test("a repository's URL with a secret in it, and a branch that is none, are refused with what to write", async () => {
  for (const [git, key] of [
    ['url = "https://jane:token@git.example.com/a/b.git"', "source.git.url"],
    ['url = "https://git.example.com/a/b.git?token=1"', "source.git.url"],
    ['url = "ssh://git.example.com/a/b.git"', "source.git.url"],
    ['url = "https://git.example.com/a/b.git", branch = "a b"', "source.git.branch"],
    ['url = "https://git.example.com/a/b.git", max_size = "0"', "source.git.max_size"],
  ]) {
    const parsed = await parseToml(agentConfigSchema, `node = "a"\nsource = { git = { ${git} } }`, "agent.toml");
    expect(parsed).toMatchObject({ ok: false, problems: [{ key }] });
    expect(JSON.stringify(parsed)).not.toContain("jane:token");
  }
  const good = 'node = "a"\nsource = { git = { url = "https://git.example.com/a/b", branch = "release/1.2" } }';
  expect(await parseToml(agentConfigSchema, good, "agent.toml")).toMatchObject({
    value: { source: { git: { path: "orca", poll: 15_000, timeout: 120_000, max_size: 33_554_432 } } },
  });
});

test("policy.toml is a valid policy that allows nothing dangerous", async () => {
  const parsed = await parseToml(policySchema, read("host-config/policy.toml"), "policy.toml");
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  const { security, mounts, ports, volumes } = parsed.value;
  expect(security).toEqual({
    privileged: [],
    host_network: [],
    host_pid: [],
    host_ipc: [],
    devices: [],
    cap_add: [],
    ulimits: [],
  });
  expect([parsed.value.volumes.foreign, parsed.value.log.syslog, parsed.value.endpoints]).toEqual([[], [], {}]);
  expect([mounts.docker_socket, volumes.allow_ephemeral, ports.public]).toEqual([false, false, []]);
});

test("daemon.json is JSON with the log rotation, live restore and privileges the baseline asks for", () => {
  const daemon = JSON.parse(read("host-config/daemon.json")) as Record<string, unknown>;
  expect(daemon).toMatchObject({
    "log-driver": "local",
    "log-opts": { "max-size": "10m", "max-file": "3" },
    "live-restore": true,
    "userland-proxy": false,
    "no-new-privileges": true,
  });
});

test("the version that the agent says is the package's", () => {
  const { version } = JSON.parse(read("package.json")) as { version: string };
  expect(VERSION).toBe(version);
  expect(read("CHANGELOG.md")).toContain("## [Unreleased]");
});

test("every file of host-config/ and systemd/ is looked at by a test", () => {
  const files = readdirSync(`${root}host-config`, { recursive: true, encoding: "utf8" }).toSorted();
  // The workflow is run by test/scenario/git/ci-workflow.test.ts, the firewall by test/fleet/wall.test.ts; what a host is set up with is in
  // force on the machine of test/vm/cloud-init.test.ts.
  const baseline = ["fail2ban", "journald", "needrestart", "sshd", "sysctl", "upgrades", "zram"];
  const firewall = ["firewall", "firewall/production.nft", "firewall/stage.nft"];
  expect(files).toEqual([
    "agent.toml",
    "baseline",
    ...baseline.map((name) => `baseline/${name}.conf`),
    "ci",
    "ci/orca.yaml",
    "daemon.json",
    ...firewall,
    "policy-stage.toml",
    "policy.toml",
  ]);
  expect(readdirSync(`${root}systemd`).toSorted()).toEqual([
    "orca-agent.service",
    "orca-dead-man.service",
    "orca-dead-man.timer",
    "orca-firewall.service",
    "orca-host-firewall.service",
    "orca-judge.service",
    "orca-update.path",
    "orca-update.service",
    "orca.slice",
  ]);
});

test("the firewall files flush nothing but their own table, and name the same doors and metadata addresses", () => {
  const [stage, production] = ["stage", "production"].map((side) => read(`host-config/firewall/${side}.nft`));
  const defines = (text = ""): string[] => text.match(/^define (doors|agent_doors|metadata)6? .*$/gm) ?? [];
  expect(defines(stage)).toHaveLength(6);
  expect(defines(stage).toSorted()).toEqual(defines(production).toSorted());
  for (const text of [stage, production]) {
    const code = (text ?? "").replaceAll(/#.*$/gm, "");
    expect(code).not.toMatch(/flush/);
    expect(code.match(/\btable .*$/gm)).toEqual([
      "table inet orca_isolation",
      "table inet orca_isolation",
      "table inet orca_isolation {",
    ]);
  }
});

test("the firewall's addresses are those of the topology that it is written for", () => {
  const fleet = read("test/topologies/breakpilot/orca/fleet.toml");
  const addresses = [...fleet.matchAll(/^address\s+= "10\.0\.(\d+)\.\d+"/gm)].map(([, network]) => network);
  expect(addresses).toEqual(["0", "0", "0", "1"]);
  expect(read("host-config/firewall/stage.nft")).toMatch(/^define production {2}= 10\.0\.0\.0\/24$/m);
  expect(read("host-config/firewall/production.nft")).toMatch(/^define stage {2}= 10\.0\.1\.0\/24$/m);
});

test("the firewall's unit loads the file that doctor names, before the network and the engine", () => {
  const unit = read("systemd/orca-firewall.service");
  expect(unit).toContain(`ExecStart=/usr/sbin/nft -f ${FIREWALL_FILE}\n`);
  expect(unit).toMatch(/^Before=network-pre\.target docker\.service /m);
  // Who is wanted by this target is looked for by doctor.
  expect(unit).toContain("WantedBy=sysinit.target\n");
});

test("a webhook or a status token without a forge, and a port that is none, are refused with what to write", async () => {
  for (const [part, key] of [
    ['webhook = { listen = "10.0.0.1:7071", secret_file = "/s" }', "source.webhook"],
    ['status_token_file = "/s"', "source.status_token_file"],
  ]) {
    const parsed = await parseToml(agentConfigSchema, `node = "a"\n[source]\ndir = "/srv"\n${part}`, "agent.toml");
    expect(parsed).toMatchObject({ ok: false, problems: [{ key, hint: expect.stringMatching(/git = \{ … \}/) }] });
  }
  const git = 'git = { url = "https://git.example.com/a/b.git" }';
  const text = `node = "a"\n[source]\n${git}\nwebhook = { listen = "10.0.0.1:70710", secret_file = "/s" }`;
  const parsed = await parseToml(agentConfigSchema, text, "agent.toml");
  expect(parsed).toMatchObject({ ok: false, problems: [{ key: "source.webhook.listen" }] });
  const good = text.replace("70710", "7071");
  expect(await parseToml(agentConfigSchema, good, "agent.toml")).toMatchObject({ ok: true });
});

test("a CA for an Infisical that is asked without TLS is refused with what to write", async () => {
  const build = (url: string): string => {
    const files = 'client_id_file = "/i", client_secret_file = "/s", ca_file = "/etc/orca/infisical-ca.pem"';
    const infisical = `{ url = "${url}", project = "p", environment = "prod", ${files} }`;
    return `node = "a"\nsource = { dir = "/srv" }\nsecrets = { infisical = ${infisical} }`;
  };
  expect(await parseToml(agentConfigSchema, build("https://secrets.example.com"), "agent.toml")).toMatchObject({
    ok: true,
    value: { secrets: { infisical: { ca_file: "/etc/orca/infisical-ca.pem" } } },
  });
  expect(await parseToml(agentConfigSchema, build("http://secrets.example.com"), "agent.toml")).toMatchObject({
    ok: false,
    problems: [{ key: "secrets.infisical", hint: "write https:// into url" }],
  });
});
