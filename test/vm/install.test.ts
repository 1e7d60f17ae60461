// The page install to the letter, on a booted Debian: every line of its blocks is run as it stands there. Nothing is to be
// guessed, doctor is green at the end, the journal knows priorities, a reboot and an upgrade keep the services, nothing is left behind.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { BootedDebian } from "../builders/engine/booted-debian.ts";
import { readPage, ROOT, selectFiles, writeFiles } from "../builders/data/readme.ts";

const PAGE = readPage("install");
const START = readPage("start");
const directory = mkdtempSync(join(tmpdir(), "orca-vm-"));
let machine: BootedDebian;

/** The lines of a heading's blocks, as somebody types them. */
function linesOf(heading: string): string[][] {
  const blocks = PAGE.blocks.filter((block) => block.heading === heading && block.language === "sh");
  return blocks.map(({ text }) => text.split("\n").filter((line) => line.trim() !== ""));
}

/** Types lines one after the other; `orca status` may say that not all is healthy yet. */
async function expectTyped(lines: readonly string[]): Promise<void> {
  for (const line of lines) {
    const { code, stdout, stderr } = await machine.sh(line);
    const isLook = /^orca (status|doctor)/.test(line);
    expect(isLook ? 0 : code, `${line}\n${stdout}${stderr}`).toBe(0);
  }
}

async function read(line: string): Promise<string> {
  const { code, stdout, stderr } = await machine.sh(line);
  expect(code, `${line}\n${stdout}${stderr}`).toBe(0);
  return stdout.trim();
}

beforeAll(async () => {
  // The directory that the page speaks of: the new package, and the old one beside it.
  execFileSync(join(ROOT, "scripts/package"), ["--out", join(directory, "made")], { stdio: "ignore" });
  const old = ["--version", "0.0.1", "--out", join(directory, "made", "old")];
  execFileSync(join(ROOT, "scripts/package"), old, { stdio: "ignore" });
  writeFiles(join(directory, "platform"), selectFiles(START, "platform"));
  machine = await BootedDebian.boot("orca-test-vm-install");
  await machine.give(join(directory, "made"), ["."]);
  await machine.giveImages("orca-test/busybox:1");
}, 300_000);

afterAll(async () => {
  await machine.remove();
  rmSync(directory, { recursive: true, force: true });
});

test("what the page says, typed as it stands there, ends with healthy services and nothing for doctor to tell", async () => {
  await expectTyped(linesOf("Put it in place").flat());
  // Configure it: the node's name, the repository, and what of the shipped policy is an example.
  await machine.give(directory, ["platform"], "/srv/orca");
  await expectTyped(["sed -i 's/^node = .*/node = \"demo\"/' /etc/orca/agent.toml"]);
  // Somebody who is not sure types it again: nothing fails, and what was configured stays.
  await expectTyped(linesOf("Put it in place").flat());
  expect(await read("grep -c '^node = \"demo\"' /etc/orca/agent.toml")).toBe("1");
  expect(await read("cd /srv/orca && orca lint platform --policy /etc/orca/policy.toml")).toContain(
    "0 errors, 0 warnings",
  );
  await expectTyped(linesOf("Start it").flat());
  await machine.until("orca status", 60_000);
  expect(await read("curl -s localhost")).toContain("2 services: 2 healthy");
  const { stdout } = await machine.sh("orca doctor --json");
  const { findings } = JSON.parse(stdout) as { findings: { id: string; severity: string; what: string }[] };
  // What the page does not touch is the system's own: its upgrades, kernel, ssh, journal and filter.
  const weak = findings.filter(({ id, severity }) => /fail|warn/.test(severity) && !/^(D12|N02|S|U|K|J)/.test(id));
  expect(weak).toEqual([]);
  expect(findings.length).toBeGreaterThan(50);
});

test("every file that a unit names for its documentation is installed", async () => {
  const named = await read("sed -n 's/^Documentation=file://p' /usr/lib/systemd/system/orca*");
  expect(named.split("\n").length).toBeGreaterThan(1);
  await expectTyped(named.split("\n").map((path) => `test -s ${path}`));
});

test("the pages of help are on the machine, for everybody and without the agent", async () => {
  expect(await read("runuser -u nobody -- orca help runbook")).toMatch(/^runbook: /);
  expect(await read("curl -s localhost/help/runbook")).toMatch(/^runbook: /);
});

test("somebody who is not root is told what to do, and may look", async () => {
  const as = (words: string): string => `runuser -u nobody -- ${words}`;
  for (const words of ["orca doctor", "orca secrets list"]) {
    const { code, stderr } = await machine.sh(as(words));
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/this user may not read \/etc\/orca\/agent\.toml: use sudo/),
    ]);
  }
  expect(await read(as("orca status"))).toContain("2 healthy");
  expect((await machine.sh(as("orca restart web"))).stderr).toMatch(/use sudo, or join the group orca/);
});

test("the journal knows who speaks and how grave it is, in words", async () => {
  expect(await read("journalctl -t orca -o cat --no-pager")).toMatch(/^agent started \(node demo, /m);
  await expectTyped(["docker kill $(docker ps -q --filter label=orca.service=store)"]);
  await machine.until("journalctl -t orca -p warning -o cat --no-pager | grep -q '^store: container ended: '", 30_000);
  expect(await read("journalctl -t orca -p warning -o cat --no-pager")).not.toMatch(/^[<{]|settled: recorded/m);
  await machine.until("orca status", 60_000);
});

test("kill -9 of the agent and an upgrade touch no container; a reboot brings all back", async () => {
  const list = (): Promise<string> => read("docker ps -q --no-trunc --filter label=orca.node | sort");
  const before = await list();
  await expectTyped(["systemctl kill -s KILL orca-agent"]);
  await machine.until("systemctl is-active orca-agent && orca status", 60_000);
  expect(await list()).toBe(before);
  const pid = await read("systemctl show -p MainPID --value orca-agent");
  await expectTyped(linesOf("Go back to the old one").flat());
  await machine.until("orca status", 60_000);
  expect(await read("readlink /opt/orca/current")).toBe("versions/0.0.1");
  expect(await read("systemctl show -p MainPID --value orca-agent")).not.toBe(pid);
  expect(await list()).toBe(before);
  // With the lines for a host whose earlier version was copied by hand.
  await expectTyped(linesOf("Upgrade it").flat());
  await machine.until("orca status", 60_000);
  expect(await list()).toBe(before);
  await machine.reboot();
  await machine.until("orca status", 120_000);
  expect(await read("curl -s localhost")).toContain("2 services: 2 healthy");
});

test("uninstalling leaves nothing of it but the host's own configuration and the volumes", async () => {
  await expectTyped(linesOf("Uninstall it").flat());
  await expectTyped(linesOf("Uninstall it").flat());
  expect(await read("docker ps -aq --filter label=orca.node")).toBe("");
  expect(await read("docker network ls -q --filter label=orca.node")).toBe("");
  expect(await read("ls -d /opt/orca /usr/lib/orca* /var/lib/orca /run/orca /usr/bin/orca 2>/dev/null || true")).toBe(
    "",
  );
  expect((await machine.sh("systemctl status orca-agent")).code).toBe(4);
});
