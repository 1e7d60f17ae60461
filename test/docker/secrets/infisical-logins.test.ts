// Logins while Infisical is down, counted where they arrive: seven hours of the provider's clock, each hour down in another way.
// Asked every five seconds, which is more than an agent does: its own schedule backs off to a minute, so this holds whatever asks
// (hints, SIGHUP, new manifests). What each part bounds: the provider, when a login may be made (by its clock, the fake one here);
// a round, that it is one login whatever the SDK would repeat. The rounds of the hours are made with the real SDK in this process,
// since hundreds of children would take minutes; that a child makes as many is shown by a quarter of an hour of both.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, expect, test } from "vitest";

import { InfisicalProvider } from "../../../agent/secrets/providers/infisical-provider.ts";
import type { InfisicalPlace } from "../../../agent/secrets/providers/read-exchange.ts";
import { askHere } from "../../builders/data/infisical-rounds.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";
import { FakeInfisical } from "../../fakes/fake-infisical.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const PATH = "/prod/app/PASSWORD";
const ASK_EVERY_MS = 5_000;
const HOUR_MS = 3_600_000;
const FREE = 5;

const directory = mkdtempSync(join(tmpdir(), "orca-logins-"));
const server = new FakeInfisical(2026);
const clock = new FakeClock();
const opened: InfisicalProvider[] = [];
let place: InfisicalPlace;

/** A hang takes its deadline of real time while the fake clock stands still: only there it is a short one. */
const askSoon: typeof askHere = (program, request) =>
  askHere(program, { ...request, ...(server.fault?.kind === "hang" ? { deadlineMs: 200 } : {}) });

function open(ask?: typeof askHere): InfisicalProvider {
  const config = { place, pollMs: 300_000, deadlineMs: 20_000 };
  const provider = new InfisicalProvider(config, join(directory, "dist", "orca.mjs"), clock, ask);
  opened.push(provider);
  return provider;
}

beforeAll(async () => {
  // The child as it is on a host: the bundle starts in half the time.
  execFileSync(process.execPath, [join(ROOT, "scripts", "bundle.ts"), "--out", join(directory, "dist")]);
  await server.listen();
  server.secrets.set(PATH, "canary");
  const [clientIdFile, clientSecretFile] = [join(directory, "id"), join(directory, "secret")];
  writeFileSync(clientIdFile, server.clientId, { mode: 0o600 });
  writeFileSync(clientSecretFile, server.clientSecret, { mode: 0o600 });
  const { url, project, environment } = server;
  place = { url, project, environment, clientIdFile, clientSecretFile, caFile: undefined };
});

afterAll(async () => {
  for (const provider of opened) provider.close();
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

/** When each login came in an hour of asking, by the provider's clock; the asking itself answers with a class. */
async function pass(
  provider: InfisicalProvider,
  forMs = HOUR_MS,
): Promise<{ loginsAtMs: number[]; kinds: Set<string> }> {
  const loginsAtMs: number[] = [];
  const kinds = new Set<string>();
  for (let passedMs = 0; passedMs < forMs; passedMs += ASK_EVERY_MS) {
    const before = server.count("login");
    kinds.add((await provider.read([PATH])).get(PATH)?.kind ?? "none");
    for (let login = before; login < server.count("login"); login += 1) loginsAtMs.push(clock.monotonicMs());
    await clock.advance(ASK_EVERY_MS);
  }
  return { loginsAtMs, kinds };
}

/** The ways of being down, in the order in which they follow each other without the server being well between them. */
const HOURS: readonly [name: string, most: number, begin: () => void][] = [
  ["resets", FREE + 60, () => void (server.fault = { kind: "reset" })],
  ["500 at the login", 60, () => void (server.fault = { kind: "status", status: 500, body: '{"message":"x"}' })],
  ["429 with retry-after: 120", 30, () => void (server.fault = { kind: "rate", retryAfter: "120" })],
  ["hangs", 60, () => void (server.fault = { kind: "hang" })],
  [
    "a page of a gateway",
    60,
    () => void (server.fault = { kind: "status", status: 502, body: "<html>", type: "text/html" }),
  ],
  [
    "wrong credentials, then the lock-out",
    // Three wrong ones a minute apart, then one in five minutes.
    3 + 12,
    () => {
      server.fault = undefined;
      server.clientSecret = "another one by now";
    },
  ],
  [
    "tokens that it refuses",
    60,
    () => {
      server.clientSecret = "client-secret-canary";
      server.unlock();
      server.refusesTokens = true;
    },
  ],
];

test("a quarter of an hour through real children: as many logins as in this process, at most one a minute after the first five", async () => {
  server.fault = { kind: "reset" };
  const [there, here] = [await pass(open(), HOUR_MS / 4), await pass(open(askSoon), HOUR_MS / 4)];
  expect([...there.kinds]).toEqual(["unavailable"]);
  expect(there.loginsAtMs.length).toBe(here.loginsAtMs.length);
  expect(there.loginsAtMs.length).toBeLessThanOrEqual(FREE + 15);
  expect(there.loginsAtMs.length).toBeGreaterThan(FREE + 10);
}, 480_000);

test("seven hours without a break, each down in another way", { timeout: 180_000 }, async () => {
  const provider = open(askSoon);
  const all: number[] = [];
  const counts: Record<string, number> = {};
  for (const [name, most, begin] of HOURS) {
    begin();
    const { loginsAtMs, kinds } = await pass(provider);
    expect([...kinds], name).toEqual(["unavailable"]);
    expect(loginsAtMs.length, name).toBeGreaterThan(0);
    expect(loginsAtMs.length, name).toBeLessThanOrEqual(most);
    counts[name] = loginsAtMs.length;
    all.push(...loginsAtMs);
  }
  console.log(`logins in an hour: ${JSON.stringify(counts)}`);
  const gaps = all.slice(FREE).map((atMs, index) => atMs - (all[FREE + index - 1] ?? 0));
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(60_000);
  // It comes back: after the minute, or what it had asked for, all is well again, with one login.
  server.refusesTokens = false;
  const before = server.count("login");
  await clock.advance(60_000);
  expect((await provider.read([PATH])).get(PATH)?.kind).toBe("value");
  expect(server.count("login") - before).toBeLessThanOrEqual(1);
  // And the next time it is down, the first five are free anew.
  server.expireTokens();
  server.fault = { kind: "reset" };
  server.faultAt = "login";
  const again = server.count("login");
  for (let tried = 0; tried < 2 * FREE; tried += 1) await provider.read([PATH]);
  expect(server.count("login") - again).toBe(FREE);
});
