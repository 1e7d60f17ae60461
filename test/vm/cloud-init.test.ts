// User-data on a booted Debian with the real cloud-init, systemd, sshd and Docker, without a network: from the first boot to a node that waits
// for its credentials, and with `orca enroll` to healthy services. Docker's data is on the volume, and everything may be run again.

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { readPage, ROOT, selectFiles, writeFiles } from "../builders/data/readme.ts";
import { BootedDebian } from "../builders/engine/booted-debian.ts";

const directory = mkdtempSync(join(tmpdir(), "orca-vm-"));
const path = (name: string): string => join(directory, name);
const UUID = "5f0c2a1e-7b7d-4d53-9a41-0d6d3f1b1a01";
const VOLUME = "/dev/disk/by-id/scsi-0HC_Volume_1";
let machine: BootedDebian;
/** Loop devices of the machine outside: the volume, and one more that a test attaches. */
const loops: string[] = [];
let bootMs = 0;

async function read(line: string): Promise<string> {
  const { code, stdout, stderr } = await machine.sh(line);
  expect(code, `${line}\n${stdout}${stderr}`).toBe(0);
  return stdout.trim();
}

/** What a boot of a cloud gives: the volume by its name, user-data, and a kernel whose own settings stay the machine's outside. */
const BEFORE = [
  "for d in kernel vm fs; do mount --bind /proc/sys/$d /proc/sys/$d; mount -o remount,bind,ro /proc/sys/$d; done",
  "mkdir -p /dev/disk/by-id /var/lib/cloud/seed/nocloud /root/orca",
  `mknod /dev/vdb b 7 $(cat /seed/minor-disk); ln -s /dev/vdb ${VOLUME}`,
  "cp /seed/user-data /seed/meta-data /var/lib/cloud/seed/nocloud/",
  "rm -f /etc/cloud/cloud-init.disabled",
  "",
].join("; ");

function makeUserData(deb: string): string {
  const sum = execFileSync("sha256sum", [path(`seed/${deb}`)], { encoding: "utf8" }).slice(0, 64);
  // The repository is on the VM's disk; a secret keeps one of its services waiting for what enroll brings.
  const base =
    'node = "any"\n[source]\ndir = "/seed/platform"\n[secrets]\nfile = "/etc/orca/secrets.age"\n[docker]\ncgroup_parent = "orca.slice"\n';
  writeFileSync(path("base.toml"), base);
  const words = ["cloud-init", "demo", path("seed/platform"), "--provider", "hetzner", "--agent", path("base.toml")];
  const pinned = ["--package", `file:///seed/${deb}`, "--sha256", sum];
  return execFileSync(process.execPath, [join(ROOT, "agent/main.ts"), ...words, ...pinned], { encoding: "utf8" });
}

beforeAll(async () => {
  mkdirSync(path("seed"));
  execFileSync(join(ROOT, "scripts/package"), ["--out", path("made")], { stdio: "ignore" });
  const deb = readdirSync(path("made")).find((name) => name.endsWith(".deb")) ?? "";
  copyFileSync(path(`made/${deb}`), path(`seed/${deb}`));
  const files = selectFiles(readPage("start"), "platform");
  const fleet = files.get("orca/fleet.toml") ?? "";
  const web = files.get("orca/manifests/demo/web.toml") ?? "";
  files.set(
    "orca/fleet.toml",
    `${fleet}data = { mount = "/mnt/data", uuid = "${UUID}" }\n[host]\nssh = ["10.0.0.0/8"]\n`,
  );
  files.set("orca/manifests/demo/web.toml", `${web}\n[secrets.files]\nword = "/prod/web/WORD"\n`);
  writeFiles(path("seed/platform"), files);
  // The file of secrets and its key, as a person has them.
  const secrets = [
    "secrets",
    "set",
    "/prod/web/WORD",
    "--file",
    path("seed/secrets.age"),
    "--identity",
    path("seed/secrets.age.key"),
  ];
  execFileSync(process.execPath, [join(ROOT, "agent/main.ts"), ...secrets], { input: "open sesame\n" });
  // Somebody who may log in as root.
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path("seed/admin")]);
  const admin = readFileSync(path("seed/admin.pub"), "utf8").trim();
  writeFileSync(
    path("seed/user-data"),
    `${makeUserData(deb)}disable_root: false\nssh_authorized_keys:\n  - ${admin}\n`,
  );
  writeFileSync(path("seed/meta-data"), "instance-id: i-1\nlocal-hostname: demo\n");
  for (const [name, size] of [
    ["disk", "2G"],
    ["second", "64M"],
  ] as const) {
    execFileSync("truncate", ["-s", size, path(name)]);
    const loop = execFileSync("losetup", ["--find", "--show", path(name)], { encoding: "utf8" }).trim();
    loops.push(loop);
    writeFileSync(path(`seed/minor-${name}`), loop.replace("/dev/loop", ""));
  }
  bootMs = performance.now();
  machine = await BootedDebian.boot("orca-test-vm-cloud", {
    image: "orca-test/vm-cloud:1",
    before: BEFORE,
    mounts: [`${path("seed")}:/seed:ro`],
  });
}, 600_000);

