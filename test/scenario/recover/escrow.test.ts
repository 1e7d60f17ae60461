// The escrow of a node, on a host of files: stock age opens it with an offline key, the node's own key does not; what is missing, wrong or
// would be lost with the node is refused before anything is written; and nothing secret is printed.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { ensureBackupIdentity } from "../../../agent/backup/backup-identity.ts";
import { readEscrowFact } from "../../../agent/cli/doctor/read-escrow.ts";
import { keygen } from "../../../agent/cli/fleet/keygen-command.ts";
import { createEscrow } from "../../../agent/cli/recover/escrow-command.ts";
import { openEscrow } from "../../../agent/cli/recover/escrow-file.ts";
import { refuseOtherEscrow } from "../../../agent/cli/recover/refuse-escrow.ts";
import { TakeoverFile } from "../../../agent/gossip/takeover-file.ts";
import { statePath } from "../../../agent/host/state-layout.ts";

let root: string;
let offline: { file: string; recipient: string };
let said: string;

const at = (name: string): string => join(root, name);
const write = (name: string, text: string): void => writeFileSync(at(name), text, { mode: 0o600 });
const create = (change: object = {}): Promise<number> =>
  createEscrow("vm-edge", {
    out: at("vm-edge.escrow"),
    recoveryKey: at("recovery.key"),
    recipient: [offline.recipient],
    config: at("agent.toml"),
    ...change,
  });

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "orca-escrow-"));
  mkdirSync(at("state"));
  said = "";
  vi.stubEnv("RUNTIME_DIRECTORY", at("run"));
  vi.spyOn(process.stdout, "write").mockImplementation((text) => ((said += String(text)), true));
  vi.spyOn(process.stderr, "write").mockImplementation((text) => ((said += String(text)), true));
  await keygen({ identity: "", backupKey: "", recovery: at("recovery.key") });
  const pinned = /recovery_key = "(.*)"/.exec(said)?.[1] ?? "";
  write(
    "policy.toml",
    `[pinned]\nrecovery_key = "${pinned}"\n[bootstrap]\nallowed_files = ["${at("keycloak.env")}"]\n`,
  );
  write(
    "agent.toml",
    `node = "vm-edge"\n[source.git]\nurl = "https://git.example/p.git"\ntoken_file = "${at("git-token")}"\n` +
      `[secrets]\nfile = "${at("secrets.age")}"\n[state]\ndir = "${at("state")}"\n[policy]\nfile = "${at("policy.toml")}"\n`,
  );
  write("git-token", "planted-git-token");
  write("secrets.age", "planted-secrets");
  write("secrets.age.key", "planted-secrets-key");
  write("keycloak.env", "KC_DB_PASSWORD=planted-bootstrap\n");
  write("state/host.key", "planted-host-key");
  write("state/secrets.sealed", "{}");
  await ensureBackupIdentity(statePath(at("state"), "backupKey"));
  const { recipient } = await ensureBackupIdentity(at("offline.key"));
  offline = { file: at("offline.key"), recipient };
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(root, { recursive: true, force: true });
});

test("an offline key opens it, in stock age too; all that a spare needs is in it, and nothing of it is printed", async () => {
  expect(await create()).toBe(0);
  expect(statSync(at("vm-edge.escrow")).mode & 0o777).toBe(0o600);
  const plain = execFileSync("age", ["-d", "-i", offline.file, at("vm-edge.escrow")], { encoding: "utf8" });
  const escrow = await openEscrow(at("vm-edge.escrow"), offline.file);
  expect(JSON.parse(plain)).toEqual(escrow);
  const contents = Object.fromEntries(
    escrow.files.map(({ path, content }) => [path, Buffer.from(content, "base64").toString()]),
  );
  expect(Object.keys(contents).toSorted()).toEqual(
    [
      ...["agent.toml", "git-token", "keycloak.env", "policy.toml", "secrets.age", "secrets.age.key"].map(at),
      ...["state/backup.key", "state/host.key", "state/secrets.sealed"].map(at),
    ].toSorted(),
  );
  expect(contents[at("git-token")]).toBe("planted-git-token");
  expect(escrow).toMatchObject({ node: "vm-edge", term: 0, recoveryKey: readFileSync(at("recovery.key"), "utf8") });
  expect(said).not.toMatch(/planted|PRIVATE KEY|AGE-SECRET/);
  const audit = readFileSync(statePath(at("state"), "audit"), "utf8");
  expect(JSON.parse(audit)).toMatchObject({
    action: "escrow-create",
    what: { node: "vm-edge", file: at("vm-edge.escrow"), recipients: [offline.recipient], files: 9, term: 0 },
    cause: "asked by orca escrow",
    result: "ok",
  });
  expect(audit).not.toMatch(/planted|PRIVATE|AGE-SECRET/);
  expect(readFileSync(statePath(at("state"), "escrow"), "utf8")).not.toMatch(/planted|PRIVATE/);
  expect((await readEscrowFact(statePath(at("state"), "escrow")))?.files.map(({ path }) => path)).not.toContain(
    at("state/secrets.sealed"),
  );
});

