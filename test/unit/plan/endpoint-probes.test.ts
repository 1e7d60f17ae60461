// Endpoints of `requires` and `wants` are asked by the host: never itself, its link or a cloud's metadata, whatever a name leads to
// or an address is written as, unless the host's policy says so.

import { createServer, type Server } from "node:http";
import { createServer as createTcp } from "node:net";
import type { AddressInfo } from "node:net";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { judgeAddress, judgeEndpoint } from "../../../agent/desired/policy/policy-endpoints.ts";
import { probeEndpoint } from "../../../agent/health/probes.ts";
import { policySchema } from "../../../shared/policy/policy.ts";

let server: Server;
let port = 0;
let asked = 0;

beforeAll(async () => {
  server = createServer((_request, response) => {
    asked += 1;
    response.end("ok");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as AddressInfo).port;
});

afterAll(() => server.close());

function policyOf(...allowed: string[]): ReturnType<typeof policySchema.parse> {
  return policySchema.parse(allowed.length === 0 ? {} : { endpoints: { allowed } });
}

async function probe(url: string, policy: ReturnType<typeof policyOf>): Promise<string> {
  const { kind, message } = await probeEndpoint(url, 3_000, (from, address) => judgeAddress(from, address, policy));
  return `${kind}: ${message}`;
}

test.each(["http", "tcp"])("a name that leads to this host itself is not asked over %s", async (scheme) => {
  asked = 0;
  // The resolver of every machine answers it with loopback; any name of somebody's domain may.
  const url = `${scheme}://localhost:${port}/`;
  expect(await probe(url, policyOf())).toMatch(
    /^failed: .*localhost.* is not asked: .* this host's own.*endpoints\.allowed/,
  );
  expect(await probe(`${scheme}://127.0.0.1:${port}/`, policyOf())).toMatch(
    /^failed: .* is not asked: 127\.0\.0\.1 is/,
  );
  expect(asked).toBe(0);
});

test.each([
  ["its name", "localhost"],
  ["a network", "127.0.0.0/8"],
  ["everything", "*"],
])("a policy that names %s lets it be asked", async (_how, allowed) => {
  expect(await probe(`http://localhost:${port}/`, policyOf(allowed, "::1"))).toMatch(/^ok: /);
  expect(await probe(`tcp://localhost:${port}`, policyOf(allowed, "::1"))).toMatch(/^ok: /);
});

test("an address that a tcp URL writes as a number is judged by what it is", async () => {
  const listener = createTcp((socket) => socket.destroy());
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const { port: at } = listener.address() as AddressInfo;
  expect(await probe(`tcp://2130706433:${at}`, policyOf())).toMatch(/^failed: /);
  expect(await probe(`tcp://0x7f.1:${at}`, policyOf())).toMatch(/^failed: /);
  listener.close();
});

describe("as written", () => {
  test.each([
    ["tcp://10.0.0.30:5432", [], true],
    ["https://auth.example/health", [], true],
    ["http://169.254.169.254/latest", [], false],
    ["http://169.254.169.254/latest", ["169.254.169.254"], true],
    ["tcp://10.0.0.30:5432", ["10.0.0.0/16"], true],
    ["tcp://10.1.0.30:5432", ["10.0.0.0/16"], false],
    ["tcp://[fd00::5]:1", ["fd00::/8"], true],
    ["https://auth.example/", ["*.example"], true],
    ["https://example/", ["*.example"], false],
    ["https://auth.example.evil/", ["*.example", "auth.example"], false],
    ["https://AUTH.example./", ["auth.example"], true],
    ["https://auth.example/", ["10.0.0.0/8"], false],
  ])("%s with %j: %s", (url, allowed, isAllowed) => {
    expect(judgeEndpoint(url, policyOf(...allowed)) === undefined).toBe(isAllowed);
  });
});

test.each([
  // The name is allowed: it may lead anywhere but to what is closed.
  ["https://auth.example/", "10.0.0.5", ["auth.example"], true],
  ["https://auth.example/", "169.254.169.254", ["*.example"], false],
  ["https://auth.example/", "::ffff:169.254.169.254", ["*.example"], false],
  ["https://auth.example/", "64:ff9b::a9fe:a9fe", [], false],
  ["https://auth.example/", "fe80::1%eth0", [], false],
  ["https://auth.example/", "127.0.0.1", ["auth.example"], true],
  ["https://auth.example/", "10.0.0.5", [], true],
])("%s leads to %s with %j: %s", (url, address, allowed, isAllowed) => {
  expect(judgeAddress(url, address, policyOf(...allowed)) === undefined).toBe(isAllowed);
});
