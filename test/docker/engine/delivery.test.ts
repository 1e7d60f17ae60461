// What a manifest delivers into a container on the real engine: config files, templates, volumes, ports, networks.

import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";

import { afterAll, beforeAll, expect, test } from "vitest";

import { docker } from "../../builders/engine/docker-cli.ts";
import { buildHttpd, RealNode } from "../../../scripts/lab/engine/real-node.ts";
import { findPort } from "../../builders/engine/free-port.ts";

const node = new RealNode("delivery");
const volume = `orca-test-delivery-${process.pid}`;

beforeAll(async () => {
  await node.start();
});

afterAll(async () => {
  await node.dispose();
  await docker("volume", "rm", "-f", volume);
});

async function exec(service: string, ...command: string[]): Promise<string> {
  const { exitCode, output } = await node.engine.exec.run(await node.idOf(service), command, 5_000);
  if (exitCode !== 0) throw new Error(`${command.join(" ")} in ${service} ended with ${exitCode}: ${output}`);
  return output;
}

test("a config file is there with its mode and owner; new content is seen in place, and the service is signalled", async () => {
  // The service writes down each SIGHUP it gets, with the file as it sees it then.
  const script = "trap 'cat /etc/app.conf >> /tmp/log' HUP; httpd -f -p 8080 -h /etc & while :; do wait; done";
  node.setFile("files/app.conf", "one\n");
  node.set({
    app: buildHttpd({
      command: `["/bin/sh", "-c", "${script}"]`,
      tables:
        '[[files]]\nsource = "files/app.conf"\ntarget = "/etc/app.conf"\nmode = "0440"\nowner = "65534:65534"\non_change = { signal = "SIGHUP" }',
    }),
  });
  await node.untilSettled(["app"]);
  expect(await exec("app", "/bin/stat", "-c", "%a %u:%g", "/etc/app.conf")).toBe("440 65534:65534\n");
  const id = await node.idOf("app");
  const before = node.writes.length;
  node.setFile("files/app.conf", "two\n");
  await node.until(
    "it was signalled",
    async () => (await exec("app", "/bin/cat", "/tmp/log").catch(() => "")) === "two\n",
  );
  node.setFile("files/app.conf", "three, and longer\n");
  await node.until(
    "it was signalled again",
    async () => (await exec("app", "/bin/cat", "/tmp/log")) === "two\nthree, and longer\n",
  );
  expect(await node.idOf("app")).toBe(id);
  expect(node.writes.slice(before)).toEqual(["signalContainer", "signalContainer"]);
});

test("a delivered file is read-only for the service, and one changed by hand on the host is put back", async () => {
  await expect(exec("app", "/bin/sh", "-c", "echo x > /etc/app.conf")).rejects.toThrow(/Read-only|Permission denied/);
  const service = node.turn.desired?.services.get("app");
  if (service === undefined) throw new Error("there is no app");
  const path = node.agent.files.path({ service: "app", specHash: service.specHash, target: "/etc/app.conf" });
  writeFileSync(path, "tampered");
  await node.until(
    "it is put back",
    async () => (await exec("app", "/bin/cat", "/etc/app.conf")) === "three, and longer\n",
    70_000,
  );
});

test("on_change exec runs a command in the container; restart starts it again", async () => {
  node.setFile("files/a", "1");
  node.setFile("files/b", "1");
  node.set({
    notified: buildHttpd({
      tables:
        '[[files]]\nsource = "files/a"\ntarget = "/a"\non_change = { exec = ["/bin/sh", "-c", "cp /a /tmp/a"] }\n' +
        '[[files]]\nsource = "files/b"\ntarget = "/b"\n',
    }),
  });
  await node.untilSettled(["notified"]);
  const [before] = JSON.parse(await docker("inspect", await node.idOf("notified"))) as [
    { State: { StartedAt: string } },
  ];
  node.setFile("files/a", "2");
  await node.until(
    "the command ran",
    async () => (await exec("notified", "/bin/cat", "/tmp/a").catch(() => "")) === "2",
  );
  node.setFile("files/b", "2");
  await node.until("it was started again", async () => {
    const [now] = JSON.parse(await docker("inspect", (await node.of("notified"))[0]?.id ?? "")) as [
      { State: { StartedAt: string } },
    ];
    return now.State.StartedAt !== before.State.StartedAt;
  });
  await node.untilSettled(["notified"]);
  expect(await exec("notified", "/bin/cat", "/b")).toBe("2");
  expect(node.view("notified")?.restarts).toBe(0);
});

