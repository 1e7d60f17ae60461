// Copies of the audit log: each line once, under names that are never used again, and a chain that is walked from the copies alone. The log,
// the repository, the encryption and what the child does are the real ones; the child is called in this process.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { AuditCopies } from "../../../agent/backup/audit/audit-copies.ts";
import { copyAudit } from "../../../agent/backup/audit/copy-audit.ts";
import type { AuditCopyRequest } from "../../../agent/backup/backup-exchange.ts";
import { verifyCopies } from "../../../agent/cli/services/verify-copies.ts";
import { AuditLog } from "../../../agent/report/audit/audit-log.ts";
import { judgeAuditCopies } from "../../../agent/report/notify/backup-conditions.ts";
import type { StorePlan } from "../../../shared/state/backup.ts";
import { buildStorePlan } from "../../builders/data/store-plan.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

let root = "";
let clock: FakeClock;
let log: AuditLog;
let opened: AuditCopies[] = [];
let requests: AuditCopyRequest[] = [];
let said: string[] = [];

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "orca-audit-copies-"));
  mkdirSync(join(root, "nas"));
  clock = new FakeClock(Date.UTC(2026, 10, 20, 12));
  log = new AuditLog({ path: path(), clock, onTrouble: () => undefined, rotateBytes: 2_000 });
  await log.open();
  [opened, requests, said] = [[], [], []];
  const hear = (text: unknown): boolean => said.push(String(text)) > 0;
  vi.spyOn(process.stdout, "write").mockImplementation(hear);
  vi.spyOn(process.stderr, "write").mockImplementation(hear);
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const copies of opened) await copies.close();
  await log.close();
  rmSync(root, { recursive: true, force: true });
});

const path = (): string => join(root, "state", "audit.jsonl");
const folder = (): string => join(root, "nas", "vm1", "_log");
const list = (): string[] => readdirSync(folder()).toSorted();
const plan = (own: Partial<StorePlan> = {}): StorePlan =>
  buildStorePlan({ repositories: [{ kind: "directory", name: "nas", path: join(root, "nas") }], ...own });

async function write(count: number): Promise<void> {
  for (let index = 0; index < count; index += 1)
    await log.record({ actor: { kind: "user", uid: 1000 }, action: "restart", what: { service: "web" }, result: "ok" });
}

/** What daemon.ts makes, over a child that is this process. */
function open(): AuditCopies {
  const copies = new AuditCopies({
    node: "vm1",
    program: "orca",
    clock,
    auditPath: path(),
    statePath: join(root, "state", "audit-copies.json"),
    desk: {
      resolve: (repository) =>
        repository.kind === "directory"
          ? { kind: "directory", name: repository.name, directory: repository.path ?? "" }
          : `fleet.toml has no repository ${repository.name}`,
    },
    identity: { ensure: () => Promise.resolve(), listRecipients: ({ recipients }) => [...recipients] },
    runLightChild: async ({ request }) => {
      const asked = JSON.parse(request) as AuditCopyRequest;
      requests.push(asked);
      const repositories = await copyAudit(asked, () => clock.nowMs());
      return { kind: "answered", answer: Buffer.from(JSON.stringify({ kind: "audit-copied", repositories })) };
    },
    emit: () => undefined,
  });
  opened.push(copies);
  return copies;
}

/** A turn each minute, as an agent has them; what is begun is waited for. */
async function turn(copies: AuditCopies, plans: readonly StorePlan[], minutes: number): Promise<void> {
  for (let minute = 0; minute < minutes; minute += 1) {
    await clock.advance(MINUTE_MS);
    copies.follow(plans);
    await copies.settled;
  }
}

test("each line lies there once; a day without a line adds nothing, and nothing that lies there changes", async () => {
  const copies = open();
  await write(20);
  await turn(copies, [plan()], 5);
  const first = list();
  const texts = first.map((name) => readFileSync(join(folder(), name), "utf8"));
  // The log was put aside on the way: each file of it is a copy of its own.
  expect(first.length).toBeGreaterThan(2);
  expect(texts.join("").split("\n")).toHaveLength(21);
  await turn(copies, [plan()], 24 * 60);
  expect(list()).toEqual(first);
  expect(requests).toHaveLength(2);
  await write(3);
  await turn(copies, [plan()], 24 * 60);
  expect(list().filter((name) => first.includes(name))).toEqual(first);
  expect(list().length).toBeGreaterThan(first.length);
  expect(first.map((name) => readFileSync(join(folder(), name), "utf8"))).toEqual(texts);
  expect(await verifyCopies({ from: folder(), head: log.head.hash })).toBe(0);
  expect(said.join("")).toMatch(/23 lines in \d+ copies, the chain holds/);
  expect(copies.notes).toEqual([]);
});

test("where the repository encrypts, its key alone opens the copies", async () => {
  const secret = await generateX25519Identity();
  const recipient = await identityToRecipient(secret);
  writeFileSync(join(root, "key"), `# public key: ${recipient}\n${secret}\n`);
  await write(12);
  await turn(open(), [plan({ recipients: [recipient] })], 5);
  expect(list().every((name) => name.endsWith(".jsonl.age"))).toBe(true);
  expect(
    list()
      .map((name) => readFileSync(join(folder(), name), "latin1"))
      .join(""),
  ).not.toContain("restart");
  await expect(verifyCopies({ from: folder() })).rejects.toThrow("--identity");
  expect(await verifyCopies({ from: folder(), identity: join(root, "key") })).toBe(0);
});

