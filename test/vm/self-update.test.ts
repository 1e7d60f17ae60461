// An agent's own update on a booted Debian, with the package as it is built and real systemd: a pin in fleet.toml is all that somebody
// writes. A good version stays, also through a reboot that falls into its trial; one whose agent ends is gone within three minutes; one that
// changes a unit is refused. No container is touched by any of it.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import type { UpdateOutcome } from "../../agent/update/core/update-record.ts";
import { RELEASE_NAMESPACE } from "../../agent/update/fetch-package.ts";
import { VERSION } from "../../shared/version.ts";
import { readPage, ROOT, selectFiles, writeFiles } from "../builders/data/readme.ts";
import { BootedDebian } from "../builders/engine/booted-debian.ts";

const directory = mkdtempSync(join(tmpdir(), "orca-vm-update-"));
const NAME = "orca-test-vm-update";
/** What one test may take: the judge's own patience is 150 s. */
const LONG_MS = 400_000;
let machine: BootedDebian;
let [arch, made] = ["", ""];
const sums = new Map<string, string>();

async function read(line: string): Promise<string> {
  const { code, stdout, stderr } = await machine.sh(line);
  expect(code, `${line}\n${stdout}${stderr}`).toBe(0);
  return stdout.trim();
}

/** The containers, each with its start, and the engine. */
function untouched(): Promise<string> {
  return read(
    "docker ps -q --no-trunc | sort | xargs docker inspect -f '{{.Id}} {{.State.StartedAt}} {{.RestartCount}}'; " +
      "systemctl show -p MainPID -p NRestarts docker containerd",
  );
}

/** A release of another version: the same program with another number, and what `spoil` makes of its tree. */
function release(version: string, spoil: (tree: string) => void = () => undefined): void {
  const tree = join(directory, "tree");
  execFileSync("dpkg-deb", ["-R", made, tree]);
  const payload = join(tree, "usr/lib/orca/payload");
  let changed = 0;
  for (const name of readdirSync(payload, { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".mjs")) continue;
    const text = readFileSync(join(payload, name), "utf8");
    const other = text.replaceAll(`"${VERSION}"`, `"${version}"`).replaceAll(`"${VERSION} (`, `"${version} (`);
    if (other !== text) changed += 1;
    writeFileSync(join(payload, name), other);
  }
  expect(changed).toBeGreaterThan(0);
  const control = join(tree, "DEBIAN/control");
  writeFileSync(control, readFileSync(control, "utf8").replace(`Version: ${VERSION}`, `Version: ${version}`));
  spoil(tree);
  const file = join(directory, "packages", `orca_${version}_${arch}.deb`);
  execFileSync("dpkg-deb", ["--root-owner-group", "-Zzstd", "-z1", "-b", tree, file], { stdio: "ignore" });
  execFileSync("ssh-keygen", ["-q", "-Y", "sign", "-f", join(directory, "key"), "-n", RELEASE_NAMESPACE, file], {
    stdio: "ignore",
  });
  sums.set(version, createHash("sha256").update(readFileSync(file)).digest("hex"));
  rmSync(tree, { recursive: true });
}

/** Somebody merges a pin. */
async function pin(version: string): Promise<void> {
  const table = `[agent]\nversion = "${version}"\nsha256 = { ${arch} = "${sums.get(version)}" }\n`;
  writeFileSync(join(directory, "pin.toml"), table);
  await machine.give(directory, ["pin.toml"]);
  await read(
    "cd /srv/orca/platform/orca && sed -i '/^# pin/,$d' fleet.toml && { echo '# pin'; cat /root/orca/pin.toml; } >> fleet.toml",
  );
}

async function outcomes(): Promise<UpdateOutcome[]> {
  const { outcomes: list } = JSON.parse(await read("orca update --json")) as { outcomes: UpdateOutcome[] };
  return list;
}

/** Waits until something has become of a version. */
async function untilOutcome(version: string, result: string): Promise<UpdateOutcome | undefined> {
  const line = `orca update | grep -q ' ${version} ${result}: ' && test ! -e /opt/orca/trial`;
  await machine.until(line, LONG_MS - 60_000);
  return (await outcomes()).find((outcome) => outcome.version === version);
}

beforeAll(async () => {
  execFileSync(join(ROOT, "scripts/package"), ["--version", VERSION, "--out", join(directory, "made")]);
  const name = readdirSync(join(directory, "made")).find((entry) => entry.endsWith(".deb")) ?? "";
  made = join(directory, "made", name);
  arch = /_(\w+)\.deb$/.exec(name)?.[1] ?? "";
  mkdirSync(join(directory, "packages"));
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "release", "-f", join(directory, "key")]);
  release("0.2.0");
  release("0.3.0", (tree) => {
    const program = join(tree, "usr/lib/orca/payload/orca.mjs");
    writeFileSync(program, `if (process.argv[2] === "agent") process.exit(7);\n${readFileSync(program, "utf8")}`);
  });
  release("0.4.0");
  release("0.5.0", (tree) => {
    const unit = join(tree, "usr/lib/systemd/system/orca-agent.service");
    writeFileSync(unit, readFileSync(unit, "utf8").replace("RestartSec=", "# another\nRestartSec="));
  });
  writeFiles(join(directory, "platform"), selectFiles(readPage("start"), "platform"));
  machine = await BootedDebian.boot(NAME);
  await machine.give(join(directory, "made"), ["."]);
  await machine.give(directory, ["platform", "packages"], "/srv/orca");
  await machine.give(directory, ["key.pub"]);
  await machine.give(join(ROOT, "host-config"), ["agent.toml", "policy.toml"], "/etc/orca");
  await machine.giveImages("orca-test/busybox:1", "orca-test/tar:1");
  await read("sed -i 's/^node = .*/node = \"demo\"/' /etc/orca/agent.toml");
  await read("printf '\\n[update]\\ndir = \"/srv/orca/packages\"\\n' >> /etc/orca/agent.toml");
  await read('printf \'\\n[pinned]\\nrelease_key = "%s"\\n\' "$(cat /root/orca/key.pub)" >> /etc/orca/policy.toml');
  await read(`dpkg -i /root/orca/${name}`);
  await machine.until("orca status", 120_000);
}, 900_000);