afterAll(async () => {
  try {
    await machine.remove();
  } finally {
    // Also where it has not booted: devices of the machine outside are left to nobody.
    for (const loop of loops) execFileSync("losetup", ["--detach", loop]);
    rmSync(directory, { recursive: true, force: true });
  }
});

test("cloud-init itself ends well, and the node waits for its credentials and says which", async () => {
  await machine.until("test -e /var/lib/orca-setup/done", 300_000);
  console.log(`boot to a node that waits: ${Math.round(performance.now() - bootMs)} ms`);
  expect(await read("cloud-init status --wait")).toContain("status: done");
  const said = await read("journalctl -u orca-setup -o cat --no-pager");
  expect(said).toMatch(
    /orca-setup: node demo waits for its credentials: \/etc\/orca\/secrets\.age \/etc\/orca\/secrets\.age\.key/,
  );
  expect(said).toMatch(/orca-setup: public_key = "ed25519:[\w-]{43}"/);
  expect(await read("hostname")).toBe("demo");
  expect(await read("curl -s localhost")).toContain("demo");
  expect(await read("stat -c '%a' /etc/orca /etc/orca/agent.toml /etc/orca/policy.toml")).toBe("700\n600\n600");
});

test("Docker's data is on the volume, which has fleet.toml's uuid, and Docker waits for it", async () => {
  expect(await read("docker info -f '{{.DockerRootDir}} {{.LoggingDriver}} {{.LiveRestoreEnabled}}'")).toBe(
    "/mnt/data/docker local true",
  );
  expect(await read("findmnt -no SOURCE,FSTYPE /mnt/data")).toBe("/dev/vdb ext4");
  expect(await read("blkid -c /dev/null -p -s UUID -o value /dev/vdb")).toBe(UUID);
  expect(await read("systemctl show -p RequiresMountsFor --value docker")).toContain("/mnt/data");
});

test("orca enroll through its real sshd: the services become healthy", async () => {
  await machine.giveImages("orca-test/busybox:1");
  const key = await read("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub | awk '{ print $2 }'");
  await read("cp -r /seed/platform /root/orca/platform && install -m 600 /seed/admin /root/orca/admin");
  const enroll = "cd /root/orca/platform && orca enroll demo --to root@127.0.0.1 --identity /root/orca/admin --write";
  const startMs = performance.now();
  const gifts = "--give secrets=/seed/secrets.age --give secrets-key=/seed/secrets.age.key";
  const { code, stdout, stderr } = await machine.sh(`${enroll} --host-key ${key} ${gifts}`);
  expect([code, stdout], stderr).toEqual([0, ""]);
  expect(await read("cat /root/orca/platform/orca/fleet.toml")).toMatch(
    /\npublic_key = "ed25519:[\w-]{43}"\nbackup_key = "age1/,
  );
  await machine.until("orca status", 120_000);
  console.log(`enroll to healthy: ${Math.round(performance.now() - startMs)} ms`);
  expect(await read("curl -s localhost")).toContain("2 services: 2 healthy");
  expect(await read("stat -c '%a %U' /etc/orca/secrets.age.key")).toBe("600 root");
});

