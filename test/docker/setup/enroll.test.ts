// `orca enroll` through a real sshd on loopback: credentials arrive as root's own files and are seen nowhere else, a host that shows another
// key is sent nothing, and the node's keys come out as a change that git applies.

import { execFile, execFileSync, type ChildProcess, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import { writeFiles, ROOT } from "../../builders/data/readme.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { eventually } from "../../contract/docker-port.ts";

const directory = mkdtempSync(join(tmpdir(), "orca-enroll-"));
const path = (name: string): string => join(directory, name);
const TOKEN = "token-3f9c1d77aa-marked";
let port = 0;
let server: ChildProcess;
let log = "";

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs `orca enroll` as a person would; what stdin holds may be given. */
function enroll(words: readonly string[], input = ""): Promise<Ended> {
  const program = process.env["ORCA_PROGRAM"] ?? join(ROOT, "agent/main.ts");
  const place = ["--to", "root@127.0.0.1", "--port", String(port), "--identity", path("admin")];
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [program, "enroll", ...words, ...place],
      { cwd: path("platform"), env: { ...process.env, HOME: path("home") } },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
    child.stdin?.end(input);
  });
}

function makeKey(name: string): string {
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path(name)]);
  return execFileSync("ssh-keygen", ["-lf", path(`${name}.pub`)], { encoding: "utf8" }).split(" ")[1] ?? "";
}

let fingerprint = "";
let other = "";

beforeAll(async () => {
  fingerprint = makeKey("host");
  other = makeKey("other");
  makeKey("admin");
  for (const name of ["bin", "home", "node", "empty"]) mkdirSync(path(name));
  // What stands at /usr/bin/orca on a VM; without systemd, so that no agent of this machine is woken.
  const program = process.env["ORCA_PROGRAM"] ?? join(ROOT, "agent/main.ts");
  const words = `exec env PATH=${path("empty")} ${process.execPath} ${program} "$@" --config ${path("node/agent.toml")}`;
  writeFileSync(path("bin/orca"), `#!/bin/sh\necho "$@" >>${path("argv")}\necho "motd of a login shell"\n${words}\n`);
  chmodSync(path("bin/orca"), 0o755);
  const key = readFileSync(path("admin.pub"), "utf8");
  writeFileSync(path("authorized_keys"), `environment="PATH=${path("bin")}:/usr/bin:/bin" ${key}`, { mode: 0o600 });
  port = await findPort();
  const config = [
    `ListenAddress 127.0.0.1:${port}`,
    `HostKey ${path("host")}`,
    `AuthorizedKeysFile ${path("authorized_keys")}`,
    "PermitRootLogin prohibit-password",
    "PasswordAuthentication no",
    "PermitUserEnvironment yes",
    "StrictModes no",
    "UsePAM no",
    "LogLevel DEBUG",
    `PidFile ${path("sshd.pid")}`,
  ];
  writeFileSync(path("sshd_config"), `${config.join("\n")}\n`);
  mkdirSync("/run/sshd", { recursive: true });
  server = spawn("/usr/sbin/sshd", ["-D", "-e", "-f", path("sshd_config")], { stdio: ["ignore", "ignore", "pipe"] });
  server.stderr?.on("data", (piece: Buffer) => (log += piece.toString()));
  await eventually(() => Promise.resolve(log.includes("Server listening")), 30_000);
});

afterAll(() => {
  server.kill();
  rmSync(directory, { recursive: true });
});

const FLEET =
  '# the fleet\n[nodes.vm-edge]\naddress = "10.0.0.10"\nenv = "prod"\nmemory = "8GiB"\n\n[nodes.vm-data]\naddress = "10.0.0.30"\nenv = "prod"\nmemory = "8GiB"\n';

beforeEach(() => {
  const manifests = { "orca/fleet.toml": FLEET, "orca/manifests/vm-edge/.keep": "" };
  rmSync(path("platform"), { recursive: true, force: true });
  writeFiles(path("platform"), new Map(Object.entries(manifests)));
  execFileSync("git", ["init", "-q", path("platform")]);
  rmSync(path("node"), { recursive: true });
  mkdirSync(path("node"));
  writeFileSync(
    path("node/agent.toml"),
    `node = "vm-edge"\n[source.git]\nurl = "https://git.example.com/a.git"\ntoken_file = "${path("node/git-token")}"\n` +
      `[secrets]\ninfisical = { url = "https://s.example.com", project = "p", environment = "prod", client_id_file = "${path("node/id")}", client_secret_file = "${path("node/secret")}" }\n` +
      `[state]\ndir = "${path("node")}"\n[gossip]\nlisten = "10.0.0.10:7946"\nidentity_file = "${path("node/identity.key")}"\n`,
  );
  writeFileSync(path("token"), `${TOKEN}\n`);
  rmSync(path("argv"), { force: true });
  log = "";
});

