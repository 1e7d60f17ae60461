// Logs and exec over the unix socket: frames that keep streams apart, nobody served without a uid, no memory taken by a reader
// that does not keep up.

import { readFileSync } from "node:fs";
import { request as requestHttp } from "node:http";
import { join } from "node:path";
import type { Duplex } from "node:stream";

import { afterEach, describe, expect, test } from "vitest";

import type { DockerReader } from "../../../agent/docker/reader.ts";
import { systemClock } from "../../../agent/host/os/clock.ts";
import type { AuditEntry } from "../../../agent/report/audit/audit-chain.ts";
import {
  encodeFrame,
  EXEC_PROTOCOL,
  FRAME,
  FRAMES_TYPE,
  type FrameType,
  FrameReader,
} from "../../../shared/text/frames.ts";
import { type ReportChoices, TestReport, UID } from "../../builders/node/report.ts";
import { buildView, containerOf } from "../../builders/node/turns.ts";
import { FakeEngine } from "../../fakes/fake-engine.ts";

let running: TestReport[] = [];

afterEach(async () => {
  for (const report of running) await report.dispose();
  running = [];
});

async function start(choices: ReportChoices = {}): Promise<TestReport> {
  const report = new TestReport(choices);
  running.push(report);
  await report.start();
  report.turn({ views: [buildView("web"), buildView("idle", { container: undefined })] });
  return report;
}

function readAudit(report: TestReport): AuditEntry[] {
  try {
    const text = readFileSync(join(report.stateDir, "audit.jsonl"), "utf8");
    return text
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as AuditEntry);
  } catch {
    return [];
  }
}

const noUid: ReportChoices = { serving: { credentials: () => Promise.resolve(undefined) } };

describe("logs", () => {
  const reader = (followLogs: DockerReader["followLogs"]): ReportChoices => ({
    parts: { reader: { ...new FakeEngine(systemClock).reader, followLogs } },
  });

  test("where none is known it is said why: there is none, or the engine is away", async () => {
    const report = await start(reader(() => Promise.resolve()));
    const idle = await report.onSocket("/v1/services/idle/logs");
    expect([idle.status, idle.body]).toEqual([409, expect.stringContaining("idle has no container (it is healthy)")]);
    const engine = { reachable: false, reason: "connect ENOENT" } as const;
    report.turn({ views: [buildView("web", { container: undefined, state: "unknown" })], engine });
    const away = await report.onSocket("/v1/services/web/logs");
    expect([away.status, away.body]).toEqual([
      409,
      expect.stringContaining("the engine does not answer, so nobody knows the container of web: connect ENOENT"),
    ]);
  });

  test("keep stdout and stderr apart, from the service's own container", async () => {
    const asked: unknown[] = [];
    const report = await start(
      reader((id, { tail, follow, onChunk }) => {
        asked.push([id, tail, follow]);
        onChunk(Buffer.from("out\n"), "stdout");
        onChunk(Buffer.from("err\n"), "stderr");
        return Promise.resolve();
      }),
    );
    const headers = { accept: FRAMES_TYPE };
    const { body } = await report.onSocket({ path: "/v1/services/web/logs?tail=5&follow=1", headers });
    const frames = new FrameReader().push(Buffer.from(body));
    expect(frames.map(({ type, payload }) => [type, payload.toString()])).toEqual([
      [FRAME.stdout, "out\n"],
      [FRAME.stderr, "err\n"],
    ]);
    expect(asked).toEqual([[containerOf("web"), 5, true]]);
    expect((await report.onSocket("/v1/services/web/logs")).body).toBe("out\nerr\n");
  });

  test("end when the reader leaves", async () => {
    let ended = false;
    const report = await start(
      reader(
        (_id, { signal }) =>
          new Promise((resolve) => {
            signal.addEventListener("abort", () => {
              ended = true;
              resolve();
            });
          }),
      ),
    );
    await report.onSocket({ path: "/v1/services/web/logs?follow=1", withinMs: 100 });
    await expect.poll(() => ended).toBe(true);
  });

  test("a reader that does not keep up is let go before the agent's memory is full", async () => {
    let taken = 0;
    const report = await start(
      reader(async (_id, { signal, onChunk }) => {
        for (; taken < 200 && !signal.aborted; taken += 1) onChunk(Buffer.alloc(2 ** 20, "x"), "stdout");
      }),
    );
    const paused = new Promise<void>((resolve) => {
      const request = requestHttp(
        { socketPath: report.socketPath, path: "/v1/services/web/logs", agent: false },
        (response) => {
          response.pause();
          setTimeout(() => {
            request.destroy();
            resolve();
          }, 200);
        },
      );
      request.on("error", () => resolve());
      request.end();
    });
    await paused;
    expect(taken).toBeGreaterThan(5);
    expect(taken).toBeLessThan(20);
  });

  test.each([
    ["/v1/services/nobody/logs", 404],
    ["/v1/services/idle/logs", 409],
    ["/v1/services/web/logs?tail=x", 400],
    ["/v1/services/web/logs?tail=-1", 400],
  ])("%s is answered with %d", async (path, status) =>
    expect((await (await start()).onSocket(path)).status).toBe(status),
  );

  test("an engine that fails in the middle is said", async () => {
    const report = await start(reader(() => Promise.reject(new Error("follow logs: no such container"))));
    expect((await report.onSocket("/v1/services/web/logs")).body).toBe("orca: follow logs: no such container\n");
  });
});

