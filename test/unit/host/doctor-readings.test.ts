// What `orca doctor` reads of the engine's file, filters, ssh, upgrades, kernel, journal, first boot and the agent's unit: from a tree laid
// out as a host's, and from programs' answers as they were printed by the real ones.

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { readEngineFile } from "../../../agent/cli/doctor/baseline/read-engine-file.ts";
import {
  type Ask,
  hasFail2ban,
  listSshKeyFiles,
  readFilter,
  readSshd,
} from "../../../agent/cli/doctor/baseline/read-network.ts";
import { readSystem } from "../../../agent/cli/doctor/baseline/read-system.ts";
import { readDirectories, readUnit } from "../../../agent/cli/doctor/baseline/read-unit.ts";
import { readEngineFacts } from "../../../agent/docker/engine-facts.ts";
import { askProgram, type ProgramAnswer } from "../../../agent/host/os/ask-program.ts";

let root = "";

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "orca-readings-"));
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

function lay(files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
}

const said = (value: string): ProgramAnswer => ({ kind: "said", value, code: 0 });

/** Programs that answer by the beginning of what they are asked; all others are not installed. */
function answer(answers: Record<string, ProgramAnswer>): Ask {
  return async (program, words) => {
    const line = [program, ...words].join(" ");
    const key = Object.keys(answers).find((start) => line.startsWith(start));
    return key === undefined ? { kind: "absent" } : (answers[key] ?? { kind: "absent" });
  };
}

describe("programs", () => {
  test("that answer, fail, are not there or take too long", async () => {
    expect(await askProgram("printf", ["%s", "as it is"])).toEqual({ kind: "said", value: "as it is", code: 0 });
    expect(await askProgram("false", [])).toMatchObject({ kind: "unseen" });
    expect(await askProgram("false", [], { codes: [1] })).toEqual({ kind: "said", value: "", code: 1 });
    expect(await askProgram("no-such-program", [])).toEqual({ kind: "absent" });
    expect(await askProgram("ls", ["/no/such"])).toMatchObject({
      kind: "unseen",
      trouble: expect.stringContaining("/no/such"),
    });
  });
});

describe("daemon.json and dockerd", () => {
  test("neither is there", () => {
    expect(readEngineFile("/run/docker.sock", root)).toEqual({
      path: "/etc/docker/daemon.json",
      trouble: undefined,
      options: {},
      hosts: [],
      tlsVerify: false,
      socket: undefined,
    });
  });

  test("a file with a mistake says where", () => {
    lay({ "etc/docker/daemon.json": '{ "icc": false,, }' });
    expect(readEngineFile("/run/docker.sock", root).trouble).toMatch(/JSON/);
    lay({ "etc/docker/daemon.json": "[]" });
    expect(readEngineFile("/run/docker.sock", root).trouble).toMatch(/object/);
  });

  test("hosts of both, and what only the arguments say", () => {
    lay({
      "etc/docker/daemon.json": '{ "hosts": ["unix:///var/run/docker.sock"], "icc": true }',
      "proc/12/cmdline": "/usr/bin/dockerd\0-H\0tcp://0.0.0.0:2375\0--icc=false\0--userland-proxy=false\0--tlsverify\0",
    });
    const file = readEngineFile("/run/docker.sock", root);
    expect(file.hosts).toEqual(["unix:///var/run/docker.sock", "tcp://0.0.0.0:2375"]);
    expect(file.options).toMatchObject({ icc: false, "userland-proxy": false });
    expect(file.tlsVerify).toBe(true);
  });
});

