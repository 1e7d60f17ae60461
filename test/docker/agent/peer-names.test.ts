// Names of other nodes resolve inside containers, and a node that joins or moves is known there without anything being made anew.

import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { docker } from "../../builders/engine/docker-cli.ts";
import { buildHttpd, RealNode } from "../../../scripts/lab/engine/real-node.ts";

const node = new RealNode("names");

function writeFleet(others: Readonly<Record<string, string>>): void {
  const entry = (name: string, address: string): string =>
    `[nodes.${name}]\naddress = "${address}"\nenv = "prod"\nmemory = "8GiB"\n`;
  const text = [entry(node.node, "127.0.0.1"), ...Object.entries(others).map(([name, at]) => entry(name, at))].join(
    "\n",
  );
  writeFileSync(join(node.repository, "orca", "fleet.toml"), text);
}

/** What a program in the container gets when it asks for a name: ping says the address before it sends anything. */
async function resolve(name: string): Promise<string> {
  const id = await node.idOf("web");
  const told = await docker("exec", id, "/bin/sh", "-c", `/bin/ping -c 1 -W 1 ${name} 2>&1 || true`);
  return /\((\d+(?:\.\d+){3})\)/.exec(told)?.[1] ?? told;
}

beforeAll(async () => {
  writeFleet({ "vm-data": "127.0.0.7" });
  node.set({ web: buildHttpd(), near: buildHttpd() });
  await node.start();
  await node.untilSettled(["web", "near"]);
});
afterAll(() => node.dispose());

test("a node's name is its address in fleet.toml, and a service's name still its container's", async () => {
  expect(await resolve("vm-data")).toBe("127.0.0.7");
  expect(await resolve("localhost")).toBe("127.0.0.1");
  const format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
  const address = (await docker("inspect", "-f", format, await node.idOf("near"))).trim();
  expect(address).toMatch(/^\d+\./);
  expect(await resolve("near")).toBe(address);
});

test("a node that joins, one that moves and one that goes: the same container knows it, and nothing is made anew", async () => {
  const before = await node.idOf("web");
  const started = await docker("inspect", "-f", "{{.State.StartedAt}}", before);
  node.writes.length = 0;
  writeFleet({ "vm-data": "127.0.0.8", "vm-edge": "127.0.0.9" });
  await node.until("vm-edge", async () => (await resolve("vm-edge")) === "127.0.0.9");
  expect(await resolve("vm-data")).toBe("127.0.0.8");
  writeFleet({ "vm-edge": "127.0.0.9" });
  await node.until("the end of vm-data", async () => (await resolve("vm-data")) !== "127.0.0.8");
  expect(await node.idOf("web")).toBe(before);
  expect(await docker("inspect", "-f", "{{.State.StartedAt}}", before)).toBe(started);
  expect(node.writes).toEqual([]);
});
