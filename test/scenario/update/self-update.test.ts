// An agent's own update with real processes: the updater fetches, looks, unpacks and puts on trial; the judge of the old version keeps a
// good one and puts the old one back for one that exits, hangs, never reconciles or is unseen; what must not be taken is refused; a kill of
// either at any moment leaves a version that runs, and ends where it would have ended.

import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { describe, expect, test } from "vitest";

import { type AgentKind, type PackageChoices, UpdateHost } from "../../builders/node/update-host.ts";

const WITHIN_MS = 80_000;
const LONG_MS = 100_000;

/** Waits until a host is as it is expected; what it is instead is in the failure. Tests beside each other have no `expect.poll`. */
async function until<T>(see: () => T, judge: (seen: T) => boolean): Promise<void> {
  const endMs = performance.now() + WITHIN_MS;
  for (;;) {
    const seen = see();
    if (judge(seen)) return;
    if (performance.now() > endMs) throw new Error(`after ${WITHIN_MS} ms it is ${JSON.stringify(seen)}`);
    await sleep(50);
  }
}

/** Runs a test on a host of its own: those that wait for the judge's clock do so beside each other. */
async function onHost(act: (host: UpdateHost) => Promise<void>): Promise<void> {
  const host = new UpdateHost();
  try {
    await act(host);
  } finally {
    await host.close();
  }
}

async function untilOutcome(host: UpdateHost, result: string): Promise<void> {
  await until(
    () => [host.outcomes[0]?.result, host.onTrial, host.said.join("")] as const,
    ([last, onTrial]) => last === result && !onTrial,
  );
}

async function untilSaid(host: UpdateHost, words: RegExp): Promise<void> {
  await until(
    () => host.said.join(""),
    (said) => words.test(said),
  );
}

