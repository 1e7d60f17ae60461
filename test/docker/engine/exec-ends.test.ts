// Commands inside containers end with their time, or with who ran them: probes that hang, commands that tell of new content, and
// `orca exec` whose caller has gone. Else each leaves its processes until the container's pids are used up.

import { afterAll, beforeAll, expect, test } from "vitest";

import { docker } from "../../builders/engine/docker-cli.ts";
import { buildHttpd, IMAGE, RealNode } from "../../../scripts/lab/engine/real-node.ts";

const node = new RealNode("exec-ends");
let id = "";

/** The command lines of the container's processes, less its first one's. */
async function listOthers(container: string): Promise<string[]> {
  const lines = (await docker("top", container, "-o", "pid,args")).split("\n").slice(1);
  return lines
    .map((line) => line.trim().replace(/^\d+\s+/, ""))
    .filter((line) => !/^(\S*\/)?(httpd|sleep 7777)/.test(line));
}

beforeAll(async () => {
  id = await docker("run", "-d", "--label", `orca.node=${node.node}-plain`, IMAGE, "/bin/sleep", "7777");
});

afterAll(async () => {
  await docker("rm", "-f", id);
  await node.dispose();
});

const HANGS = ["/bin/sh", "-c", "sleep 8881 & setsid sleep 8882 & sleep 8883"];

test("a command that hangs is ended at its time, with all that it has started", async () => {
  await expect(node.engine.exec.run(id, HANGS, 400)).rejects.toMatchObject({ status: 408 });
  await expect.poll(() => listOthers(id), { timeout: 20_000 }).toEqual([]);
  expect((await node.engine.exec.run(id, ["/bin/echo", "still there"], 5_000)).output).toBe("still there\n");
});

test("a command of a person who has gone is told to hang up, and killed when it goes on", async () => {
  for (const command of [HANGS, ["/bin/sh", "-c", "trap '' HUP; sleep 8884; sleep 8885"]]) {
    for (const tty of [false, true]) {
      const session = await node.engine.exec.open(id, { command, tty, onChunk: () => undefined });
      await expect.poll(async () => (await listOthers(id)).length, { timeout: 20_000 }).toBeGreaterThan(0);
      session.close();
      await expect.poll(() => listOthers(id), { timeout: 60_000 }).toEqual([]);
    }
  }
}, 360_000);

test("a health check that hangs leaves one command at most, however often it is made", async () => {
  const health = 'exec = ["/bin/sh", "-c", "sleep 8886 & wait"]\ntimeout = "200ms"\ninterval = "1s"\nretries = 1000';
  node.set({ app: buildHttpd({ health }) });
  await node.start();
  await node.until("it runs", async () => (await node.of("app")).some((row) => row.status === "running"));
  const app = await node.idOf("app");
  const counts: number[] = [];
  await node.until(
    "it was probed twenty times",
    async () => {
      counts.push((await listOthers(app)).length);
      return (node.engine.calls()["run"] ?? 0) > 22;
    },
    60_000,
  );
  expect(Math.max(...counts)).toBeLessThanOrEqual(4);
}, 360_000);