test("no escrow is made that the audit log cannot have", async () => {
  mkdirSync(statePath(at("state"), "audit"));
  await expect(create()).rejects.toThrow(/nothing is done that cannot be recorded/);
  expect(existsSync(at("vm-edge.escrow"))).toBe(false);
});

test("the node's own key does not open it, and no escrow is made for that key, or for nobody", async () => {
  await create();
  await expect(openEscrow(at("vm-edge.escrow"), statePath(at("state"), "backupKey"))).rejects.toThrow(
    /does not open with/,
  );
  const { recipient } = await ensureBackupIdentity(statePath(at("state"), "backupKey"));
  const other = { out: at("other.escrow") };
  await expect(create({ ...other, recipient: [offline.recipient, recipient] })).rejects.toThrow(
    /which is lost with it/,
  );
  await expect(create({ ...other, recipient: [] })).rejects.toThrow(/nobody could open it/);
  await expect(create({ ...other, recipient: ["age1x"] })).rejects.toThrow(/no recipient of age/);
  expect(existsSync(at("other.escrow"))).toBe(false);
  expect(readFileSync(statePath(at("state"), "audit"), "utf8")).not.toContain("other.escrow");
});

test("what is missing, another recovery key, another node and a file that is there are refused, and nothing is written", async () => {
  rmSync(at("git-token"));
  await expect(create()).rejects.toThrow(`no spare could do without, and not here: ${at("git-token")} (git-token)`);
  write("git-token", "planted-git-token");
  await keygen({ identity: "", backupKey: "", recovery: at("another.key") });
  await expect(create({ recoveryKey: at("another.key") })).rejects.toThrow(
    /is not the private half of pinned.recovery_key/,
  );
  await expect(keygen({ identity: "", backupKey: "", recovery: at("another.key") })).rejects.toThrow(
    /never written over/,
  );
  write("broken.key", "-----BEGIN PRIVATE KEY-----\nplanted\n");
  const fault = await create({ recoveryKey: at("broken.key") }).catch((error: Error) => error.message);
  expect(fault).not.toMatch(/planted/);
  await expect(
    createEscrow("vm-data", { out: at("x"), recoveryKey: "", recipient: [], config: at("agent.toml") }),
  ).rejects.toThrow("this is vm-edge: run it on vm-data");
  expect(existsSync(at("vm-edge.escrow"))).toBe(false);
  await create();
  await expect(create()).rejects.toThrow(/is there already/);
});

test("anybody can encrypt for an offline key: a host that pins a recovery key takes no escrow with another one", async () => {
  await create();
  const escrow = await openEscrow(at("vm-edge.escrow"), offline.file);
  await expect(refuseOtherEscrow(escrow, "own")).resolves.toBeUndefined();
  await keygen({ identity: "", backupKey: "", recovery: at("other.key") });
  const forged = { ...escrow, recoveryKey: readFileSync(at("other.key"), "utf8") };
  await expect(refuseOtherEscrow(forged, "forged")).rejects.toThrow(
    /^forged holds the recovery key ed25519:.* pins ed/,
  );
  const damaged = { ...escrow, recoveryKey: "planted-no-key" };
  await expect(refuseOtherEscrow(damaged, "cut")).rejects.toThrow(/^cut holds no recovery key: make it anew/);
  // A machine that is no node yet pins nothing.
  rmSync(at("agent.toml"));
  await expect(refuseOtherEscrow(forged, "forged")).resolves.toBeUndefined();
});

test("a list of takeovers that is damaged is kept beside the next one", async () => {
  const path = statePath(at("state"), "takeovers");
  writeFileSync(path, '{"version":1,"takeovers":[{');
  const file = new TakeoverFile(at("state"));
  expect([file.read(), file.trouble]).toEqual([[], expect.stringContaining("cannot be read")]);
  file.store([]);
  file.store([]);
  await file.written;
  expect(readFileSync(`${path}.damaged`, "utf8")).toBe('{"version":1,"takeovers":[{');
  expect(new TakeoverFile(at("state")).trouble).toBeUndefined();
});