test("the firewall is tried and confirmed as the page says, and doctor knows it", async () => {
  const ssh = (line: string): Promise<{ code: number; stdout: string; stderr: string }> =>
    machine.sh(`ssh -o StrictHostKeyChecking=no -o LogLevel=ERROR -i /root/orca/admin root@127.0.0.1 '${line}'`);
  await read("cd /root/orca/platform && orca firewall render demo > /root/orca/demo.nft");
  // Nobody confirms it: systemd's timer undoes it.
  expect((await ssh("orca firewall apply /root/orca/demo.nft --within 5s")).code).toBe(0);
  expect(await read("nft list tables")).toContain("orca_host");
  await machine.until("! nft list tables | grep -q orca_host", 60_000);
  expect((await ssh("orca firewall apply /root/orca/demo.nft")).code).toBe(0);
  const { code, stdout, stderr } = await ssh("orca firewall confirm");
  expect([code, stdout.trim()], stderr).toEqual([0, "confirmed: /etc/orca/host-firewall.nft, loaded at each boot"]);
  expect(await read("systemctl list-timers --all --no-legend | grep -c orca-later || true")).toBe("0");
  await read("nft delete table inet orca_host && systemctl start orca-host-firewall && nft list table inet orca_host");
  expect(await read("systemctl is-enabled orca-host-firewall; curl -s localhost:8080")).toContain("web on demo");
});

test("what doctor looks at is in order", async () => {
  const { stdout } = await machine.sh("orca doctor --json");
  const { findings } = JSON.parse(stdout) as { findings: { id: string; severity: string; what: string }[] };
  const bad = findings.filter(({ severity }) => severity === "fail" || severity === "warn");
  // What only a network, the machine outside or a person could give: lists of packages, AppArmor and the kernel's settings; and how far the agent's unit is open (page install).
  const outside = new Set(["U01", "D12", "K03", "A02"]);
  expect(bad.filter(({ id }) => !outside.has(id)).map(({ id, what }) => `${id} ${what}`)).toEqual([]);
});

/** What no second run may change: files, mounts, containers, the engine. */
function untouched(): Promise<string> {
  return read(
    "find /etc -xdev -type f -newermt 1970-01-01 -printf '%p %T@\\n' | grep -v -e '/etc/mtab' | sort | sha256sum; cat /proc/self/mounts | sha256sum; " +
      "docker ps -q --no-trunc | sort; systemctl show -p MainPID -p NRestarts docker containerd orca-agent",
  );
}

test("everything may be run again, and changes nothing", async () => {
  const before = await untouched();
  const again = await read("/usr/local/sbin/orca-setup");
  expect(again).toContain("install: nothing to change");
  expect(again).not.toMatch(/wrote|making/);
  expect(await read("/usr/share/orca/install --dry-run --data-root /mnt/data/docker")).toContain("nothing to change");
  expect(await untouched()).toBe(before);
  // cloud-init's modules once more, as at the first boot of a copy of this instance.
  await read(
    "cloud-init single --name write_files --frequency always && cloud-init single --name runcmd --frequency always && cloud-init single --name scripts_user --frequency always",
  );
  expect(await read("docker ps -q --no-trunc | wc -l")).toBe("2");
  expect((await machine.sh("orca status")).code).toBe(0);
});

