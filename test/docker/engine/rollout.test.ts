// Rollouts on the real engine: a release that is bad in each of the ways releases are bad gives way to the last good one,
// and a job that another service requires has ended before that one starts.

import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { docker } from "../../builders/engine/docker-cli.ts";
import { buildHttpd, IMAGE, RealNode } from "../../../scripts/lab/engine/real-node.ts";

const node = new RealNode("rollout");

/** A service that has six seconds to get healthy, and is good after one and a half. */
function release(parts: Parameters<typeof buildHttpd>[0] = {}): string {
  const text = buildHttpd({ health: 'http = { port = 8080, path = "/passwd" }\nstart_period = "10s"', ...parts });
  return text.replace('settle = "1s"', 'settle = "1500ms"\nhealthy_within = "6s"');
}

const GOOD = release({ tables: '[env]\nRELEASE = "good"\n' });

/** The release that runs, by its environment. */
async function running(): Promise<string | undefined> {
  const row = (await node.of("app")).find((entry) => entry.status === "running");
  if (row === undefined) return undefined;
  return /RELEASE=(\w+)/.exec(await docker("inspect", "-f", "{{.Config.Env}}", row.id))?.[1];
}

beforeAll(async () => {
  node.set({ app: GOOD });
  await node.start();
  await node.untilSettled(["app"]);
});

afterAll(() => node.dispose());

const BAD: [name: string, manifest: string][] = [
  ["its image is in no registry", release({ image: "127.0.0.1:9/nobody/nothing:1" })],
  ["its program is not in the image", release({ command: '["/bin/no-such-program"]' })],
  ["it exits at once", release({ command: '["/bin/sh", "-c", "exit 3"]' })],
  ["it asks for a kernel setting that is not there", release({ tables: '[sysctls]\n"net.ipv4.nonsense" = "1"\n' })],
  ["it never gets healthy", release({ command: '["/bin/sleep", "600"]' })],
];

describe("a bad release gives way to the last good one", () => {
  // A registry that does not answer is no fault of the release: that one waits instead.
  test.each(BAD.slice(1))("%s", async (_name, manifest) => {
    const before = await node.idOf("app");
    node.set({ app: manifest });
    await node.until("rolled back", () => node.view("app")?.state === "rolled-back");
    await node.until("the good one runs", async () => (await running()) === "good");
    expect(await node.idOf("app")).toBe(before);
    expect(node.view("app")?.reason).toMatch(/^rolled back to dir:\w+: /);
    await node.until("the bad one is gone", async () => (await node.of("app")).length === 1);
    node.set({ app: GOOD });
    await node.untilSettled(["app"]);
  });

  test("a registry that does not answer is no fault of the release: the old one serves meanwhile", async () => {
    const before = await node.idOf("app");
    node.set({ app: BAD[0]?.[1] });
    await node.until("it waits for its retry", () => node.view("app")?.state === "backoff");
    await new Promise((resolve) => setTimeout(resolve, 7_000));
    expect(node.view("app")?.state).not.toBe("rolled-back");
    expect([await running(), await node.idOf("app")]).toEqual(["good", before]);
    node.set({ app: GOOD });
    await node.untilSettled(["app"]);
  });
});

test("a port that another program holds: the good one is never stopped, the reason names the port, and it is rolled back", async () => {
  const server = createServer().listen({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const [good] = (await node.of("app")).map((row) => row.id);
  const before = await node.engine.reader.inspectContainer(good ?? "");
  node.set({ app: release({ top: `ports = ["127.0.0.1:${port}:8080"]` }) });
  await node.until("it waits", () => node.view("app")?.state === "backoff");
  expect(node.view("app")?.reason).toContain(`host port 127.0.0.1:${port}/tcp is held by another program on this host`);
  await node.until("rolled back", () => node.view("app")?.state === "rolled-back");
  expect((await node.engine.reader.inspectContainer(good ?? ""))?.startedMs).toBe(before?.startedMs);
  server.close();
  await once(server, "close");
  // What is held by no one any more goes in when a person asks for it.
  node.agent.request({ kind: "sync", retry: "app", allowRemoval: undefined, actor: { uid: 0, user: "root" } });
  await node.until("another one runs", async () => {
    const row = (await node.of("app")).find((entry) => entry.status === "running");
    return row !== undefined && row.id !== good;
  });
  await node.untilSettled(["app"]);
  node.set({ app: GOOD });
  await node.untilSettled(["app"]);
});

test("a @once job ends before what requires it starts, and does not run again", async () => {
  const job = `image = "${IMAGE}"\ncommand = ["/bin/sh", "-c", "sleep 1; echo migrated"]\nschedule = "@once"\n[resources]\nmemory = "16MiB"\n`;
  node.set({ migrate: job, web: release({ top: 'requires = ["migrate"]' }) });
  await node.untilSettled(["web"]);
  const [task] = await node.of("migrate");
  const [web] = await node.of("web");
  const read = async (id: string | undefined): Promise<{ startedMs: number; finishedMs: number }> => {
    const detail = await node.engine.reader.inspectContainer(id ?? "");
    return { startedMs: detail?.startedMs ?? 0, finishedMs: detail?.finishedMs ?? 0 };
  };
  expect((await read(web?.id)).startedMs).toBeGreaterThan((await read(task?.id)).finishedMs);
  expect(node.view("migrate")).toMatchObject({ state: "completed", settled: true });
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  expect((await node.of("migrate")).map((row) => row.id)).toEqual([task?.id]);
});