describe("exec", () => {
  /** Upgrades, sends frames, and answers what came back until the agent ended the connection; or the refusal. */
  function exec(
    report: TestReport,
    service: string,
    frames: readonly (readonly [FrameType, unknown])[],
  ): Promise<(readonly [FrameType, string])[] | number> {
    return new Promise((resolve, reject) => {
      const request = requestHttp({
        socketPath: report.socketPath,
        path: `/v1/services/${service}/exec`,
        headers: { connection: "Upgrade", upgrade: EXEC_PROTOCOL },
      });
      request.once("response", (response) => resolve(response.statusCode ?? 0));
      request.once("error", reject);
      request.once("upgrade", (_response, stream: Duplex, head: Buffer) => {
        const reader = new FrameReader();
        const came = reader.push(head);
        stream.on("data", (chunk: Buffer) => came.push(...reader.push(chunk)));
        stream.on("end", () => resolve(came.map(({ type, payload }) => [type, payload.toString()] as const)));
        for (const [type, payload] of frames) stream.write(encodeFrame(type, payload as string));
      });
      request.end();
    });
  }

  test("input, output, terminal size and exit code go through, and the command is recorded first", async () => {
    const report = await start();
    const start_ = { command: ["psql", "-c", "select 1"], tty: true, stdin: true, size: { columns: 120, rows: 40 } };
    const came = await exec(report, "web", [
      [FRAME.start, start_],
      [FRAME.stdin, "hello"],
      [FRAME.resize, { columns: 80, rows: 24 }],
      [FRAME.end, ""],
    ]);
    expect(came).toEqual([
      [FRAME.stderr, "to stderr"],
      [FRAME.stdout, "120x40"],
      [FRAME.stdout, "hello"],
      [FRAME.stdout, "80x24"],
      [FRAME.exit, '{"code":7}'],
    ]);
    expect(report.opened).toMatchObject([
      { container: containerOf("web"), options: { command: start_.command, tty: true } },
    ]);
    expect(readAudit(report)).toMatchObject([
      {
        actor: { kind: "user", uid: UID },
        action: "exec",
        what: { service: "web", command: start_.command, tty: true },
      },
    ]);
  });

  test("without -i the command's input ends at once", async () => {
    const report = await start();
    const came = await exec(report, "web", [[FRAME.start, { command: ["cat"], tty: false, stdin: false }]]);
    expect(came).toContainEqual([FRAME.exit, '{"code":7}']);
  });

  test("is refused without a uid, without a service, without a container", async () => {
    const nameless = await start(noUid);
    expect(await exec(nameless, "web", [[FRAME.start, { command: ["id"], tty: false, stdin: false }]])).toBe(403);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([nameless.opened, readAudit(nameless)]).toEqual([[], []]);
    const report = await start();
    expect(await exec(report, "nobody", [])).toBe(404);
    expect(await exec(report, "idle", [])).toBe(409);
    expect(readAudit(report)).toEqual([]);
  });

  test.each([
    [[FRAME.stdin, "x"]],
    [[FRAME.start, { command: [] }]],
    [[FRAME.start, { command: [""] }]],
    [[FRAME.start, { command: "sh" }]],
    [[FRAME.start, { command: ["a\0b"] }]],
    [[FRAME.start, "{"]],
  ] as const)("the first frame %j runs nothing", async (frame) => {
    const report = await start();
    const came = await exec(report, "web", [frame]);
    expect(came).toMatchObject([[FRAME.error, expect.any(String)]]);
    expect([report.opened, readAudit(report)]).toEqual([[], []]);
  });

  test("what is no frame ends it", async () => {
    const report = await start();
    const came = await exec(report, "web", [
      [FRAME.start, { command: ["cat"], tty: false, stdin: true }],
      [99 as FrameType, "x"],
    ]);
    expect(came).toContainEqual([FRAME.error, expect.stringContaining("no frame")]);
  });

  test("a value that was typed runs as it is, and is not in the log", async () => {
    const report = await start({ parts: { redact: (text: string) => text.replaceAll("correct-horse", "[REDACTED]") } });
    const command = ["psql", "postgres://app:correct-horse@db/app"];
    await exec(report, "web", [[FRAME.start, { command, tty: false, stdin: false }]]);
    expect(report.opened[0]?.options.command).toEqual(command);
    expect(readAudit(report)).toMatchObject([{ what: { command: ["psql", "postgres://app:[REDACTED]@db/app"] } }]);
  });

  test("a long command is cut in the log, not in the container", async () => {
    const report = await start();
    const command = ["sh", "-c", "x".repeat(5_000)];
    await exec(report, "web", [[FRAME.start, { command, tty: false, stdin: false }]]);
    expect(report.opened[0]?.options.command).toEqual(command);
    expect(JSON.stringify(readAudit(report)).length).toBeLessThan(3_000);
  });
});