describe.concurrent("on trial", () => {
  test(
    "a good version stays, once a peer that heard the old one hears it and it was well for a minute",
    () =>
      onHost(async (host) => {
        host.ask("0.2.0", host.release({ version: "0.2.0" }));
        await untilOutcome(host, "confirmed");
        expect(host.current).toBe("0.2.0");
        expect(host.starts).toEqual(["0.1.0", "0.2.0"]);
        expect(host.outcomes[0]?.reason).toBe("it has reconciled, was well for a minute, and vm-data hears it");
        // The old one stays at hand; nothing of the way is left.
        expect(readdirSync(host.places.versions).toSorted()).toEqual(["0.1.0", "0.2.0"]);
        await until(
          () => host.judging,
          (judging) => !judging,
        );
      }),
    LONG_MS,
  );

  test.each<[AgentKind, RegExp]>([
    ["exits", /it does not answer/],
    ["hangs", /it does not answer/],
    ["never-reconciles", /it has not reconciled/],
    ["unseen", /none of vm-data hears it/],
  ])(
    "the old one comes back by itself for a version that is: %s; and it is not tried again",
    (kind, reason) =>
      onHost(async (host) => {
        const sha256 = host.release({ version: "0.2.0", kind });
        host.ask("0.2.0", sha256);
        await untilOutcome(host, "failed");
        expect(host.current).toBe("0.1.0");
        expect(host.outcomes[0]?.reason).toMatch(reason);
        await until(
          () => host.starts.at(-1),
          (version) => version === "0.1.0",
        );
        host.ask("0.2.0", sha256);
        await untilSaid(host, /0\.2\.0 has failed here on .*, and is not tried again/);
        expect([host.current, host.onTrial, host.outcomes[0]?.result]).toEqual(["0.1.0", false, "failed"]);
      }),
    LONG_MS,
  );

  test.each<[AgentKind, end: string, current: string]>([
    ["good", "confirmed", "0.2.0"],
    ["hangs", "failed", "0.1.0"],
  ])(
    "the updater and the judge are killed at any moment, and a version that is %s ends as it would have",
    (kind, end, current) =>
      onHost(async (host) => {
        const sha256 = host.release({ version: "0.2.0", kind });
        host.ask("0.2.0", sha256);
        for (let kills = 0; kills < 8;) {
          await sleep(20 + kills * 40);
          const version = host.current ?? "none";
          expect(existsSync(join(host.places.versions, version, "orca.mjs"))).toBe(true);
          // While the new one is in use, somebody judges it.
          if (version === "0.2.0") expect(host.onTrial).toBe(true);
          const killed = host.kill("updater") || host.kill("judge");
          if (killed) kills += 1;
          // A request that was taken by an updater that was killed is lost: the agent asks again.
          else if (!host.onTrial && host.outcomes.length === 0) host.ask("0.2.0", sha256);
        }
        if (!host.onTrial && host.outcomes.length === 0) host.ask("0.2.0", sha256);
        await untilOutcome(host, end);
        expect(host.current).toBe(current);
        await until(
          () => host.starts.at(-1),
          (version) => version === current,
        );
      }),
    LONG_MS,
  );

  test(
    "told to end, as at a reboot that somebody wants, the judge writes that down, and goes on from there",
    () =>
      onHost(async (host) => {
        host.ask("0.2.0", host.release({ version: "0.2.0" }));
        await untilSaid(host, /judges 0\.2\.0/);
        host.kill("judge", "SIGTERM");
        await until(
          () => host.judging,
          (judging) => !judging,
        );
        expect(readFileSync(host.places.trial, "utf8")).toContain("clean yes\nunclean 0\n");
        host.startJudge();
        await untilOutcome(host, "confirmed");
        expect(host.current).toBe("0.2.0");
      }),
    LONG_MS,
  );

  test(
    "somebody who puts another version in use meanwhile ends the trial",
    () =>
      onHost(async (host) => {
        host.ask("0.2.0", host.release({ version: "0.2.0", kind: "hangs" }));
        await untilSaid(host, /judges 0\.2\.0/);
        rmSync(host.places.current);
        symlinkSync("versions/0.1.0", host.places.current);
        await untilSaid(host, /no judgement on 0\.2\.0/);
        expect([host.current, host.outcomes, host.onTrial]).toEqual(["0.1.0", [], false]);
      }),
    LONG_MS,
  );

  test(
    "from a server: one that is away or answers otherwise is no refusal, and it is tried again",
    () =>
      onHost(async (host) => {
        let status = 503;
        const server = createServer(({ url = "" }, response) => {
          const file = join(host.root, "packages", url.replace(/^\/orca\//, ""));
          if (status !== 200 || !existsSync(file)) response.writeHead(status === 200 ? 404 : status).end("<html>");
          else response.end(readFileSync(file));
        });
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
        host.configure(`url = "http://127.0.0.1:${(server.address() as AddressInfo).port}/orca"`);
        const sha256 = host.release({ version: "0.2.0" });
        host.ask("0.2.0", sha256);
        await untilOutcome(host, "unreachable");
        expect(host.outcomes[0]?.reason).toMatch(/the server answers 503/);
        status = 200;
        host.ask("0.2.0", sha256);
        await untilOutcome(host, "confirmed");
        expect(host.current).toBe("0.2.0");
        server.close();
      }),
    LONG_MS,
  );
});

const UNIT = { "orca-agent.service": "[Service]\nExecStart=/opt/orca/current/node\n" };

describe("is refused, and nothing of it is left", () => {
  test.each<[string, pin: string | undefined, PackageChoices, RegExp]>([
    [
      "another package than fleet.toml pins",
      "0".repeat(64),
      { version: "0.2.0" },
      /is not what fleet\.toml pins: its sha256 is/,
    ],
    [
      "one that somebody else has signed",
      undefined,
      { version: "0.2.0", forged: true },
      /its signature is not of the key/,
    ],
    [
      "one that changes a unit",
      undefined,
      { version: "0.2.0", units: { "orca-agent.service": "[Service]\n" } },
      /it changes orca-agent\.service: install its package/,
    ],
    [
      "one that brings a unit",
      undefined,
      { version: "0.2.0", units: { ...UNIT, "orca-new.timer": "" } },
      /it changes orca-new\.timer/,
    ],
    [
      "one that is another version",
      undefined,
      { version: "0.2.0", says: "0.9.0" },
      /says that it is 0\.9\.0, and not 0\.2\.0/,
    ],
  ])("%s", (_name, pin, choices, reason) =>
    onHost(async (host) => {
      const sha256 = host.release(choices);
      host.ask("0.2.0", pin ?? sha256);
      await untilOutcome(host, "refused");
      expect(host.outcomes[0]?.reason).toMatch(reason);
      expect([host.current, host.starts]).toEqual(["0.1.0", ["0.1.0"]]);
      expect(readdirSync(host.places.versions)).toEqual(["0.1.0"]);
    }),
  );

  test("a package with one byte more, although it was signed", () =>
    onHost(async (host) => {
      const sha256 = host.release({ version: "0.2.0" });
      appendFileSync(host.package("0.2.0"), "x");
      host.ask("0.2.0", sha256);
      await untilOutcome(host, "refused");
      expect(host.outcomes[0]?.reason).toMatch(/is not what fleet\.toml pins/);
    }));

  test("everything, where the policy pins no key", () =>
    onHost(async (host) => {
      writeFileSync(join(host.root, "policy.toml"), "");
      host.ask("0.2.0", host.release({ version: "0.2.0" }));
      await untilOutcome(host, "refused");
      expect(host.outcomes[0]?.reason).toBe("the policy pins no release_key");
    }));
});