test("a template knows the fleet's routes; one that does not render holds the service at its release", async () => {
  node.setFile("files/routes.tmpl", "{% for route in routes %}{{ route.host }} {{ route.upstream }}\n{% endfor %}");
  const proxy = buildHttpd({ tables: '[[files]]\nsource = "files/routes.tmpl"\ntarget = "/routes"\ntemplate = true' });
  const routed = buildHttpd({
    tables: '[[routes]]\nhost = "*.example.com"\nport = 8080\n[[routes]]\nhost = "auth.example.com"\nport = 8080',
  });
  node.set({ proxy, routed });
  await node.untilSettled(["proxy", "routed"]);
  expect(await exec("proxy", "/bin/cat", "/routes")).toBe("auth.example.com routed:8080\n*.example.com routed:8080\n");
  node.setFile("files/routes.tmpl", "{% for route in routes %}{{ route.nothing }}");
  await node.until("it is invalid", () => node.view("proxy")?.state === "invalid");
  expect(node.view("proxy")?.reason).toMatch(/files\/routes.tmpl does not render/);
  expect(await exec("proxy", "/bin/cat", "/routes")).toBe("auth.example.com routed:8080\n*.example.com routed:8080\n");
  node.setFile("files/routes.tmpl", "{{ node }}");
  await node.until("it is new", async () => (await exec("proxy", "/bin/cat", "/routes").catch(() => "")) === node.node);
});

test("a named volume is made with our label and keeps its data over a new spec and a removal", async () => {
  const stateful = (extra: string): string =>
    buildHttpd({
      top: 'backup = { none = "test data" }',
      tables: `[env]\nEXTRA = "${extra}"\n[[volumes]]\nname = "${volume}"\ntarget = "/data"`,
    });
  node.set({ stateful: stateful("1") });
  await node.untilSettled(["stateful"]);
  expect(await node.engine.reader.inspectVolume(volume)).toMatchObject({
    labels: { "orca.node": node.node, "orca.service": "stateful" },
  });
  await exec("stateful", "/bin/sh", "-c", "echo kept > /data/file");
  const before = await node.idOf("stateful");
  node.set({ stateful: stateful("2") });
  await node.until("it is another container", async () =>
    (await node.of("stateful")).some((row) => row.status === "running" && row.id !== before),
  );
  expect(await exec("stateful", "/bin/cat", "/data/file")).toBe("kept\n");
  node.set({ stateful: undefined });
  await node.until("it is kept for its undo window", () => node.view("stateful")?.state === "stopped");
  expect(await node.engine.reader.inspectVolume(volume)).toBeDefined();
});

test("a volume that leads to a directory of the host is refused, whatever labels it has; no container is made", async () => {
  const led = `${volume}-led`;
  const options = ["--opt", "type=none", "--opt", "o=bind", "--opt", "device=/etc"];
  await docker("volume", "create", "--label", `orca.node=${node.node}`, "--label", "orca.service=led", ...options, led);
  try {
    node.set({
      led: buildHttpd({
        top: 'backup = { none = "test data" }',
        tables: `[[volumes]]\nname = "${led}"\ntarget = "/data"`,
      }),
    });
    await node.until("it is refused", () => node.view("led")?.state === "refused");
    expect(node.view("led")?.reason).toMatch(/is really \/etc; choose another name, or write volumes\.foreign/);
    expect(await node.of("led")).toEqual([]);
  } finally {
    node.set({ led: undefined });
    await docker("volume", "rm", led);
  }
});

test("memory is what the cap says: a directory in memory without a size is as large, and a log option is as dockerd takes it", async () => {
  node.set({
    capped: buildHttpd({
      top: 'tmpfs = ["/cache", "/small:size=1m,mode=1777"]',
      tables: '[log]\ndriver = "json-file"\noptions = { max-size = "64k", max-file = "2", tag = "{{.Name}}" }',
    }),
  });
  await node.untilSettled(["capped"]);
  const sizes = await exec("capped", "/bin/df", "-k", "/cache", "/small");
  const [cache, small] = sizes
    .split("\n")
    .slice(1, 3)
    .map((line) => Number(line.trim().split(/\s+/)[1]));
  const inspected = JSON.parse(await docker("inspect", await node.idOf("capped"))) as [
    { HostConfig: { Memory: number; LogConfig: object } },
  ];
  const { Memory, LogConfig } = inspected[0].HostConfig;
  expect([cache, small]).toEqual([Memory / 1_024, 1_024]);
  expect(LogConfig).toEqual({ Type: "json-file", Config: { "max-size": "64k", "max-file": "2", tag: "{{.Name}}" } });
});