describe("filters", () => {
  const DROP = JSON.stringify({
    nftables: [{ chain: { family: "inet", table: "filter", name: "input", hook: "input", policy: "drop" } }],
  });

  test("as iptables of Debian 12 prints them", async () => {
    const filter = await readFilter(
      answer({
        "iptables -S DOCKER-USER": said(
          "-N DOCKER-USER\n-A DOCKER-USER -d 169.254.169.254/32 -j DROP\n-A DOCKER-USER -j RETURN\n",
        ),
        "iptables -S INPUT": said("-P INPUT DROP\n-A INPUT -i lo -j ACCEPT\n"),
        "ip6tables -S INPUT": said("-P INPUT ACCEPT\n"),
      }),
      root,
    );
    expect(filter).toEqual({
      published: {
        kind: "said",
        value: ["-A DOCKER-USER -d 169.254.169.254/32 -j DROP", "-A DOCKER-USER -j RETURN"],
      },
      hasHostTable: false,
      denies4: { kind: "said", value: true },
      denies6: { kind: "said", value: false },
      hasGlobal6: false,
      namesMetadata: { kind: "said", value: true },
    });
  });

  test("a table of nftables counts for both versions", async () => {
    const filter = await readFilter(
      answer({ "nft -j list ruleset": said(DROP), "iptables -S": said("-P INPUT ACCEPT\n") }),
      root,
    );
    expect([filter.denies4, filter.denies6]).toEqual([
      { kind: "said", value: true },
      { kind: "said", value: true },
    ]);
  });

  test("the firewall of orca firewall is known by its table", async () => {
    const chains = (table: string, hook: string): string =>
      JSON.stringify({ nftables: [{ chain: { family: "inet", table, hook } }] });
    const read = async (ruleset: string): Promise<boolean> =>
      (await readFilter(answer({ "nft -j list ruleset": said(ruleset) }), root)).hasHostTable;
    expect(await read(chains("orca_host", "prerouting"))).toBe(true);
    expect(await read(chains("orca_isolation", "prerouting"))).toBe(false);
    expect(await read(chains("orca_host", "input"))).toBe(false);
  });

  test("what may not be asked is said to be unseen, not open", async () => {
    const denied: ProgramAnswer = { kind: "unseen", trouble: "iptables: Permission denied (you must be root)" };
    const filter = await readFilter(answer({ iptables: denied, ip6tables: denied, nft: denied }), root);
    expect([filter.published, filter.denies4, filter.namesMetadata]).toEqual([denied, denied, denied]);
  });

  test("an address of IPv6 that the internet reaches: neither loopback, nor link-local, nor private", async () => {
    const line = (address: string, scope: string): string => `${address} 02 40 ${scope} 80 eth0\n`;
    const has = async (text: string): Promise<boolean> => {
      lay({ "proc/net/if_inet6": text });
      return (await readFilter(answer({}), root)).hasGlobal6;
    };
    expect(
      await has(line("00000000000000000000000000000001", "10") + line("fe800000000000000000000000000001", "20")),
    ).toBe(false);
    expect(await has(line("fd000000000000000000000000000001", "00"))).toBe(false);
    expect(await has(line("20010db8000000000000000000000001", "00"))).toBe(true);
  });
});

test("sshd's settings, and whose keys let somebody in", async () => {
  const ask = answer({ "sshd -T": said("port 22\npermitrootlogin without-password\npasswordauthentication yes\n") });
  expect(await readSshd(ask)).toEqual({
    kind: "said",
    value: { port: "22", permitrootlogin: "without-password", passwordauthentication: "yes" },
  });
  expect(listSshKeyFiles(root)).toEqual([]);
  lay({
    "root/.ssh/authorized_keys": "# ssh-ed25519 AAAA an old one\n",
    "home/jane/.ssh/authorized_keys": 'from="10.0.0.0/8" ssh-ed25519 AAAA jane\n',
    "home/joe/.ssh/authorized_keys": "ssh-ed25519 AAAA joe\n",
  });
  expect(listSshKeyFiles(root)).toEqual(["/home/jane/.ssh/authorized_keys", "/home/joe/.ssh/authorized_keys"]);
  expect(hasFail2ban(root)).toBe(false);
  lay({ "run/fail2ban/fail2ban.sock": "" });
  expect(hasFail2ban(root)).toBe(true);
});