afterAll(async () => {
  await machine.remove();
  rmSync(directory, { recursive: true, force: true });
});

test("systemd has nothing against the units, and they are locked away", async () => {
  const units = "orca-update.path orca-update.service orca-judge.service";
  expect(await read(`ln -sfn versions/${VERSION} /opt/orca/judge && systemd-analyze verify ${units} 2>&1`)).toBe("");
  await read("rm /opt/orca/judge");
  for (const unit of ["orca-update.service", "orca-judge.service"]) {
    const said = await read(`systemd-analyze security --no-pager ${unit}`);
    const level = Number(/exposure level for \S+: (\d+\.\d+)/i.exec(said)?.[1]);
    expect(level, unit).toBeLessThanOrEqual(2);
  }
  expect(await read("systemctl is-active orca-update.path")).toBe("active");
  expect(await read("systemctl is-enabled orca-update.path orca-judge.service")).toBe("enabled\nenabled");
});

test(
  "a version that is pinned is fetched, judged by the one before, and stays; no container is touched",
  async () => {
    const before = await untouched();
    await pin("0.2.0");
    const outcome = await untilOutcome("0.2.0", "confirmed");
    expect(outcome?.reason).toMatch(/was well for a minute, and no peer heard the version before/);
    expect(await read("orca --version")).toMatch(/^0\.2\.0 /);
    expect(await read("readlink /opt/orca/current")).toBe("versions/0.2.0");
    expect(await read("readlink /proc/$(systemctl show -p MainPID --value orca-agent)/exe")).toBe(
      "/opt/orca/versions/0.2.0/node",
    );
    await machine.until("orca status", 60_000);
    expect(await untouched()).toBe(before);
    // dpkg knows nothing of it, and what it installs again does not take it back.
    expect(await read("dpkg-query -W -f '${Version}' orca")).toBe(VERSION);
  },
  LONG_MS,
);

test(
  "one whose agent ends at once is gone within three minutes of its start, and is not tried again",
  async () => {
    const before = await untouched();
    await pin("0.3.0");
    await machine.until("test -e /opt/orca/trial", 60_000);
    const beganMs = performance.now();
    const outcome = await untilOutcome("0.3.0", "failed");
    await machine.until("orca status", 60_000);
    const tookMs = performance.now() - beganMs;
    console.log(`back after ${Math.round(tookMs / 1_000)} s`);
    expect(tookMs).toBeLessThanOrEqual(180_000);
    expect(outcome?.reason).toMatch(/it does not answer/);
    expect(await read("orca --version")).toMatch(/^0\.2\.0 /);
    expect(await untouched()).toBe(before);
    expect(await read("orca status")).toMatch(/it has failed here: it does not answer.*orca update --retry/s);
  },
  LONG_MS,
);

test(
  "a reboot that falls into a trial is no strike: the judge goes on from the file",
  async () => {
    await pin("0.4.0");
    await machine.until(
      "journalctl -t orca-update -o cat --no-pager | grep -q 'judges 0.4.0' && orca --version | grep -q '^0.4.0 '",
      60_000,
    );
    await machine.reboot();
    const outcome = await untilOutcome("0.4.0", "confirmed");
    expect(outcome?.result).toBe("confirmed");
    await machine.until("orca status", 120_000);
    expect(await read("orca --version")).toMatch(/^0\.4\.0 /);
    expect(await read("journalctl -t orca-update -o cat --no-pager")).toMatch(/told to end: the trial goes on/);
  },
  LONG_MS,
);

test(
  "one that changes a unit is refused, and says what to do",
  async () => {
    const before = await untouched();
    await pin("0.5.0");
    const outcome = await untilOutcome("0.5.0", "refused");
    expect(outcome?.reason).toMatch(/it changes orca-agent\.service: install its package/);
    expect(await read("orca --version")).toMatch(/^0\.4\.0 /);
    expect(await untouched()).toBe(before);
  },
  LONG_MS,
);

test("removed, the package leaves nothing of it", async () => {
  await read("dpkg --purge orca");
  expect(await read("ls -d /opt/orca 2>/dev/null || true")).toBe("");
  expect(await read("systemctl list-units --all --no-legend 'orca-update*' 'orca-judge*' || true")).toBe("");
});