test("ports are published on the address that is written out, else on the node's own; UDP too", async () => {
  const [own, other, udp] = [await findPort(), await findPort(), await findPort()];
  node.set({
    ports: buildHttpd({
      top: `ports = ["${own}:8080", "127.0.0.2:${other}:8080", "${udp}:5353/udp"]`,
    }),
  });
  await node.untilSettled(["ports"]);
  const reach = (host: string, port: number): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect({ host, port, timeout: 1_000 });
      socket.once("connect", () => (socket.destroy(), resolve(true)));
      socket.once("error", () => resolve(false));
    });
  expect(await reach("127.0.0.1", own)).toBe(true);
  expect(await reach("127.0.0.2", other)).toBe(true);
  expect(await reach("127.0.0.2", own)).toBe(false);
  // Nothing in this image answers UDP: what the engine has bound is what is checked.
  expect(await docker("port", await node.idOf("ports"), "5353/udp")).toBe(`127.0.0.1:${udp}`);
  const bound = readFileSync("/proc/net/udp", "utf8");
  expect(bound).toContain(`0100007F:${udp.toString(16).toUpperCase()}`);
});

test('state = "stopped" stops it and keeps it; running again starts the same container', async () => {
  node.set({ parked: buildHttpd() });
  await node.untilSettled(["parked"]);
  const id = await node.idOf("parked");
  node.set({ parked: buildHttpd({ top: 'state = "stopped"' }) });
  await node.until(
    "it is stopped",
    async () => node.view("parked")?.state === "stopped" && (await node.of("parked"))[0]?.status === "exited",
  );
  node.set({ parked: buildHttpd() });
  await node.untilSettled(["parked"]);
  expect(await node.idOf("parked")).toBe(id);
});

test("resources change in place: the container keeps running", async () => {
  node.set({ sized: buildHttpd({ memory: "16MiB" }) });
  await node.untilSettled(["sized"]);
  const id = await node.idOf("sized");
  node.set({
    sized: buildHttpd({ memory: "24MiB" }).replace(
      "[health]",
      "cpus = 0.5\ncpus_reserved = 0.25\npids = 100\n[health]",
    ),
  });
  await node.until("the caps are there", async () => {
    const detail = await node.engine.reader.inspectContainer(id);
    return (
      JSON.stringify(detail?.caps) ===
      JSON.stringify({ memoryBytes: 24 * 2 ** 20, nanoCpus: 500_000_000, cpuShares: 256, pids: 100 })
    );
  });
  expect(await node.idOf("sized")).toBe(id);
});

test("a cap below what is in use is not lowered under a running service, and is at its next start", async () => {
  // 20 MiB of anonymous memory, held by a shell variable.
  const hold = "x=$(head -c 20000000 /dev/zero | tr '\\\\000' 'a'); httpd -f -p 8080 -h /etc; exit 1";
  const sized = (memory: string): string => buildHttpd({ memory, command: `["/bin/sh", "-c", "${hold}"]` });
  node.set({ heavy: sized("96MiB") });
  await node.untilSettled(["heavy"]);
  const id = await node.idOf("heavy");
  node.set({ heavy: sized("16MiB") });
  await node.until(
    "it is said",
    () =>
      node.view("heavy")?.notes.some((note) => note.startsWith("the memory cap is lowered at the next start")) === true,
  );
  expect((await node.engine.reader.inspectContainer(id))?.caps.memoryBytes).toBe(96 * 2 ** 20);
  expect(node.view("heavy")?.state).toBe("healthy");
  await docker("kill", id);
  await node.until(
    "it was lowered before the start",
    async () => (await node.engine.reader.inspectContainer(id))?.caps.memoryBytes === 16 * 2 ** 20,
  );
  node.set({ heavy: undefined });
});