describe("the system", () => {
  test("of a bare tree: nothing is made up", async () => {
    expect(await readSystem(answer({}), root)).toEqual({
      upgrades: { apt: undefined, rebootSinceMs: undefined },
      sysctls: {},
      memory: { totalBytes: 0, hasSwap: false, killers: [] },
      zone: undefined,
      journal: { persistent: false, maxUse: undefined },
      auditing: false,
      cloud: undefined,
    });
  });

  test("upgrades as apt-config of Debian 12 dumps them", async () => {
    const dump = said(
      'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n' +
        'Unattended-Upgrade::Origins-Pattern:: "origin=Debian,codename=${distro_codename}-security,label=Debian-Security";\n' +
        'Unattended-Upgrade::Package-Blacklist:: "docker";\nUnattended-Upgrade::Package-Blacklist "";\n',
    );
    lay({
      "usr/bin/unattended-upgrade": "",
      "var/lib/apt/periodic/upgrade-stamp": "",
      "etc/systemd/system/timers.target.wants/apt-daily-upgrade.timer": "",
      "run/reboot-required": "",
    });
    const at = new Date("2026-11-20T03:00:00Z");
    for (const path of ["var/lib/apt/periodic/upgrade-stamp", "run/reboot-required"])
      utimesSync(join(root, path), at, at);
    const { upgrades } = await readSystem(answer({ "apt-config dump": dump }), root);
    expect(upgrades).toEqual({
      apt: { automatic: true, security: true, kept: ["docker"], lastMs: at.getTime(), hasTimer: true },
      rebootSinceMs: at.getTime(),
    });
    // Switched on, and the program is not installed.
    rmSync(join(root, "usr/bin/unattended-upgrade"));
    expect((await readSystem(answer({ "apt-config dump": dump }), root)).upgrades.apt?.automatic).toBe(false);
  });

  test("kernel, memory, zone, auditing", async () => {
    lay({
      "proc/sys/net/ipv4/ip_forward": "1\n",
      "proc/sys/kernel/kptr_restrict": "0\n",
      "proc/meminfo": "MemTotal:        8048576 kB\nMemFree: 1 kB\n",
      "proc/swaps": "Filename Type Size Used Priority\n/dev/zram0 partition 1 0 100\n",
      "proc/7/comm": "earlyoom\n",
      "proc/8/comm": "systemd-oomd\n",
      "proc/9/comm": "auditd\n",
      "etc/keep": "",
    });
    symlinkSync("/usr/share/zoneinfo/Europe/Berlin", join(root, "etc/localtime"));
    expect(await readSystem(answer({}), root)).toMatchObject({
      sysctls: { "net.ipv4.ip_forward": "1", "kernel.kptr_restrict": "0" },
      memory: { totalBytes: 8_048_576 * 1024, hasSwap: true, killers: ["earlyoom", "systemd-oomd"] },
      zone: "Europe/Berlin",
      auditing: true,
    });
  });

  test("the journal: what stands last counts, and a directory makes it last", async () => {
    const journal = async (): Promise<object> => (await readSystem(answer({}), root)).journal;
    lay({ "etc/systemd/journald.conf": "[Journal]\n#SystemMaxUse=\n" });
    expect(await journal()).toEqual({ persistent: false, maxUse: undefined });
    mkdirSync(join(root, "var/log/journal"), { recursive: true });
    expect(await journal()).toEqual({ persistent: true, maxUse: undefined });
    lay({
      "usr/lib/systemd/journald.conf.d/10.conf": "[Journal]\nSystemMaxUse=1G\nStorage=volatile\n",
      "etc/systemd/journald.conf.d/20.conf": "[Journal]\nSystemMaxUse = 500M\n",
    });
    expect(await journal()).toEqual({ persistent: false, maxUse: "500M" });
  });

  test("the first boot: its errors, and which kind of secret its user data holds, never the secret", async () => {
    lay({
      "var/lib/cloud/instance/user-data.txt":
        "#cloud-config\nusers:\n  - name: jane\n    passwd: $6$rounds=4096$abc\nwrite_files:\n  - content: AGE-SECRET-KEY-1CANARY\n",
      "run/cloud-init/result.json": '{"v1": {"datasource": "x", "errors": ["(\'runcmd\', fault)"]}}',
    });
    const { cloud } = await readSystem(answer({}), root);
    // A password's hash is no password.
    expect(cloud).toEqual({ errors: ["('runcmd', fault)"], tellingKeys: ["an age key"] });
    expect(JSON.stringify(cloud)).not.toContain("CANARY");
  });
});

