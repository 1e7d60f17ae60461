// Real fronts: the agent's own image and configuration, told through the real socket, with two real servers behind it.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { FrontControl } from "../../../agent/apply/front-control.ts";
import { buildFront } from "../../../agent/desired/build/front-service.ts";
import { systemClock } from "../../../agent/host/os/clock.ts";
import { FRONT_CONFIG } from "../../../shared/state/front.ts";
import { manifestSchema } from "../../../shared/manifest/manifest.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { describeFrontPort, type FrontLab } from "../../contract/front-port.ts";
import { buildDesired } from "../../builders/node/turns.ts";
import { IMAGE } from "../../../scripts/lab/engine/real-node.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";

const LABEL = `orca.node=${nameForRun("front-port")}`;
const PORTS = [7000, 8080];
const servers: string[] = [];
const roots: string[] = [];

const MANIFEST = manifestSchema.parse({
  image: IMAGE,
  ports: [`127.0.0.1:${await findPort()}:7000`],
  resources: { memory: "16MiB" },
  health: { http: { port: 8080 } },
});

beforeAll(async () => {
  for (const name of ["one", "two"]) {
    const program = `mkdir -p /www; echo ${name} >/www/index.html; httpd -p 8080 -h /www; exec nc -ll -p 7000 -e /bin/cat`;
    const id = await docker("run", "-d", "--label", LABEL, "--init", IMAGE, "/bin/sh", "-c", program);
    servers.push(await addressOf(id));
  }
});

afterAll(async () => {
  const rest = (await docker("ps", "-aq", "--filter", `label=${LABEL}`)).split("\n").filter(Boolean);
  if (rest.length > 0) await docker("rm", "-f", ...rest);
  for (const root of roots) rmSync(root, { recursive: true, force: true });
});

function addressOf(id: string): Promise<string> {
  return docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", id);
}

describeFrontPort("HAProxy", openLab);

test("a front whose ports go to different places says so, until it was told the whole", async () => {
  const { port, front, ports, first, second, forget } = await openLab();
  await port.switchTo(front, { run: "1", address: first }, ports);
  await port.switchTo(front, { run: "1", address: second }, ports.slice(1));
  const other = forget();
  await other.look([{ front, run: "1", ports }], false);
  expect(other.routing.get(front)).toEqual({ run: "1", address: first, uneven: true });
  expect(await other.switchTo(front, { run: "1", address: second }, ports)).toBe(true);
  await other.look([{ front, run: "1", ports }], true);
  expect(other.routing.get(front)).toEqual({ run: "1", address: second });
});

async function openLab(): Promise<FrontLab> {
  const root = mkdtempSync(join(tmpdir(), "orca-front-"));
  roots.push(root);
  const port = new FrontControl(root, systemClock);
  const name = "app.front";
  const { front, config } = buildFront(buildDesired("app"), {
    manifest: MANIFEST,
    image: "orca-test/haproxy:1",
    aliases: [],
  });
  const mount = await port.mount(name);
  const file = join(root, "front.cfg");
  writeFileSync(file, config);
  const { spec, caps } = front.service;
  const id = await docker(
    "run",
    "-d",
    "--label",
    LABEL,
    "--read-only",
    "--cap-drop",
    "ALL",
    "--user",
    spec.user ?? "",
    "--memory",
    String(caps.memoryBytes),
    "--pids-limit",
    String(caps.pids),
    "--entrypoint",
    spec.entrypoint?.[0] ?? "",
    "-v",
    `${mount.source}:${mount.target}`,
    "-v",
    `${file}:${FRONT_CONFIG}:ro`,
    spec.image,
    ...(spec.command ?? []),
  );
  let address = await addressOf(id);
  const [first = "", second = ""] = servers;
  const names = new Map([
    ["one", first],
    ["two", second],
  ]);
  await untilReady(`http://${address}:8405/ready`);
  return {
    port,
    front: name,
    ports: PORTS,
    first,
    second,
    open: () => openConnection(address),
    ask: async () => {
      const answer = await fetch(`http://${address}:8080/`).catch(() => undefined);
      return answer?.ok === true ? names.get((await answer.text()).trim()) : undefined;
    },
    restart: async () => {
      await docker("restart", "--time", "1", id);
      address = await addressOf(id);
      await untilReady(`http://${address}:8405/ready`);
    },
    forget: () => new FrontControl(root, systemClock),
  };
}

async function untilReady(url: string): Promise<void> {
  const endMs = Date.now() + 10_000;
  for (;;) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer?.status === 200) return;
    if (Date.now() > endMs) throw new Error(`${url} does not answer`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

/** A connection that has been answered once, so that it has reached its server. */
function openConnection(address: string): Promise<() => Promise<void>> {
  return new Promise((resolve, reject) => {
    const socket = connect(7000, address, () => socket.write("hello\n"));
    socket.once("error", reject);
    socket.once("data", () => {
      const close = (): Promise<void> =>
        new Promise((closed) => {
          socket.once("close", () => closed());
          socket.destroy();
        });
      resolve(close);
    });
  });
}
