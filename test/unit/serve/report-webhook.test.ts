// What the report shows of the webhook: in the status, the metrics and the log, and that a push's id is found again.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { systemClock } from "../../../agent/host/os/clock.ts";
import type { StatusDocument } from "../../../shared/document/status-document.ts";
import { TestReport } from "../../builders/node/report.ts";
import { buildView, NOW_MS } from "../../builders/node/turns.ts";

let report: TestReport;
const views = [buildView("web")];

beforeEach(async () => {
  report = await new TestReport().start();
});
afterEach(() => report.dispose());

function push(status: number, id: string, quiet = false, atMs = NOW_MS): void {
  report.report.emit({ kind: "push", atMs, id, status, said: `said of ${id}`, quiet, more: 0 });
}

function listen(trouble?: string): void {
  report.report.emit({ kind: "webhook", atMs: NOW_MS, listen: "10.0.0.10:7071", trouble });
}

function logged(): Record<string, unknown>[] {
  return report.log
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function readStatus(): Promise<StatusDocument> {
  return JSON.parse((await report.get({ path: "/v1/status" })).body) as StatusDocument;
}

test("a node without a webhook shows none", async () => {
  report.turn({ views });
  push(202, "early");
  expect((await readStatus()).webhook).toBe(null);
  expect((await report.get("/metrics")).body).not.toContain("orca_webhook_requests_total{");
});

test("counts and the last answer are in the status and the metrics", async () => {
  listen();
  push(202, "first");
  push(200, "second");
  push(401, "third");
  push(413, "fourth", true, NOW_MS + 1_000);
  expect((await readStatus()).webhook).toEqual({
    listen: "10.0.0.10:7071",
    trouble: null,
    accepted: 1,
    ignored: 1,
    refused: 2,
    polled: 0,
    last: { id: "fourth", at: new Date(NOW_MS + 1_000).toISOString(), status: 413, said: "said of fourth" },
  });
  const { body } = await report.get("/metrics");
  expect(body).toContain('orca_webhook_requests_total{node="vm1",answer="refused"} 2');
  expect(body).toContain(`orca_webhook_last_timestamp_seconds{node="vm1"} ${NOW_MS / 1_000 + 1}`);
});

test("refusals that were told together are counted each", async () => {
  listen();
  const event = { kind: "push", atMs: NOW_MS, id: "a", said: "no", quiet: true } as const;
  report.report.emit({ ...event, status: 401, more: 40 });
  report.report.emit({ ...event, status: 202, more: 2 });
  expect((await readStatus()).webhook).toMatchObject({ accepted: 1, ignored: 0, refused: 43 });
});

test("what keeps it from taking pushes is a note until it is over; turned off, it is gone", async () => {
  listen("pushes are refused: /etc/orca/webhook-secret is empty");
  expect((await readStatus()).notes).toContain("the webhook: pushes are refused: /etc/orca/webhook-secret is empty");
  push(503, "first");
  listen();
  const status = await readStatus();
  expect(status.notes).toEqual([]);
  expect(status.webhook).toMatchObject({ trouble: null, refused: 1 });
  report.report.emit({ kind: "webhook", atMs: NOW_MS, listen: undefined, trouble: undefined });
  expect((await readStatus()).webhook).toBe(null);
});

test("a push's id is logged with the revision that was read after it, once", () => {
  listen();
  report.turn({ views, source: { revision: "b".repeat(40), readMs: NOW_MS } });
  push(202, "first", false, NOW_MS + 1_000);
  push(202, "second", false, NOW_MS + 2_000);
  report.turn({ views, source: { revision: "b".repeat(40), readMs: NOW_MS + 500 } });
  // What was under way when it came does not count as read after it.
  report.turn({ views, source: { revision: "b".repeat(40), readMs: NOW_MS + 1_500, refreshing: true } });
  report.turn({ views, source: { revision: "c".repeat(40), readMs: NOW_MS + 1_500 } });
  report.turn({ views, source: { revision: "c".repeat(40), readMs: NOW_MS + 2_500 } });
  report.turn({ views, source: { revision: "d".repeat(40), readMs: NOW_MS + 3_000 } });
  const lines = logged().filter(({ msg }) => /revision/.test(String(msg)));
  expect(lines.map(({ revision, pushes, msg }) => [String(revision)[0], pushes, msg])).toEqual([
    ["b", undefined, "a revision is in force"],
    ["c", ["first"], "a revision is in force"],
    ["c", ["second"], "the source was read; the revision stays"],
    ["d", undefined, "a revision is in force"],
  ]);
});

test("what is told between two turns says nothing again of a push that was answered", () => {
  listen();
  report.turn({ views, source: { revision: "b".repeat(40), readMs: NOW_MS } });
  push(202, "first", false, NOW_MS + 1_000);
  report.turn({ views, source: { revision: "c".repeat(40), readMs: NOW_MS + 2_000 } });
  for (let step = 0; step < 5; step += 1)
    report.report.emit({ kind: "settled", atMs: NOW_MS, service: "web", revision: "c".repeat(40) });
  report.turn({ views, source: { revision: "c".repeat(40), readMs: NOW_MS + 3_000 } });
  const lines = logged().filter((line) => JSON.stringify(line).includes("first"));
  expect(lines.map(({ msg }) => msg)).toEqual(["a push was received", "a revision is in force"]);
});

test("a push of another repository is a note until one of the right one comes", async () => {
  listen();
  const event = { kind: "push", id: "a", status: 202, said: "a push", quiet: false, more: 0 } as const;
  report.report.emit({ ...event, atMs: NOW_MS, doubt: "the newest push is of another" });
  expect((await readStatus()).notes).toEqual(["the webhook: the newest push is of another"]);
  report.report.emit({ ...event, atMs: NOW_MS });
  expect((await readStatus()).notes).toEqual([]);
});

describe("commits that come by polling", () => {
  let nowMs: number;
  beforeEach(async () => {
    await report.dispose();
    nowMs = NOW_MS;
    report = await new TestReport({ clock: { ...systemClock, nowMs: () => nowMs, monotonicMs: () => nowMs } }).start();
  });
  const newest = (letter: string, readMs: number): void => {
    const revision = letter.repeat(40);
    report.turn({ views, source: { revision, readMs, newest: { revision, inputs: letter } } });
  };
  const silence = async (): Promise<string[]> =>
    (await readStatus()).notes.filter((note) => note.includes("by polling"));

  test("while no push ever did are a note that names Gitea's setting, once a push is late", async () => {
    listen();
    newest("b", NOW_MS + 1_000);
    nowMs += 120_000;
    expect(await silence()).toEqual([]);
    newest("c", NOW_MS + 120_000);
    expect(await silence()).toEqual([]);
    nowMs += 61_000;
    expect(await silence()).toEqual([
      expect.stringMatching(
        /^the webhook: 1 commit came by polling, and no push ever did: .*Gitea refuses private addresses .*ALLOWED_HOST_LIST = external,private/,
      ),
    ]);
    expect((await readStatus()).webhook).toMatchObject({ polled: 1 });
    newest("d", NOW_MS + 200_000);
    nowMs += 120_000;
    push(401, "wrong");
    expect(await silence()).toEqual([
      "the webhook: 2 commits came by polling, and every request to 10.0.0.10:7071 was refused, the last one with 401 (said of wrong)",
    ]);
    push(200, "another branch");
    expect(await silence()).toEqual([]);
  });

  test("say nothing where they may have been pushed before the webhook listened, or pushes are known to come", async () => {
    newest("a", NOW_MS - 1_000);
    listen();
    newest("b", NOW_MS + 1_000);
    nowMs += 120_000;
    expect(await silence()).toEqual([]);
    push(202, "one");
    newest("c", NOW_MS + 2_000);
    nowMs += 120_000;
    expect(await silence()).toEqual([]);
  });
});

test("refusals that were told a moment ago are logged for debugging only", () => {
  listen();
  push(401, "first");
  push(401, "second", true);
  push(200, "third");
  const lines = logged().filter((line) => line["push"] !== undefined);
  expect(lines.map((line) => [line["push"], line["level"]])).toEqual([
    ["first", "warn"],
    ["second", "debug"],
    ["third", "debug"],
  ]);
});
