// Acts by the kernel's word: who is on the socket is asked from the kernel, for real users. And the whole way of a restart: from
// a person through the audit log and the loop to the engine.

import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import type { AuditLine } from "../../../agent/report/audit/audit-chain.ts";
import type { StatusDocument } from "../../../shared/document/status-document.ts";
import type { WhyDocument } from "../../../shared/document/why-document.ts";
import { ask } from "../../builders/node/report.ts";
import { buildHttpd } from "../../../scripts/lab/engine/real-node.ts";
import { RealReport } from "../../builders/engine/real-report.ts";

/** Nobody has these numbers. */
const STRANGER = 54_321;

let agent: RealReport;

beforeAll(async () => {
  agent = new RealReport("acts");
  agent.node.set({ web: buildHttpd({ tables: '[env]\nTOKEN = "CANARY-ENV"' }) });
  await agent.start();
  await agent.node.untilSettled(["web"]);
});
afterAll(() => agent.dispose());

/** Another user, in the socket's group or in none. */
function asUser(uid: number, ...groups: number[]): string[] {
  const supplementary = groups.length === 0 ? ["--clear-groups"] : ["--groups", groups.join(",")];
  return ["setpriv", "--reuid", String(uid), "--regid", String(uid), ...supplementary];
}

function readAudit(): AuditLine[] {
  const text = readFileSync(join(agent.stateDir, "audit.jsonl"), "utf8");
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as AuditLine);
}

describe("who acts", () => {
  test("root is uid 0, a member of the socket's group is itself and not root", async () => {
    const { gid } = statSync(agent.socketPath);
    expect((await agent.orca(["pause", "web"])).code).toBe(0);
    expect((await agent.orca(["resume", "web"], { as: asUser(STRANGER, gid) })).code).toBe(0);
    expect((await agent.orca(["pause"], { as: asUser(STRANGER + 1, gid) })).code).toBe(0);
    expect((await agent.orca(["resume"])).code).toBe(0);
    const acts = readAudit().filter(({ action }) => action === "pause" || action === "resume");
    expect(acts.map(({ action, actor }) => [action, actor])).toEqual([
      ["pause", { kind: "user", uid: 0, user: "root" }],
      ["resume", { kind: "user", uid: STRANGER }],
      ["pause", { kind: "user", uid: STRANGER + 1 }],
      ["resume", { kind: "user", uid: 0, user: "root" }],
    ]);
  });

  test("somebody outside the group is told how to get in, and may still read on loopback", async () => {
    const lines = readAudit().length;
    const act = await agent.orca(["restart", "web"], { as: asUser(STRANGER) });
    expect([act.code, act.stderr]).toEqual([4, expect.stringContaining("use sudo, or join the group orca")]);
    expect(readAudit()).toHaveLength(lines);
  });
});

describe("a restart by a person", () => {
  test("is done, and everything says who asked", async () => {
    const before = await agent.node.engine.reader.inspectContainer(await agent.node.idOf("web"));
    const begunMs = Date.now();
    expect((await agent.orca(["restart", "web"])).code).toBe(0);
    await agent.node.until("web was restarted", async () => {
      const now = await agent.node.engine.reader.inspectContainer((await agent.node.of("web"))[0]?.id ?? "");
      return (now?.startedMs ?? 0) > Math.max(begunMs, before?.startedMs ?? 0);
    });
    await agent.node.untilSettled(["web"]);
    const asked = readAudit().findLast(({ action }) => action === "restart");
    const started = readAudit().findLast(({ action }) => action === "start-container");
    expect(started).toMatchObject({ actor: { kind: "user", uid: 0 }, result: "ok" });
    expect(started?.seq).toBeGreaterThan(asked?.seq ?? Infinity);
    const { stdout } = await agent.orca(["why", "web"]);
    expect(stdout).toContain("operator: uid 0 asked for a restart");
  });

  test("every mutation has its line, the chain holds, and no value is in it", async () => {
    const verified = await agent.orca(["audit", "verify", "--state", agent.stateDir]);
    expect(verified).toMatchObject({ code: 0, stdout: expect.stringContaining("the chain holds") as string });
    const recorded = readAudit().map(({ action }) => action);
    const done = agent.node.events.flatMap((event) =>
      event.kind === "step-done" && event.changed ? [event.step.kind] : [],
    );
    for (const kind of ["ensure-network", "create-container", "start-container", "stop-container"] as const) {
      expect([kind, recorded.filter((entry) => entry === kind).length]).toEqual([
        kind,
        done.filter((entry) => entry === kind).length,
      ]);
      expect(recorded).toContain(kind);
    }
    expect(readFileSync(join(agent.stateDir, "audit.jsonl"), "utf8")).not.toContain("CANARY");
  });
});

describe("the status of a real node", () => {
  const get = async <T>(path: string): Promise<T> => {
    const [host, port] = (agent.serving.addresses[0] ?? "").split(":");
    return JSON.parse((await ask({ host, port }, { path })).body) as T;
  };

  test("has memory, load, disks and the engine's version", async () => {
    await get<StatusDocument>("/v1/status");
    await new Promise((resolve) => setTimeout(resolve, 2_100));
    const { host, engine, services } = await get<StatusDocument>("/v1/status");
    expect(engine).toMatchObject({ reachable: true, version: expect.stringMatching(/^\d+\./) as string });
    expect(host?.disks[0]).toMatchObject({ path: "/" });
    expect(host?.memoryTotalBytes).toBeGreaterThan(host?.memoryAvailableBytes ?? Infinity);
    expect(host?.cpuLoadPercent).toBeGreaterThanOrEqual(0);
    const [web] = services;
    expect(web).toMatchObject({ health: "healthy", memoryCapBytes: 16 * 2 ** 20 });
    expect(web?.memoryUsedBytes).toBeGreaterThan(10_000);
    expect(web?.memoryUsedBytes).toBeLessThan(16 * 2 ** 20);
  });

  test("an OOM is told by the kernel's record, with advice on the cap", async () => {
    const grow = '["sh", "-c", "sleep 1; x=x; while true; do x=$x$x; done"]';
    agent.node.set({ hog: buildHttpd({ command: grow, memory: "12MiB", health: 'exec = ["true"]' }) });
    await agent.node.until("hog was killed for memory", () =>
      agent.node.events.some((event) => event.kind === "exited" && event.exit.service === "hog" && event.exit.oom),
    );
    const why = await get<WhyDocument>("/v1/why/hog");
    expect(why.exits[0]).toMatchObject({ oom: true, reason: expect.stringContaining("the kernel killed") as string });
    expect(why.memory.suggestion).toMatch(
      /the kernel killed it for memory .* at a cap of 12 MiB.*try memory = "32MiB"/,
    );
    expect(why.output).toBeNull();
  });
});
