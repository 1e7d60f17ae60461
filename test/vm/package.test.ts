// The package on a booted Debian, with real dpkg and real systemd, without a network: from dpkg -i to healthy services, upgraded while
// the agent runs, while it is stopped, killed in the middle, and down again. After each: the state before, the same containers, the same
// Docker. Then its units: killed, frozen, rebooted, closed, and the hourly look from outside. The page install itself:
// test/vm/install.test.ts.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { readPage, ROOT, selectFiles, writeFiles } from "../builders/data/readme.ts";
import { BootedDebian } from "../builders/engine/booted-debian.ts";
import { repackAs } from "../builders/engine/other-version.ts";

const [OLD, NEW] = ["0.1.0~1", "0.1.0~2"] as const;
const directory = mkdtempSync(join(tmpdir(), "orca-vm-"));
let machine: BootedDebian;

async function read(line: string): Promise<string> {
  const { code, stdout, stderr } = await machine.sh(line);
  expect(code, `${line}\n${stdout}${stderr}`).toBe(0);
  return stdout.trim();
}

function file(version: string): string {
  return `/root/orca/orca_${version}_$(dpkg --print-architecture).deb`;
}

/** What no act of dpkg may change: the containers, each with its start, and the engine. */
function untouched(): Promise<string> {
  return read(
    "docker ps -q --no-trunc | sort | xargs docker inspect -f '{{.Id}} {{.State.StartedAt}} {{.RestartCount}}'; " +
      "systemctl show -p MainPID -p NRestarts docker containerd",
  );
}

function inUse(): Promise<string> {
  return read("readlink /opt/orca/current");
}

async function pid(): Promise<string> {
  return read("systemctl show -p MainPID --value orca-agent");
}

beforeAll(async () => {
  execFileSync(join(ROOT, "scripts/package"), ["--version", NEW, "--out", join(directory, "made")]);
  repackAs(
    join(directory, "made", readdirSync(join(directory, "made")).find((name) => name.endsWith(".deb")) ?? ""),
    OLD,
  );
  writeFiles(join(directory, "platform"), selectFiles(readPage("start"), "platform"));
  machine = await BootedDebian.boot("orca-test-vm-package");
  await machine.give(join(directory, "made"), ["."]);
  await machine.give(directory, ["platform"], "/srv/orca");
  await machine.give(join(ROOT, "host-config"), ["agent.toml", "policy.toml"], "/etc/orca");
  await machine.giveImages("orca-test/busybox:1", "orca-test/tar:1");
}, 600_000);

afterAll(async () => {
  await machine.remove();
  rmSync(directory, { recursive: true, force: true });
});

