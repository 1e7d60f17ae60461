// A start that fails: what can be judged is judged before anything is stopped, the time of a release that does not start is counted, and
// what lies at the engine or the host is waited for and never rolled back.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { printPreview } from "../../../agent/cli/plan/plan-agent.ts";
import { listChanges } from "../../../agent/plan/compare/changes.ts";
import { shortenAnswer } from "../../../agent/docker/engine-answer.ts";
import { policySchema } from "../../../shared/policy/policy.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";
import type { FakeContainer } from "../../fakes/fake-container.ts";

let node: TestNode;

const UPDATE = '[update]\nhealthy_within = "1m"\nsettle = "5s"\n';
const SOURCE = "/srv/data";
const NO_BACKUP = 'backup = { none = "a test" }';
const BIND = `[[volumes]]\nsource = "${SOURCE}"\ntarget = "/data"\nread_only = true\n`;

beforeEach(() => {
  const policy = policySchema.parse({ mounts: { allowed_prefixes: ["/srv"] } });
  node = new TestNode({ settings: { policy } });
});

afterEach(() => node.dispose());

/** The good release, and the one that takes its place. */
function release(image: string, parts: { top?: string; tables?: string } = {}): string {
  return buildManifest({ image, top: parts.top ?? "", tables: `${UPDATE}${parts.tables ?? ""}` });
}

async function bringUp(manifest: string): Promise<FakeContainer> {
  node.source.set({ app: manifest });
  await node.start();
  await node.untilSettled(["app"]);
  const container = node.engine.running("app");
  if (container === undefined) throw new Error("app does not run");
  node.engine.calls.length = 0;
  return container;
}

/** What was stopped and started since the service came up. */
function moves(): string[] {
  return node.engine.calls
    .map(({ call }) => call)
    .filter((call) => call === "stopContainer" || call === "startContainer");
}

const PORTS = 'ports = ["127.0.0.1:8080:80", "127.0.0.1:9090:90"]';

describe("a host port that somebody else holds", () => {
  test("a program: the old release is never stopped, the reason names the port, and its time ends in a rollback", async () => {
    const good = await bringUp(release("app:1", { top: 'ports = ["127.0.0.1:8080:80"]' }));
    node.engine.host.heldPorts.add("127.0.0.1:9090:1");
    node.source.set({ app: release("app:2", { top: PORTS }) });
    await node.until("backoff", ["app"], 20_000);
    expect(node.view("app").reason).toMatch(
      /^it cannot start: host port 127\.0\.0\.1:9090\/tcp is held by another program on this host .*; dir:[0-9a-f]{12} (?:still runs|runs on)/,
    );
    await node.until("rolled-back", ["app"], 90_000);
    expect(node.view("app").reason).toMatch(/did not settle within 1m: host port 127\.0\.0\.1:9090\/tcp is held/);
    await node.clock.advance(600_000);
    expect(moves()).toEqual([]);
    expect(node.engine.running("app")?.id).toBe(good.id);
    expect(good.run).toBe(1);
  });

  test("a container: its name is said, and the release goes in as soon as the port is free", async () => {
    await bringUp(release("app:1", { top: 'ports = ["127.0.0.1:8080:80"]' }));
    const foreign = node.engine.addForeign("legacy", { ports: ["0.0.0.0:9090:1"] });
    node.source.set({ app: release("app:2", { top: PORTS }) });
    await node.until("backoff", ["app"], 20_000);
    expect(node.view("app").reason).toContain("is held by the container legacy, which was not made by Orca");
    expect(node.engine.running("app")?.image).toBe("app:1");
    node.engine.containers.delete(foreign.id);
    await node.untilSettled(["app"], 60_000);
    expect(node.engine.running("app")?.image).toBe("app:2");
  });

  test("a program at a first start: the agent's plan and one made beside it say the same of it", async () => {
    node.engine.host.heldPorts.add("127.0.0.1:9090:1");
    node.source.set({ app: release("app:1", { top: PORTS }) });
    await node.start();
    await node.until("backoff", ["app"], 20_000);
    const preview = await node.agent.preview();
    const { desired, observed } = node.turn;
    if (desired === undefined || !observed.engine.reachable) throw new Error("nothing was planned");
    const { engine, host, files } = observed;
    const here = { engine, files, services: {}, obstacles: host.obstacles };
    const beside = listChanges({ kind: "observed", observed: here }, desired);
    expect(preview.changes).toEqual(beside);
    expect(beside).toMatchObject([{ service: "app", facts: [{ code: "container" }, { code: "obstacle" }] }]);
    expect(printPreview(preview)).toMatch(
      /\n {2}\^ app {7}started: its container is created; it cannot start: host port 127\.0\.0\.1:9090\/tcp is held by another program/,
    );
  });

  test("two services of this node that swap their ports are not in each other's way", async () => {
    const one = (port: number): string => release("app:1", { top: `ports = ["127.0.0.1:${port}:80"]` });
    node.source.set({ a: one(8_080), b: one(9_090) });
    await node.start();
    await node.untilSettled(["a", "b"]);
    node.source.set({ a: one(9_090), b: one(8_080) });
    await node.clock.advance(5_000);
    await node.untilSettled(["a", "b"], 60_000);
    expect(node.engine.running("a")?.ports[0]?.hostPort).toBe(9_090);
    expect(node.engine.running("b")?.ports[0]?.hostPort).toBe(8_080);
  });

  test("taken in the moment between the stop and the start: the old release is back within its time", async () => {
    await bringUp(release("app:1", { top: 'ports = ["127.0.0.1:8080:80"]' }));
    node.engine.latencyMs.startContainer = 2_000;
    node.source.set({ app: release("app:2", { top: PORTS }) });
    await node.clock.advanceUntil(() => moves().includes("stopContainer"), 20_000, "the stop");
    node.engine.host.heldPorts.add("127.0.0.1:9090:1");
    await node.until("rolled-back", ["app"], 120_000);
    expect(node.engine.running("app")?.image).toBe("app:1");
    expect(node.view("app").reason).toMatch(/did not settle within 1m: .*address already in use/);
  });
});