test("a disk that holds anything is never made a file system on", async () => {
  const setup = "/usr/local/sbin/orca-setup";
  // The settings of another node: its uuid is on no disk, and the one volume that is there holds data.
  await read(
    "sed -e \"s/^UUID=.*/UUID='11111111-2222-3333-4444-555555555555'/; s#^MOUNT=.*#MOUNT='/mnt/other'#\" /etc/orca/setup.env > /root/other.env",
  );
  await read(`sed 's#^\\. /etc/orca/setup.env#. /root/other.env#' ${setup} > /root/other && chmod +x /root/other`);
  const before = await read("sha256sum /dev/vdb | cut -c1-16; blkid -p /dev/vdb");
  const used = await machine.sh("/root/other");
  expect([used.code, used.stderr]).toEqual([1, expect.stringMatching(/no unused volume is attached/)]);
  await read("mknod /dev/vdc b 7 $(cat /seed/minor-second) && ln -s /dev/vdc /dev/disk/by-id/scsi-0HC_Volume_2");
  // A second disk with anything on it: a partition table, swap, a file system, and bytes that nobody knows are left for a person.
  for (const [make, words] of [
    ["mkswap /dev/vdc", /holds something else than 11111111/],
    ["mkfs.ext4 -q /dev/vdc", /holds something else than 11111111/],
  ] as const) {
    await read(`dd if=/dev/zero of=/dev/vdc bs=1M count=64 2>/dev/null && ${make} >/dev/null 2>&1`);
    const kept = await read("sha256sum /dev/vdc");
    const { code, stderr } = await machine.sh("/root/other");
    expect([code, stderr]).toEqual([1, expect.stringMatching(words)]);
    expect(await read("sha256sum /dev/vdc")).toBe(kept);
  }
  expect(before).toContain(UUID);
  expect(await read("grep -c /mnt/other /etc/fstab || true")).toBe("0");
  // And one with nothing on it is made, with that uuid; Docker, which has containers elsewhere, is then left alone.
  await read("dd if=/dev/zero of=/dev/vdc bs=1M count=64 2>/dev/null");
  const empty = await machine.sh("/root/other");
  expect([empty.code, empty.stderr]).toEqual([
    1,
    expect.stringMatching(/Docker runs containers from another place than \/mnt\/other\/docker/),
  ]);
  expect(await read("blkid -c /dev/null -p -s UUID -o value /dev/vdc; findmnt -no SOURCE /mnt/other")).toBe(
    "11111111-2222-3333-4444-555555555555\n/dev/vdc",
  );
  await read(
    "umount /mnt/other && sed -i '\\#/mnt/other#d' /etc/fstab && rm /dev/vdc /dev/disk/by-id/scsi-0HC_Volume_2",
  );
});

test("a package with another checksum is not installed", async () => {
  await read(
    "sed -e \"s/^SHA256_AMD64=.*/SHA256_AMD64='$(printf x | sha256sum | cut -c1-64)'/; s/^MOUNT=.*/MOUNT=''/\" /etc/orca/setup.env > /root/other.env",
  );
  const { code, stderr } = await machine.sh("/root/other");
  expect([code, stderr]).toEqual([
    1,
    expect.stringMatching(/has not the checksum [0-9a-f]{64}: nothing was installed/),
  ]);
});

const INSTALL = "/usr/share/orca/install --data-root /mnt/data/docker";

/** Each container with its start. */
function listContainers(): Promise<string> {
  return read("docker inspect -f '{{.Id}} {{.State.StartedAt}}' $(docker ps -q) | sort");
}

test("install shows before it changes, changes only when told, and takes back what is not its own", async () => {
  await read("echo 'kernel.sysrq = 1' >> /etc/sysctl.d/60-orca.conf");
  const shown = await machine.sh(`${INSTALL} --dry-run`);
  expect([shown.code, shown.stdout]).toEqual([
    2,
    expect.stringMatching(/will change \/etc\/sysctl\.d\/60-orca\.conf\n[^]*\n-kernel\.sysrq = 1\n/),
  ]);
  // Nobody to ask: nothing is done.
  const asked = await machine.sh(`${INSTALL} </dev/null`);
  expect([asked.code, asked.stderr]).toEqual([
    2,
    expect.stringContaining("nothing was changed: run it on a terminal, or with --yes"),
  ]);
  expect(await read("tail -n 1 /etc/sysctl.d/60-orca.conf")).toBe("kernel.sysrq = 1");
  await read(`${INSTALL} --yes`);
  expect(await read(`${INSTALL} --yes`)).toBe("install: nothing to change");
});