test("a copy that was edited, cut or taken away breaks the chain, and names the file", async () => {
  await write(20);
  await turn(open(), [plan()], 5);
  const [one = "", two = ""] = list();
  const text = readFileSync(join(folder(), two), "utf8");
  writeFileSync(join(folder(), two), text.replace("restart", "nothing"));
  expect(await verifyCopies({ from: folder() })).toBe(1);
  expect(said.join("")).toContain(two);
  writeFileSync(join(folder(), two), text);
  expect(await verifyCopies({ from: folder() })).toBe(0);
  const last = list().at(-1) ?? "";
  const end = readFileSync(join(folder(), last), "utf8");
  writeFileSync(join(folder(), last), end.slice(0, end.lastIndexOf("\n", end.length - 2) + 1));
  expect(await verifyCopies({ from: folder() })).toBe(1);
  writeFileSync(join(folder(), last), end);
  rmSync(join(folder(), one));
  expect(await verifyCopies({ from: folder() })).toBe(1);
  await expect(verifyCopies({ from: root })).rejects.toThrow("_log");
});

test("a copy that is gone is made again while the host has its lines", async () => {
  const copies = open();
  await write(20);
  await turn(copies, [plan()], 5);
  rmSync(join(folder(), list()[1] ?? ""));
  await turn(copies, [plan()], 24 * 60);
  expect(await verifyCopies({ from: folder() })).toBe(0);
});

test("a repository that fails is told with its reason, tried again, and told no more once it has it", async () => {
  const copies = open();
  await write(3);
  renameSync(join(root, "nas"), join(root, "away"));
  await turn(copies, [plan()], 5);
  expect(copies.notes.map(({ text }) => text).join("")).toMatch(
    /not copied into nas \(it has none.*is not there: mount it/,
  );
  expect(judgeAuditCopies(copies.trouble, undefined)).toMatchObject({ state: "not-copied", severity: "warning" });
  renameSync(join(root, "away"), join(root, "nas"));
  await turn(copies, [plan()], 16);
  expect(copies.notes).toEqual([]);
  expect(judgeAuditCopies(copies.trouble, undefined)).toMatchObject({ state: "ok", severity: undefined });
  expect(await verifyCopies({ from: folder() })).toBe(0);
  // An empty directory where copies were is a mount that is gone, and no repository.
  renameSync(join(root, "nas"), join(root, "away"));
  mkdirSync(join(root, "nas"));
  await write(1);
  await turn(copies, [plan()], 24 * 60);
  expect(copies.notes.map(({ text }) => text).join("")).toContain("had copies of the audit log");
  expect(readdirSync(join(root, "nas"))).toEqual([]);
});

test("days that were missed are made up once, and a restart does not begin anew", async () => {
  const copies = open();
  await write(2);
  await turn(copies, [plan()], 5);
  expect(requests).toHaveLength(1);
  await copies.close();
  const again = open();
  await turn(again, [plan()], 60);
  expect(requests).toHaveLength(1);
  await again.close();
  await clock.advance(5 * DAY_MS);
  const later = open();
  await turn(later, [plan()], 1);
  expect(requests).toHaveLength(1);
  await turn(later, [plan()], 60);
  expect(requests).toHaveLength(2);
});

test("a log that was written anew under the numbers of before is told, and its copies stay", async () => {
  const copies = open();
  await write(3);
  await turn(copies, [plan()], 5);
  const before = list().map((name) => readFileSync(join(folder(), name), "utf8"));
  const lines = readFileSync(path(), "utf8").split("\n");
  writeFileSync(path(), `${lines[0]}\n${lines[1]}\n${lines[2]?.replace("restart", "nothing")}\n`);
  await turn(copies, [plan()], 24 * 60);
  expect(copies.notes.map(({ text }) => text).join("")).toContain(
    "line 3 of the audit log is not the one that was copied",
  );
  expect(list().map((name) => readFileSync(join(folder(), name), "utf8"))).toEqual(before);
});

test("a node that was built anew begins another log beside the old one, and both hold", async () => {
  await write(3);
  await turn(open(), [plan()], 5);
  await log.close();
  rmSync(join(root, "state"), { recursive: true });
  await clock.advance(DAY_MS);
  log = new AuditLog({ path: path(), clock, onTrouble: () => undefined });
  await log.open();
  await write(2);
  await turn(open(), [plan()], 5);
  expect(await verifyCopies({ from: folder() })).toBe(0);
  expect(said.join("").match(/the chain holds/g)).toHaveLength(2);
});

test("the local repository gets none: it lies on the disk of the log itself", async () => {
  await write(3);
  const copies = open();
  await turn(copies, [buildStorePlan()], 24 * 60);
  expect(requests).toEqual([]);
  expect(copies.notes).toEqual([]);
});
