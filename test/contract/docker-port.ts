// The contract of the Docker port. The real engine and the fake pass the same suite, so that scenario tests on the fake
// say something about the real one.

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type DockerExec, type DockerReader, EngineError, type EngineEvent } from "../../agent/docker/reader.ts";
import type { CreateRequest, DockerWriter } from "../../agent/docker/writer.ts";
import type { ContainerSpec } from "../../shared/state/container-spec.ts";
import { LABEL } from "../../shared/state/identity.ts";

/** An engine under test. */
export interface EngineUnderTest {
  reader: DockerReader;
  writer: DockerWriter;
  exec: DockerExec;
  /** An image with a shell, sleep and echo. */
  image: string;
  /** An image with a user of its own and these files in it. */
  userImage: { image: string; user: string; files: Readonly<Record<string, string>> };
  /** Removes a volume, which the port itself cannot. */
  removeVolume(name: string): Promise<void>;
  /** Pauses a container, as a person does. */
  pause(id: string): Promise<void>;
  close(): Promise<void>;
}

const NODE = "contract";
const NETWORK = "orca-contract";
const SPEC = `v1:${"0".repeat(64)}`;

/** Waits in real time until a condition holds. */
export async function eventually(condition: () => boolean | Promise<boolean>, withinMs = 40_000): Promise<void> {
  const endMs = Date.now() + withinMs;
  while (!(await condition())) {
    if (Date.now() > endMs) throw new Error(`this did not come about within ${withinMs} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Runs the suite. */
export function describeDockerPort(name: string, open: () => Promise<EngineUnderTest>): void {
  describe(`Docker port: ${name}`, () => {
    let engine: EngineUnderTest;

    const request = (service: string, spec: Partial<ContainerSpec> = {}): CreateRequest => ({
      name: `orca-${NODE}-${service}-00000000`,
      node: NODE,
      service,
      specHash: SPEC,
      revision: "dir:000000000000",
      spec: { image: engine.image, command: ["/bin/sleep", "600"], ...spec },
      caps: { memoryBytes: 32 * 2 ** 20, nanoCpus: 500_000_000, cpuShares: 256, pids: 64 },
      network: NETWORK,
      stopTimeoutMs: 1_000,
      carried: [],
      binds: [],
      extraEnv: {},
    });

    const clear = async (): Promise<void> => {
      for (const row of await engine.reader.listContainers()) {
        if (row.labels[LABEL.node] === NODE) await engine.writer.removeContainer(row.id as never);
      }
      await engine.writer.removeNetwork(NETWORK);
    };

    const row = async (id: string) => (await engine.reader.listContainers()).find((entry) => entry.id === id);

    beforeAll(async () => {
      engine = await open();
      await clear();
      await engine.writer.createNetwork({ name: NETWORK, node: NODE, subnet: undefined, internal: false });
    });

    afterAll(async () => {
      await clear();
      await engine.close();
    });

    test("a container is created with its labels and caps, and does not run yet", async () => {
      const id = await engine.writer.createContainer(request("created"));
      expect(await row(id)).toMatchObject({
        name: "orca-contract-created-00000000",
        status: "created",
        image: engine.image,
        labels: {
          [LABEL.node]: NODE,
          [LABEL.service]: "created",
          [LABEL.spec]: SPEC,
          [LABEL.revision]: "dir:000000000000",
        },
      });
      expect(await engine.reader.inspectContainer(id)).toMatchObject({
        startedMs: undefined,
        exitCode: undefined,
        oomKilled: false,
        pid: 0,
        restartPolicy: "no",
        image: engine.image,
        caps: { memoryBytes: 32 * 2 ** 20, nanoCpus: 500_000_000, cpuShares: 256, pids: 64 },
      });
    });

    test("what a container may write to is told: volumes by name, paths of the host, and nothing that is read alone", async () => {
      const names = ["orca-contract-rw", "orca-contract-ro"] as const;
      for (const volume of names) await engine.writer.createVolume({ name: volume, node: NODE, service: "writer" });
      const volumes = [
        { name: names[0], target: "/rw" },
        { name: names[1], target: "/ro", readOnly: true },
        { source: "/var/tmp", target: "/host" },
        { source: "/etc", target: "/host-ro", readOnly: true },
      ];
      const id = await engine.writer.createContainer(request("writer", { volumes }));
      expect((await row(id))?.writes).toEqual(["/var/tmp", names[0]]);
      await engine.writer.removeContainer(id);
      for (const volume of names) await engine.removeVolume(volume);
    });

    test("a name that is taken is refused with status 409", async () => {
      await engine.writer.createContainer(request("taken"));
      const second = engine.writer.createContainer(request("taken"));
      await expect(second).rejects.toMatchObject({ name: "EngineError", status: 409 });
    });

    test("an image that is not here is refused with status 404", async () => {
      const created = engine.writer.createContainer(request("no-image", { image: "orca-test/nowhere:1" }));
      await expect(created).rejects.toMatchObject({ name: "EngineError", status: 404 });
      expect(await engine.reader.findImage("orca-test/nowhere:1")).toBeUndefined();
      expect(await engine.reader.findImage(engine.image)).toEqual(expect.any(String));
    });

    test("a container that was renamed gets its name back; one that has it is left alone, and a name of another one is refused", async () => {
      const id = await engine.writer.createContainer(request("renamed"));
      const other = await engine.writer.createContainer(request("other-name"));
      await engine.writer.renameContainer(id, "orca-contract-elsewhere");
      expect((await row(id))?.name).toBe("orca-contract-elsewhere");
      await engine.writer.renameContainer(id, "orca-contract-elsewhere");
      const taken = engine.writer.renameContainer(other, "orca-contract-elsewhere");
      await expect(taken).rejects.toMatchObject({ name: "EngineError", status: 409, fault: "name-taken" });
      expect(await engine.reader.accepts()).toBe(true);
    });

    test("start, and starting again, gives an address on the network and a start time", async () => {
      const id = await engine.writer.createContainer(request("started"));
      const beforeMs = Date.now();
      await engine.writer.startContainer(id);
      await engine.writer.startContainer(id);
      const running = await row(id);
      expect(running?.status).toBe("running");
      expect(running?.networks[NETWORK]).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
      const detail = await engine.reader.inspectContainer(id);
      expect(detail?.startedMs).toBeGreaterThanOrEqual(beforeMs - 1_000);
      expect(detail?.pid).toBeGreaterThan(0);
    });

    test("stop ends it and keeps it; stopping again and stopping what is gone are fine", async () => {
      const id = await engine.writer.createContainer(
        request("stopped", { command: ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait"] }),
      );
      await engine.writer.startContainer(id);
      await engine.writer.stopContainer(id, 5_000);
      await engine.writer.stopContainer(id, 5_000);
      expect((await row(id))?.status).toBe("exited");
      const detail = await engine.reader.inspectContainer(id);
      expect(detail?.exitCode).toBe(0);
      expect(detail?.finishedMs).toBeGreaterThan(0);
      await engine.writer.removeContainer(id);
      await engine.writer.removeContainer(id);
      await engine.writer.stopContainer(id, 1_000);
      expect(await row(id)).toBeUndefined();
      expect(await engine.reader.inspectContainer(id)).toBeUndefined();
    });

    test("stop ends a paused container too", async () => {
      const id = await engine.writer.createContainer(
        request("paused", { command: ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait"] }),
      );
      await engine.writer.startContainer(id);
      await engine.pause(id);
      expect((await row(id))?.status).toBe("paused");
      await engine.writer.stopContainer(id, 2_000);
      expect((await row(id))?.status).toBe("exited");
    });

    test("what it printed and its exit code are known after it ended", async () => {
      const id = await engine.writer.createContainer(
        request("ended", { command: ["/bin/sh", "-c", "echo last words; exit 3"] }),
      );
      await engine.writer.startContainer(id);
      await eventually(async () => (await row(id))?.status === "exited");
      expect(await engine.reader.tailLogs(id, 5)).toEqual(["last words"]);
      expect((await engine.reader.inspectContainer(id))?.exitCode).toBe(3);
    });

    test("what it printed is read as a stream, followed to its end or not, and waits for whoever takes it", async () => {
      const id = await engine.writer.createContainer(
        request("printed", { command: ["/bin/sh", "-c", "echo some words; exit 0"] }),
      );
      await engine.writer.startContainer(id);
      await eventually(async () => (await row(id))?.status === "exited");
      for (const follow of [true, false]) {
        const seen: string[] = [];
        let waiting = 0;
        await engine.reader.followLogs(id, {
          tail: 10,
          follow,
          signal: new AbortController().signal,
          onChunk: async (chunk, stream) => {
            expect((waiting += 1)).toBe(1);
            await new Promise((resolve) => setTimeout(resolve, 5));
            waiting -= 1;
            seen.push(`${stream} ${chunk.toString()}`);
          },
        });
        expect(seen).toEqual(["stdout some words\n"]);
      }
    });

    test("caps change while it runs", async () => {
      const id = await engine.writer.createContainer(request("resized"));
      await engine.writer.startContainer(id);
      const caps = { memoryBytes: 48 * 2 ** 20, nanoCpus: 1_000_000_000, cpuShares: 512, pids: 100 };
      await engine.writer.updateCaps(id, caps);
      expect((await engine.reader.inspectContainer(id))?.caps).toEqual(caps);
    });

    test("a network is made once, with its label; connecting what is connected is fine, an unknown network is an error", async () => {
      await engine.writer.createNetwork({ name: NETWORK, node: NODE, subnet: undefined, internal: false });
      const networks = (await engine.reader.listNetworks()).filter((entry) => entry.name === NETWORK);
      expect(networks).toHaveLength(1);
      expect(networks[0]).toMatchObject({ internal: false, labels: { [LABEL.node]: NODE } });
      expect(networks[0]?.subnets).toHaveLength(1);
      const id = await engine.writer.createContainer(request("joined"));
      await engine.writer.startContainer(id);
      await engine.writer.connectNetwork(NETWORK, id, ["joined"]);
      expect((await row(id))?.networks[NETWORK]).toMatch(/^\d+\./);
      await expect(engine.writer.connectNetwork("orca-nowhere", id, ["x"])).rejects.toBeInstanceOf(EngineError);
    });

    test("who a container runs as, and a file in it, are known before it has run", async () => {
      const named = await engine.writer.createContainer(request("named", { user: "somebody:nobody" }));
      expect((await engine.reader.inspectContainer(named))?.user).toBe("somebody:nobody");
      const plain = await engine.writer.createContainer(request("unnamed"));
      expect((await engine.reader.inspectContainer(plain))?.user).toBe("");
      const image = await engine.writer.createContainer(request("of-its-image", { image: engine.userImage.image }));
      expect((await engine.reader.inspectContainer(image))?.user).toBe(engine.userImage.user);
      for (const [path, content] of Object.entries(engine.userImage.files)) {
        expect((await engine.reader.readFile(image, path))?.toString(), path).toBe(content);
      }
      expect(await engine.reader.readFile(image, "/etc/no-such-file")).toBeUndefined();
      expect(await engine.reader.readFile(image, "/etc")).toBeUndefined();
    });

    test("a volume keeps the label of whoever made it first", async () => {
      const volume = `orca-contract-${process.pid}`;
      expect(await engine.reader.inspectVolume(volume)).toBeUndefined();
      await engine.writer.createVolume({ name: volume, node: NODE, service: "first" });
      await engine.writer.createVolume({ name: volume, node: "other", service: "second" });
      expect(await engine.reader.inspectVolume(volume)).toEqual({
        labels: { [LABEL.node]: NODE, [LABEL.service]: "first" },
        leadsTo: undefined,
      });
      await engine.removeVolume(volume);
    });

    test("a pull of what no registry has fails, and says so", async () => {
      const pulled = engine.writer.pullImage("127.0.0.1:1/orca-test/nowhere:1", {
        auth: undefined,
        signal: new AbortController().signal,
        onProgress: () => undefined,
      });
      await expect(pulled).rejects.toMatchObject({
        name: "EngineError",
        message: expect.stringMatching(/^pull image: /),
      });
    });

    test("a command inside a running container gives its exit code and output", async () => {
      const id = await engine.writer.createContainer(request("exec"));
      await engine.writer.startContainer(id);
      expect(await engine.exec.run(id, ["/bin/echo", "hello"], 5_000)).toEqual({ exitCode: 0, output: "hello\n" });
      expect((await engine.exec.run(id, ["/bin/sh", "-c", "exit 7"], 5_000)).exitCode).toBe(7);
      await engine.writer.stopContainer(id, 0);
      await expect(engine.exec.run(id, ["/bin/echo", "hello"], 5_000)).rejects.toBeInstanceOf(EngineError);
    });

    test("a signal by hand and the end that follows come as events, with the container's labels", async () => {
      const id = await engine.writer.createContainer(request("watched"));
      const events: EngineEvent[] = [];
      const abort = new AbortController();
      let opened = false;
      const watching = engine.reader.watchEvents({
        sinceMs: undefined,
        signal: abort.signal,
        onOpen: () => (opened = true),
        onEvent: (event) => void (event.id === id && events.push(event)),
      });
      await eventually(() => opened);
      await engine.writer.startContainer(id);
      await engine.writer.signalContainer(id, "SIGKILL");
      await eventually(() => events.some((event) => event.action === "die"));
      abort.abort();
      await watching;
      const container = events.filter((event) => event.type === "container").map((event) => event.action);
      expect(container.filter((action) => ["start", "kill", "die"].includes(action))).toEqual(["start", "kill", "die"]);
      expect(events.find((event) => event.action === "die")?.labels).toMatchObject({
        [LABEL.node]: NODE,
        [LABEL.service]: "watched",
      });
      await eventually(async () => (await engine.reader.inspectContainer(id))?.exitCode === 137);
      expect((await engine.reader.inspectContainer(id))?.oomKilled).toBe(false);
    });
  });
}