test("a daemon.json of somebody's own is kept and compared; taking Orca's restarts no container", async () => {
  const before = await listContainers();
  const own = '{ "data-root": "/mnt/data/docker", "live-restore": true, "debug": true }';
  await read(`echo '${own}' > /etc/docker/daemon.json`);
  const kept = await read(`${INSTALL} --yes`);
  expect(kept).toMatch(
    /left out: \/etc\/docker\/daemon\.json is somebody's own[^]*\+ {2}"log-driver": "local"[^]*nothing to change$/,
  );
  expect(await read("cat /etc/docker/daemon.json")).toBe(own);
  const elsewhere = await machine.sh("/usr/share/orca/install --yes --replace --data-root /srv/docker");
  expect([elsewhere.code, elsewhere.stderr]).toEqual([
    1,
    expect.stringMatching(/Docker has containers in \/mnt\/data\/docker/),
  ]);
  // Where Docker's data lies is kept, also where nobody names it.
  await read("/usr/share/orca/install --yes --replace --restart-docker");
  expect(await read("cat /etc/docker/daemon.json.before-orca")).toBe(own);
  await machine.until("docker info", 60_000);
  expect(await read("docker info -f '{{.DockerRootDir}} {{.LoggingDriver}} {{.LiveRestoreEnabled}} {{.Debug}}'")).toBe(
    "/mnt/data/docker local true false",
  );
  expect(await listContainers()).toBe(before);
  await machine.until("orca status", 60_000);
});

test("a restart of Docker and containerd leaves containers running", async () => {
  const before = await listContainers();
  await read("systemctl restart containerd docker");
  await machine.until("docker info && orca status", 60_000);
  expect(await listContainers()).toBe(before);
});

test("sshd keeps passwords while nobody has a key, and a file that it does not take is taken back", async () => {
  // Root's, and those of the user that cloud-init has made.
  await read(
    "mkdir /root/keys; for d in /root /home/*; do mv $d/.ssh/authorized_keys /root/keys/$(basename $d) 2>/dev/null; done; rm /etc/ssh/sshd_config.d/10-orca.conf",
  );
  expect(await read(`${INSTALL} --yes`)).toMatch(/left out: sshd keeps its passwords[^]*nothing to change$/);
  await read(
    "mv /root/keys/root /root/.ssh/authorized_keys; cp /etc/ssh/sshd_config /root/sshd_config; echo Frobnicate yes >> /etc/ssh/sshd_config",
  );
  const bad = await machine.sh(`${INSTALL} --yes`);
  expect([bad.code, bad.stderr]).toEqual([
    1,
    expect.stringMatching(/sshd does not take \/etc\/ssh\/sshd_config\.d\/10-orca\.conf: it was taken back/),
  ]);
  expect(await read("ls /etc/ssh/sshd_config.d")).not.toContain("10-orca.conf");
  await read(`cp /root/sshd_config /etc/ssh/sshd_config && ${INSTALL} --yes`);
});

test("the settings count: sshd without passwords, fail2ban that hears, upgrades that leave the engine alone", async () => {
  const sshd = await read("sshd -T");
  for (const line of [
    "passwordauthentication no",
    "kbdinteractiveauthentication no",
    "x11forwarding no",
    "maxauthtries 4",
  ])
    expect(sshd).toContain(line);
  expect(await read("fail2ban-client status sshd")).toContain("Journal matches");
  const left = await read("apt-config dump Unattended-Upgrade");
  for (const name of ["docker", "containerd", "runc", "orca"]) expect(left).toContain(name);
  // Its own program, which reads them as it will.
  expect(await read("unattended-upgrade --dry-run --debug 2>&1 | grep -i 'blacklist'")).toMatch(/docker\\+\.io\$/);
  expect(left).toContain('Unattended-Upgrade::Automatic-Reboot "false"');
  expect(await read("apt-config dump APT::Periodic::Unattended-Upgrade")).toContain('"1"');
  expect(
    await read(
      "perl -e 'our %nrconf; do q(/etc/needrestart/conf.d/60-orca.conf) or die $@; print join(q( ), sort keys %{$nrconf{override_rc}})'",
    ),
  ).toContain("docker");
  expect(await read("systemd-analyze cat-config systemd/journald.conf")).toContain("SystemMaxUse=500M");
  expect(await read("sysctl -n net.ipv4.conf.all.accept_redirects net.ipv4.ip_forward")).toBe("0\n1");
});