test("one dpkg -i on a configured host ends with healthy services", async () => {
  await read("sed -i 's/^node = .*/node = \"demo\"/' /etc/orca/agent.toml");
  const beginMs = performance.now();
  await read(`dpkg -i ${file(OLD)}`);
  await machine.until("orca status", 120_000);
  const installMs = performance.now() - beginMs;
  expect(await inUse()).toBe(`versions/${OLD}`);
  expect(await read("orca --version")).toMatch(/^0\.1\.0 \([0-9a-f]{12}(, changed)?\)$/);
  expect(await read("systemctl is-enabled orca-agent")).toBe("enabled");
  expect(await read("stat -c '%a %U' /etc/orca")).toBe("700 root");
  // Every container is in the slice, and that has its cap.
  const groups = await read(
    "for id in $(docker ps -q); do cat /proc/$(docker inspect -f '{{.State.Pid}}' $id)/cgroup; done",
  );
  expect(groups.match(/\/orca\.slice\//g)?.length).toBeGreaterThanOrEqual(2);
  expect(Number(await read("systemctl show -p MemoryMax --value orca.slice"))).toBeGreaterThan(0);
  // For the record: how long the agent alone takes.
  await read("systemctl stop orca-agent && docker ps -aq --filter label=orca.node | xargs docker rm -f");
  const startMs = performance.now();
  await read("systemctl start orca-agent");
  await machine.until("orca status", 120_000);
  const ownMs = performance.now() - startMs;
  console.log(`dpkg -i to healthy ${Math.round(installMs)} ms; the agent alone ${Math.round(ownMs)} ms`);
});

test("an upgrade of an agent that runs: the new one runs, and has the same containers", async () => {
  const [before, old] = [await untouched(), await pid()];
  await read(`dpkg -i ${file(NEW)}`);
  expect([await inUse(), await read("systemctl is-active orca-agent")]).toEqual([`versions/${NEW}`, "active"]);
  expect(await pid()).not.toBe(old);
  expect(await read("readlink /proc/$(systemctl show -p MainPID --value orca-agent)/exe")).toBe(
    `/opt/orca/versions/${NEW}/node`,
  );
  await machine.until("orca status", 60_000);
  expect(await untouched()).toBe(before);
});

test("down again, while the agent is stopped and nobody wants it at boot: it stays so", async () => {
  const before = await untouched();
  await read("systemctl disable --now orca-agent");
  await read(`dpkg -i ${file(OLD)}`);
  expect(await inUse()).toBe(`versions/${OLD}`);
  expect([(await machine.sh("systemctl is-active orca-agent")).stdout.trim(), await untouched()]).toEqual([
    "inactive",
    before,
  ]);
  expect((await machine.sh("systemctl is-enabled orca-agent")).stdout.trim()).toBe("disabled");
  await read("systemctl enable --now orca-agent");
  await machine.until("orca status", 60_000);
  expect(await untouched()).toBe(before);
});

/** Where dpkg is cut: each is a line of shell that is true from that moment on. */
const MOMENTS = [
  "grep -q 'status half-installed orca' /var/log/dpkg.log",
  `grep -q 'status unpacked orca:[a-z0-9]* ${NEW}' /var/log/dpkg.log`,
  `test -e /opt/orca/versions/.new -o -e /opt/orca/versions/${NEW}`,
  `test $(readlink /opt/orca/current) = versions/${NEW}`,
  "test $(systemctl show -p ActiveState --value orca-agent) != active",
];

test.each(MOMENTS)("dpkg killed when (%s) leaves an agent that runs, and finishes afterwards", async (moment) => {
  const before = await untouched();
  await read(`: > /var/log/dpkg.log; rm -rf /opt/orca/versions/${NEW}`);
  // Its own process group: dpkg and the script that it runs are killed in one moment.
  const cut = `setsid dpkg -i ${file(NEW)} & p=$!; until ${moment}; do test -d /proc/$p || exit 9; done; kill -KILL -$p; wait $p`;
  expect((await machine.sh(cut)).code).toBe(137);
  await machine.until("systemctl is-active orca-agent && orca status", 120_000);
  expect(await untouched()).toBe(before);
  // What an administrator does then.
  await read(`dpkg --configure -a; dpkg -i ${file(NEW)}`);
  expect([await inUse(), await read("systemctl is-active orca-agent")]).toEqual([`versions/${NEW}`, "active"]);
  await machine.until("orca status", 60_000);
  expect(await read("ls -A /opt/orca /opt/orca/versions")).not.toMatch(/\.(new|held|current|first)/);
  await read(`dpkg -i ${file(OLD)}`);
  await machine.until("orca status", 60_000);
  expect([await inUse(), await untouched()]).toEqual([`versions/${OLD}`, before]);
});

test("a removal and a purge leave containers, volumes, keys and configuration, and say so; the package comes back to them", async () => {
  const before = await untouched();
  const said = await read("dpkg -r orca; dpkg -P orca");
  expect(said).toMatch(/orca: left 2 containers; nobody starts them again/);
  expect(said).toMatch(/orca: left \/etc\/orca, [^]*orca: left \/var\/lib\/orca, /);
  expect(await untouched()).toBe(before);
  expect(await read("ls -d /opt/orca /usr/lib/orca /usr/bin/orca 2>/dev/null || true")).toBe("");
  expect((await machine.sh("systemctl status orca-agent")).code).toBe(4);
  await read(`dpkg -i ${file(NEW)}`);
  await machine.until("orca status", 60_000);
  expect(await untouched()).toBe(before);
});

test("a loop that is frozen is noticed by the watchdog: the agent is killed and started again, its containers go on", async () => {
  const before = await untouched();
  const drop = "/run/systemd/system/orca-agent.service.d";
  // The unit's own minute is shortened: what is shown is who notices.
  await read(
    `mkdir -p ${drop} && printf '[Service]\\nWatchdogSec=45\\n' > ${drop}/short.conf && systemctl daemon-reload`,
  );
  await read("systemctl restart orca-agent");
  await machine.until("orca status", 60_000);
  const old = await pid();
  await read(`kill -STOP ${old}`);
  await machine.until(`test $(systemctl show -p MainPID --value orca-agent) != ${old} && orca status`, 120_000);
  expect(await read("journalctl -u orca-agent -o cat --no-pager")).toContain("Watchdog timeout");
  expect(await untouched()).toBe(before);
});

test("an agent that is killed is back, with the same containers", async () => {
  const before = await untouched();
  const took: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    const line =
      "s=$(date +%s%N); systemctl kill -s KILL orca-agent; sleep 0.1; " +
      'until test "$(systemctl show -p ActiveState --value orca-agent)" = active; do sleep 0.02; done; ' +
      "echo $((($(date +%s%N) - s) / 1000000))";
    took.push(Number(await read(line)));
  }
  // For the record: how long depends on what else the machine does.
  console.log(`killed to ready ${took.join(", ")} ms`);
  await machine.until("orca status", 60_000);
  expect(await untouched()).toBe(before);
});

test("after a reboot all services are healthy in their order, without help", async () => {
  await machine.reboot();
  await machine.until("orca status", 120_000);
  const started = (service: string): Promise<string> =>
    read(`docker inspect -f '{{.State.StartedAt}}' $(docker ps -q --filter label=orca.service=${service})`);
  // The second requires the first.
  const [first, second] = [await started("store"), await started("web")];
  expect(first < second).toBe(true);
  const booted = await read("date -u -d @$(stat -c %Y /proc/1) +%FT%T");
  expect(first > booted).toBe(true);
  expect(await read("systemctl is-active orca-agent orca-dead-man.timer")).toBe("active\nactive");
  expect(await read("systemctl list-units --failed --no-legend 'orca*'")).toBe("");
});

test("systemd finds nothing wrong with the units, and the agent's is as closed as the page says", async () => {
  expect(await read("systemd-analyze verify orca-agent.service orca-dead-man.timer orca.slice 2>&1")).toBe("");
  const page = /`systemd-analyze security orca-agent` says (\d\.\d)/.exec(readPage("install").text)?.[1];
  const said = await read("systemd-analyze security --no-pager orca-agent | tail -n 1");
  expect(said).toContain(`Overall exposure level for orca-agent.service: ${page} `);
});

/** A service with a backup in a directory of its own, whose name asks systemd for some care. */
const DIRECTORY = "/mnt/orca backups/100%";
const FILES = `image = "orca-test/tar:1"
command = ["/bin/sleep", "100000"]
init = true

[resources]
memory = "64MiB"

[health]
exec = ["true"]
interval = "2s"

[update]
settle = "4s"

[[volumes]]
name = "demo-files"
target = "/data"

[[backups]]
name = "all"
engine = "files"
schedule = "every 5h"
repositories = ["elsewhere"]
`;

/** Changes the manifests of the machine. */
async function setFiles(text: string, ofNode = ""): Promise<void> {
  const fleet = selectFiles(readPage("start"), "platform").get("orca/fleet.toml") ?? "";
  const repository = `\n[repositories.elsewhere]\nkind = "directory"\npath = "${DIRECTORY}"\n`;
  const files = new Map([
    ["orca/fleet.toml", `${fleet}${ofNode}${repository}`],
    ["orca/manifests/demo/files.toml", text],
  ]);
  writeFiles(join(directory, "changed"), files);
  await machine.give(join(directory, "changed"), ["orca"], "/srv/orca/platform");
}

test("a directory of backups that the unit does not open is said; orca unit opens it, and nothing else", async () => {
  await read(`mkdir -p '${DIRECTORY}'`);
  await setFiles(FILES);
  await machine.until("orca status | grep -q '^files  *healthy' && orca status", 60_000);
  const before = await untouched();
  const closed = await machine.sh("orca backup run files");
  expect([closed.code, closed.stderr]).toEqual([
    1,
    expect.stringMatching(/the directory is read-only for the agent: .*: sudo orca unit --write$/m),
  ]);
  await read("orca unit --write");
  await read("systemctl daemon-reload && systemctl restart orca-agent");
  await machine.until("orca status", 60_000);
  expect(await read("orca backup run files")).toMatch(/^files\/all: files_\d{8}_\d{4}, made in /m);
  expect(await read(`ls '${DIRECTORY}/demo/files/all'`)).toMatch(/\.manifest\.json$/m);
  const inside = "nsenter -t $(systemctl show -p MainPID --value orca-agent) -m";
  expect(
    (await machine.sh(`${inside} touch /mnt/other /srv/other`)).stderr.match(/Read-only file system/g),
  ).toHaveLength(2);
  expect(await untouched()).toBe(before);
});

test("the data file system is told by its UUID, by an agent that has no disk of its own", async () => {
  // The file system that Docker's data lies on, and what udev does where it runs.
  const [number, uuid] = [
    await read("awk '$5 == \"/var/lib/docker\" { print $3 }' /proc/self/mountinfo"),
    "0dcafe00-1111-2222-3333-444444444444",
  ];
  const name = await read(`basename $(readlink /sys/dev/block/${number})`);
  await read(`mkdir -p /dev/disk/by-uuid && ln -s ../../${name} /dev/disk/by-uuid/${uuid}`);
  await read("ln -s ../../other /dev/disk/by-uuid/0dcafe00-9999-9999-9999-999999999999");
  const declare = (id: string): Promise<void> =>
    setFiles(FILES, `data = { mount = "/var/lib/docker", uuid = "${id}" }\n`);
  await declare(uuid);
  await read("systemctl restart orca-agent && docker rm -f $(docker ps -q --filter label=orca.service=files)");
  await machine.until("orca status | grep -q '^files  *healthy' && orca status", 60_000);
  await declare("0dcafe00-9999-9999-9999-999999999999");
  await read("docker rm -f $(docker ps -q --filter label=orca.service=files)");
  await machine.until("orca why files | grep -q 'another file system than 0dcafe00-9999'", 60_000);
  const seen = await machine.sh("ls /proc/$(systemctl show -p MainPID --value orca-agent)/root/dev");
  expect(seen.stdout.split("\n")).toContain("disk");
  expect(seen.stdout.split("\n")).not.toContain(name);
  await setFiles(FILES);
  await machine.until("orca status | grep -q '^files  *healthy' && orca status", 60_000);
});

test("only new containers enter the slice: another cgroup parent makes none anew", async () => {
  const before = await untouched();
  const count = async (): Promise<number> =>
    Number(
      await read(
        "for id in $(docker ps -q); do cat /proc/$(docker inspect -f '{{.State.Pid}}' $id)/cgroup; done | grep -Ec '(memory|^0:):/orca.slice/' || true",
      ),
    );
  expect(await count()).toBe(3);
  await read("sed -i 's/^cgroup_parent/#&/' /etc/orca/agent.toml && systemctl restart orca-agent");
  await machine.until("orca status", 60_000);
  expect([await untouched(), await count()]).toEqual([before, 3]);
  await read("docker rm -f $(docker ps -q --filter label=orca.service=files)");
  await machine.until("orca status | grep -q '^files  *healthy' && orca status", 60_000);
  expect(await count()).toBe(2);
  await read("sed -i 's/^#cgroup_parent/cgroup_parent/' /etc/orca/agent.toml && systemctl restart orca-agent");
  await machine.until("orca status", 60_000);
  expect(await count()).toBe(2);
});

test("the hourly look comes by itself, in its sandbox, and tells of a dead agent and of a broken recovery point", async () => {
  const server =
    "require('http').createServer((q, r) => { let b = ''; q.on('data', (d) => (b += d)); " +
    "q.on('end', () => { require('fs').appendFileSync('/root/told', b + '\\n'); r.end(); }); }).listen(9099, '127.0.0.1')";
  await read(`systemd-run --unit=hook /opt/orca/current/node -e "${server}"`);
  await read("printf http://127.0.0.1:9099/hook > /etc/orca/alert-webhook && chmod 600 /etc/orca/alert-webhook");
  await read("printf '\\n[alerts]\\nwebhook_file = \"/etc/orca/alert-webhook\"\\n' >> /etc/orca/agent.toml");
  // The timer's own quarter of an hour is shortened: what is shown is that nobody else starts it.
  const drop = "/run/systemd/system/orca-dead-man.timer.d";
  const soon =
    "[Timer]\\nOnActiveSec=\\nOnUnitActiveSec=\\nOnActiveSec=1s\\nRandomizedDelaySec=0\\nAccuracySec=100ms\\n";
  await read(`mkdir -p ${drop} && printf '${soon}' > ${drop}/soon.conf && systemctl daemon-reload`);
  const look = async (pattern: string): Promise<void> => {
    await read("systemctl restart orca-dead-man.timer");
    await machine.until(`grep '@dead-man' /root/told | tail -n 1 | grep -q '${pattern}'`, 60_000);
  };
  await read("systemctl stop orca-agent");
  await look("demo agent is dead: no agent answers at");
  await setFiles(`${FILES}\n[slo]\nrpo = "1s"\n`);
  await read("systemctl start orca-agent");
  await machine.until("orca slo | grep -q BROKEN", 60_000);
  await look("rpo-broken.*files/all in elsewhere: no good backup for");
  await setFiles(FILES);
  await machine.until("orca status | grep -q '^files  *healthy' && ! orca slo | grep -q BROKEN", 60_000);
  await look("demo agent is alive");
  expect(await read("journalctl -u orca-dead-man -o cat --no-pager")).toContain("every recovery point is held");
});

test("a version that came without dpkg stays in use, and goes at the next newer package", async () => {
  const before = await untouched();
  await read("cp -al /opt/orca/versions/*~2 /opt/orca/versions/9.0.0 && ln -sfn versions/9.0.0 /opt/orca/current");
  expect(await read(`dpkg -i ${file(NEW)}`)).toContain(`orca: 9.0.0 stays in use, which is newer than ${NEW}`);
  expect(await inUse()).toBe("versions/9.0.0");
  // A downgrade is somebody's word.
  await read(`dpkg -i ${file(OLD)}`);
  expect(await inUse()).toBe(`versions/${OLD}`);
  await machine.until("orca status", 60_000);
  expect(await untouched()).toBe(before);
});
