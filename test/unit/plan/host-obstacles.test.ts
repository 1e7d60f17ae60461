// The look at a real host: a port that is bound, an address that is not here, a path that is missing; and what is never tried.

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";

import { expect, test } from "vitest";

import { openObstacleProbe, readLastingObstacles, readHostObstacles } from "../../../agent/host/os/host-obstacles.ts";
import { readFault } from "../../../agent/docker/engine-answer.ts";
import type { ObservedEngine, HostObstacle } from "../../../shared/state/observed-state.ts";
import type { PublishedPort } from "../../../shared/manifest/published-port.ts";
import { buildContainer, buildDesired, buildTurn } from "../../builders/node/turns.ts";

const port = (hostPort: number, protocol: "tcp" | "udp" = "tcp", address = "127.0.0.1"): PublishedPort => ({
  address,
  hostPort,
  containerPort: 80,
  protocol,
});

test("a port that a program holds is in use, for its protocol only, and free when that has ended", async () => {
  const obstacles = openObstacleProbe();
  const server = createServer().listen({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  const { port: held } = server.address() as AddressInfo;
  expect(await obstacles.tryPort(port(held))).toBe("in-use");
  expect(await obstacles.tryPort(port(held, "tcp", "0.0.0.0"))).toBe("in-use");
  server.close();
  await once(server, "close");
  expect(await obstacles.tryPort(port(held))).toBe(undefined);
  // The try itself holds nothing.
  expect(await obstacles.tryPort(port(held))).toBe(undefined);
  const socket = createSocket("udp4").bind({ address: "127.0.0.1", port: 0 });
  await once(socket, "listening");
  expect(await obstacles.tryPort(port(socket.address().port, "udp"))).toBe("in-use");
  socket.close();
});

test("an address that this host does not have, and paths", async () => {
  const obstacles = openObstacleProbe();
  expect(await obstacles.tryPort(port(40_001, "tcp", "192.0.2.7"))).toBe("no-address");
  expect(await obstacles.isMissing("/nowhere/at/all")).toBe(true);
  expect(await obstacles.isMissing("/etc")).toBe(false);
  expect(await obstacles.isMissing("/tmp/not-the-engines-own")).toBe(false);
});

test("what a container of this node holds, what is being worked on, and what runs is not tried", async () => {
  const tried: number[] = [];
  const probe = {
    tryPort: async ({ hostPort }: PublishedPort) => {
      tried.push(hostPort);
      return "in-use" as const;
    },
    isMissing: async () => false,
  };
  const ports = (...list: number[]) => ({ spec: { image: "app:1", ports: list.map((at) => `127.0.0.1:${at}:80`) } });
  const { desired } = buildTurn({
    views: [],
    desired: [
      buildDesired("new", { ...ports(1_001, 1_002), specHash: "v1:new" }),
      buildDesired("busy", ports(1_003)),
      buildDesired("runs", { ...ports(1_004), specHash: "v1:12" }),
    ],
  });
  if (desired === undefined) throw new Error("there is no desired state");
  const engine: ObservedEngine = {
    reachable: true,
    run: "run-1",
    foreign: [],
    networks: {},
    volumes: {},
    containers: [
      buildContainer("new", { specHash: "v1:old", ports: ["127.0.0.1:1001:80/tcp"] }),
      buildContainer("runs", { specHash: "v1:12", ports: ["127.0.0.1:1004:80/tcp"] }),
    ],
  };
  const found = await readHostObstacles(desired, engine, probe, new Set(["busy"]));
  expect(tried).toEqual([1_002]);
  expect([...found]).toEqual([["new", [{ kind: "port", port: "127.0.0.1:1002:80", why: "in-use" }]]]);
});

test("a port of a container that is between two runs when it is looked at is held by nobody else", async () => {
  const inUse = (...ports: string[]): readonly HostObstacle[] =>
    ports.map((held) => ({ kind: "port", port: held, why: "in-use" }));
  const looks = [
    new Map([
      ["restarts", inUse("127.0.0.1:1:1")],
      ["held", inUse("127.0.0.1:2:2", "127.0.0.1:3:3")],
    ]),
    new Map([["held", inUse("127.0.0.1:3:3")]]),
    new Map([["held", inUse("127.0.0.1:3:3", "127.0.0.1:2:2")]]),
  ];
  const waits: number[] = [];
  const wait = async (ms: number): Promise<void> => void waits.push(ms);
  const lasting = await readLastingObstacles(async () => looks.shift() ?? new Map(), wait);
  expect([...lasting]).toEqual([["held", inUse("127.0.0.1:3:3")]]);
  expect(waits).toHaveLength(2);
  expect(await readLastingObstacles(async () => new Map(), wait)).toEqual(new Map());
  expect(waits).toHaveLength(2);
});

/** Answers as Docker 20.10 to 28 give them. */
test.each([
  [500, "failed to create shim task: task 4b3a6cc7: already exists: unknown", "container-stuck"],
  [500, "failed to create task for container: task 4b3a6cc7 already exists: unknown", "container-stuck"],
  [500, "OCI runtime create failed: container with given ID already exists: unknown", "container-stuck"],
  [409, 'Conflict. The container name "/orca-a-b" is already in use by container "12"', "name-taken"],
  [409, "removal of container 12ab is already in progress", "removing"],
  [409, "container is marked for removal and cannot be started", "removing"],
  [403, "endpoint with name orca-a-b already exists in network orca", "endpoint-left"],
  [500, "driver failed: Bind for 127.0.0.1:80 failed: port is already allocated", "port-held"],
  [500, "failed to bind host port for 0.0.0.0:80:172.17.0.2:80/tcp: address already in use", "port-held"],
  [400, 'invalid mount config for type "bind": bind source path does not exist: /x', "source-missing"],
  [400, "OCI runtime create failed: open /proc/sys/net/ipv4/x: no such file or directory", "spec-refused"],
  [500, "OCI runtime create failed: error setting rlimit type 7: operation not permitted", "spec-refused"],
  [400, "Minimum memory limit allowed is 6MB", "spec-refused"],
  [500, "write /var/lib/docker/x: no space left on device", "disk-full"],
  [503, "starting up", "engine-away"],
  [500, "failed to update store for object type *libnetwork.endpointCnt: bad file descriptor", "engine-away"],
  [500, "failed to get store: database not open", "engine-away"],
  [undefined, "connect ENOENT /run/docker.sock", "engine-away"],
  [404, "No such container: 12", "gone"],
  [500, "something", "other"],
] as const)("the engine's answer %s %s means %s", (status, message, fault) => {
  expect(readFault(status, message)).toBe(fault);
});
