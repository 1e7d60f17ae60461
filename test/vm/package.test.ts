// The package on a booted Debian, with real dpkg and real systemd, without a network: from dpkg -i to healthy services, upgraded while
// the agent runs, while it is stopped, killed in the middle, and down again. After each: the state before, the same containers, the same
// Docker. What is typed is what the page install says (test/vm/install.test.ts has the page itself).

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
  await machine.giveImages("orca-test/busybox:1");
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
  const cut = `setsid dpkg -i ${file(NEW)} & p=$!; until ${moment}; do test -d /proc/$p || exit 9; done; kill -KILL -- -$p; wait $p`;
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

test("the hourly look is scheduled, runs in its sandbox, and finds a dead agent", async () => {
  expect(await read("systemctl list-timers --all --no-legend orca-dead-man.timer")).toContain("orca-dead-man.service");
  await read("systemctl start orca-dead-man.service");
  await read("systemctl stop orca-agent && systemctl start orca-dead-man.service");
  const said = await read("journalctl -u orca-dead-man -o cat --no-pager");
  expect(said).toMatch(/demo: the agent lives, and every recovery point is held[^]*demo: dead: no agent answers at/);
  await read("systemctl start orca-agent");
  await machine.until("orca status", 60_000);
});