describe("the agent's unit", () => {
  const SHOW = "Type=notify\nWatchdogUSec=1min\nRestart=always\nLoadState=loaded\nMemoryMax=469762048\n";

  test("as systemctl of Debian 12 shows it", async () => {
    const ask = answer({
      "systemctl show": said(SHOW),
      "systemd-analyze security": said("  NAME\n\n→ Overall exposure level for orca-agent.service: 1.9 OK :-)\n"),
      "systemctl is-active": { kind: "said", value: "inactive\n", code: 3 },
    });
    expect(await readUnit(ask)).toMatchObject({
      properties: { kind: "said", value: { Type: "notify", WatchdogUSec: "1min", MemoryMax: "469762048" } },
      exposure: { kind: "said", value: 1.9 },
      deadMan: { kind: "said", value: false },
    });
  });

  test("no systemd, no unit, or no right to ask", async () => {
    const of = async (show: ProgramAnswer): Promise<string> =>
      (await readUnit(answer({ "systemctl show": show }))).properties.kind;
    expect(
      await of({ kind: "unseen", trouble: "systemctl: System has not been booted with systemd as init system" }),
    ).toBe("absent");
    expect(await of(said("LoadState=not-found\n"))).toBe("absent");
    expect(await of({ kind: "unseen", trouble: "systemctl: Access denied" })).toBe("unseen");
  });

  test("directories, and one that is not there", () => {
    mkdirSync(join(root, "state"), { mode: 0o755 });
    const most = 0o700;
    expect(readDirectories([join(root, "state"), join(root, "none")].map((path) => ({ path, most })))).toEqual([
      { path: join(root, "state"), most, mode: 0o755, uid: process.getuid?.() },
    ]);
  });
});

describe("the engine", () => {
  const CONTAINER = {
    Name: "/app",
    Created: "2026-11-20T03:00:00Z",
    State: { Running: true },
    Config: {
      Image: "app:1",
      Labels: { "orca.node": "vm1", "orca.service": "app" },
      Env: ["TOKEN=CANARY", "EMPTY=", "PATH=/bin"],
    },
    HostConfig: {
      Memory: 64,
      MemorySwap: 64,
      PidsLimit: 8,
      NetworkMode: "host",
      PidMode: "",
      Devices: [{ PathOnHost: "/dev/kvm" }],
      RestartPolicy: { Name: "no" },
      LogConfig: { Type: "json-file", Config: { "max-size": "1m" } },
      PortBindings: { "80/tcp": [{ HostIp: "", HostPort: "8080" }] },
    },
    Mounts: [
      { Type: "bind", Source: "/var/run/docker.sock" },
      { Type: "volume", Source: "/var/lib/docker/volumes/x" },
    ],
  };

  test("is read by its own API; of variables the names alone", async () => {
    const socket = join(root, "docker.sock");
    const answers: Record<string, unknown> = {
      "/info": { LoggingDriver: "local", RegistryConfig: { IndexConfigs: { "far:5000": { Secure: false } } } },
      "/containers/json?all=1": [{ Id: "1" }, { Id: "gone" }],
      "/containers/1/json": CONTAINER,
    };
    const server = createServer(({ url = "" }, response) => {
      const body = answers[url];
      response.writeHead(body === undefined ? 404 : 200).end(JSON.stringify(body ?? { message: "none" }));
    });
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    const { engine, containers } = await readEngineFacts(socket, "vm1");
    server.close();
    expect(engine).toMatchObject({ kind: "said", value: { logDriver: "local", insecureRegistries: ["far:5000"] } });
    expect(containers).toEqual([
      expect.objectContaining({
        name: "app",
        service: "app",
        hostNamespaces: ["network"],
        devices: ["/dev/kvm"],
        sources: ["/var/run/docker.sock"],
        published: [{ address: "", port: 8080 }],
        variables: ["TOKEN", "PATH"],
        logCapped: true,
      }),
    ]);
    expect(JSON.stringify(containers)).not.toContain("CANARY");
  });

  test("that is not there, and one that answers nothing of use", async () => {
    expect((await readEngineFacts(join(root, "none.sock"), "vm1")).engine).toEqual({ kind: "absent" });
    const socket = join(root, "bad.sock");
    const server = createServer((_request, response) => response.end("<html>"));
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    expect((await readEngineFacts(socket, "vm1")).engine.kind).toBe("unseen");
    server.close();
  });
});