describe("a bind source that is missing", () => {
  test("from the beginning: nothing is stopped, and its time ends in a rollback", async () => {
    await bringUp(release("app:1"));
    node.engine.host.missingSources.add(SOURCE);
    node.source.set({ app: release("app:2", { top: NO_BACKUP, tables: BIND }) });
    await node.until("backoff", ["app"], 20_000);
    expect(node.view("app").reason).toContain(SOURCE);
    await node.until("rolled-back", ["app"], 120_000);
    expect(node.view("app").reason).toContain("bind source path does not exist");
    expect(moves()).toEqual([]);
  });

  test("in place before its time is over: the release goes in", async () => {
    await bringUp(release("app:1"));
    node.engine.host.missingSources.add(SOURCE);
    node.source.set({ app: release("app:2", { top: NO_BACKUP, tables: BIND }) });
    await node.until("backoff", ["app"], 20_000);
    node.engine.host.missingSources.clear();
    await node.untilSettled(["app"], 60_000);
    expect(node.engine.running("app")?.image).toBe("app:2");
  });

  test("lost under a service that runs: no restart in place ends it, whoever asks for one", async () => {
    const files = '[[files]]\nsource = "files/app.conf"\ntarget = "/etc/app.conf"\non_change = "restart"\n';
    node.source.setFile("files/app.conf", "one");
    const running = await bringUp(release("app:1", { top: NO_BACKUP, tables: `${BIND}${files}` }));
    node.engine.host.missingSources.add(SOURCE);
    node.source.setFile("files/app.conf", "two");
    await node.clock.advance(30_000);
    node.agent.request({ kind: "restart", service: "app", actor: { uid: 0, user: "root" } });
    await node.clock.advance(30_000);
    expect(node.view("app").notes.join()).toContain(`the bind source ${SOURCE} does not exist on this host`);
    node.sick.add(running.id);
    await node.until("unhealthy", ["app"]);
    expect(node.view("app").reason).toContain("it is not restarted, since it could not start");
    expect(moves()).toEqual([]);
    node.sick.clear();
    node.engine.host.missingSources.clear();
    await node.clock.advanceUntil(() => running.run > 1, 60_000, "the restart that was asked for");
  });
});

/** Answers of a start, by what they are and whether the release is to blame for them. */
const ANSWERS: Record<string, { says: string; status: number; goesBack: boolean }> = {
  "a kernel setting that is not there": {
    says: "OCI runtime create failed: open /proc/sys/net/ipv4/nonsense: no such file or directory: unknown",
    status: 400,
    goesBack: true,
  },
  "a limit that the host does not allow": {
    says: "OCI runtime create failed: error setting rlimit type 7: operation not permitted: unknown",
    status: 500,
    goesBack: true,
  },
  "a log driver that cannot be reached": {
    says: "failed to initialize logging driver: dial tcp 127.0.0.1:9: connect: connection refused",
    status: 500,
    goesBack: true,
  },
  "an answer that nobody knows": { says: "something is wrong", status: 500, goesBack: true },
  "a containerd that is away": {
    says: 'connection error: desc = "transport: error while dialing: dial unix /run/containerd.sock"',
    status: 500,
    goesBack: false,
  },
  "a host without memory": { says: "OCI runtime create failed: cannot allocate memory", status: 500, goesBack: false },
  "a full disk": { says: "write /var/lib/docker: no space left on device", status: 500, goesBack: false },
};

test.each(Object.entries(ANSWERS))("the engine answers a start with %s", async (_name, { says, status, goesBack }) => {
  await bringUp(release("app:1"));
  node.engine.images.set("bad:1", { startFails: says, startStatus: status });
  node.source.set({ app: release("bad:1") });
  if (goesBack) {
    await node.until("rolled-back", ["app"], 120_000);
    expect(node.engine.running("app")?.image).toBe("app:1");
    expect(node.view("app").reason).toContain(shortenAnswer(says));
    return;
  }
  await node.clock.advance(600_000);
  expect(node.view("app").reason).toContain(shortenAnswer(says));
  expect(node.view("app").reason).not.toContain("rolled back");
  node.engine.images.set("bad:1", {});
  await node.untilSettled(["app"], 310_000);
  expect(node.engine.running("app")?.image).toBe("bad:1");
});

test("a start_period longer than healthy_within: judged when it is over, without waiting for a turn that comes by chance", async () => {
  await bringUp(release("app:1"));
  node.engine.images.set("bad:1", { healthyAfterMs: Number.POSITIVE_INFINITY });
  const health = 'tcp = { port = 80 }\nstart_period = "65s"\ninterval = "10m"';
  node.source.set({ app: buildManifest({ image: "bad:1", health, tables: UPDATE }) });
  await node.clock.advanceUntil(() => node.engine.running("app")?.image === "bad:1", 20_000, "the new one");
  const begunMs = node.clock.nowMs();
  await node.until("rolled-back", ["app"], 120_000);
  expect(node.clock.nowMs() - begunMs).toBeLessThan(67_000);
});