test("credentials arrive, and are root's alone; the keys are a change that git applies", async () => {
  const first = await enroll(["vm-edge", "--host-key", fingerprint, "--give", `git-token=${path("token")}`]);
  expect([first.code, first.stderr]).toEqual([
    3,
    expect.stringMatching(/still waits for \S+\/id: orca enroll vm-edge --give infisical-id=FILE/),
  ]);
  expect(readFileSync(path("node/git-token"), "utf8")).toBe(`${TOKEN}\n`);
  expect(statSync(path("node/git-token")).mode & 0o777).toBe(0o600);
  const key = /^\+public_key = "(ed25519:[\w-]{43})"$/m.exec(first.stdout)?.[1];
  expect(key).toBeDefined();
  execFileSync("git", ["apply", "-"], { cwd: path("platform"), input: first.stdout });
  expect(readFileSync(path("platform/orca/fleet.toml"), "utf8")).toContain(`public_key = "${key}"`);
  // The rest later, one from stdin; the key stays, so there is nothing to change any more.
  writeFileSync(path("id"), "client-1\n");
  const second = await enroll(
    ["vm-edge", "--host-key", fingerprint, "--give", `infisical-id=${path("id")}`, "--give", "infisical-secret=-"],
    "secret-77\n",
  );
  expect([second.code, second.stdout]).toEqual([0, ""]);
  expect(second.stderr).toContain("has the keys of vm-edge already");
  expect(readFileSync(path("node/secret"), "utf8")).toBe("secret-77\n");
  // Seen by nobody else: not in what sshd logs or was asked to run, nor in what was printed.
  const seen = [log, readFileSync(path("argv"), "utf8"), first.stdout, first.stderr, second.stderr].join("\n");
  expect(seen).toContain("accept-credentials");
  for (const secret of [TOKEN, Buffer.from(TOKEN).toString("base64").slice(0, 20), "secret-77"])
    expect(seen).not.toContain(secret);
});

test("--write changes fleet.toml itself", async () => {
  const { code, stdout } = await enroll(["vm-edge", "--host-key", fingerprint, "--write"]);
  expect([code, stdout]).toEqual([3, ""]);
  expect(readFileSync(path("platform/orca/fleet.toml"), "utf8")).toMatch(
    /^# the fleet\n\[nodes\.vm-edge\]\n(.*\n){3}public_key = "ed25519:.*"\nbackup_key = "age1.*"\n\n\[nodes\.vm-data\]/,
  );
});

test("a host with another key is sent nothing", async () => {
  const { code, stderr } = await enroll(["vm-edge", "--host-key", other, "--give", `git-token=${path("token")}`]);
  expect([code, stderr]).toEqual([
    1,
    expect.stringMatching(
      new RegExp(`is not that host, and nothing was sent: it shows ${fingerprint.replaceAll("+", "\\+")}`),
    ),
  ]);
  expect(log).not.toContain("Accepted publickey");
  expect(existsSync(path("argv"))).toBe(false);
  expect(existsSync(path("node/git-token"))).toBe(false);
});

test("a host that is not in known_hosts is sent nothing without a fingerprint", async () => {
  const gift = ["--give", `git-token=${path("token")}`];
  const unknown = await enroll(["vm-edge", ...gift]);
  expect([unknown.code, unknown.stderr]).toEqual([
    1,
    expect.stringMatching(/is not known to this machine, and nothing was sent/),
  ]);
  expect(existsSync(path("argv"))).toBe(false);
});

test("only what the node's agent.toml names is written, and all or nothing", async () => {
  const give = (...gifts: string[]): Promise<Ended> =>
    enroll(["vm-edge", "--host-key", fingerprint, ...gifts.flatMap((gift) => ["--give", gift])]);
  const unasked = await give(`git-token=${path("token")}`, `nats-creds=${path("token")}`);
  expect([unasked.code, unasked.stderr]).toEqual([
    1,
    expect.stringMatching(/names no file for nats-creds, so nothing was written/),
  ]);
  expect(existsSync(path("node/git-token"))).toBe(false);
  for (const [gift, words] of [
    [`git-tokn=${TOKEN}`, /ROLE is one of git-token/],
    [`git-token=${path("none")}`, /cannot be read: ENOENT/],
    ["git-token", /takes ROLE=FILE/],
  ] as const) {
    const { code, stderr } = await give(gift);
    expect([code, stderr]).toEqual([1, expect.stringMatching(words)]);
    expect(stderr).not.toContain(TOKEN);
  }
});

test("another node behind the address is not this one", async () => {
  const { code, stderr } = await enroll(["vm-data", "--host-key", fingerprint, "--give", `git-token=${path("token")}`]);
  expect([code, stderr]).toEqual([1, expect.stringMatching(/this is vm-edge, and not vm-data: nothing was written/)]);
  expect(existsSync(path("node/git-token"))).toBe(false);
});

test("what an image that shuts root out says, is said", async () => {
  const key = readFileSync(path("admin.pub"), "utf8");
  const kept = readFileSync(path("authorized_keys"), "utf8");
  // As cloud-init writes it (disable_root_opts).
  writeFileSync(path("authorized_keys"), `no-pty,command="echo 'Please login as the user debian';exit 142" ${key}`);
  const { code, stderr } = await enroll(["vm-edge", "--host-key", fingerprint]);
  writeFileSync(path("authorized_keys"), kept);
  expect([code, stderr]).toEqual([
    1,
    expect.stringMatching(/root@127\.0\.0\.1 port \d+: .*Please login as the user debian/),
  ]);
});

test("where nobody listens, or Orca is not there yet, it says so", async () => {
  rmSync(path("bin/orca"));
  const { code, stderr } = await enroll(["vm-edge", "--host-key", fingerprint]);
  expect([code, stderr]).toEqual([
    1,
    expect.stringMatching(/there is no Orca on 127\.0\.0\.1 yet: journalctl -u orca-setup/),
  ]);
  const gone = await findPort();
  port = gone;
  const dead = await enroll(["vm-edge", "--host-key", fingerprint]);
  expect([dead.code, dead.stderr]).toEqual([1, expect.stringMatching(new RegExp(`127\\.0\\.0\\.1 port ${gone}`))]);
});
