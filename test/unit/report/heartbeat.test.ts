// The call of an address outside: one that did not get there is followed by the next within seconds, whatever the interval.

import { expect, test } from "vitest";

import { Heartbeat } from "../../../agent/report/notify/heartbeat.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";

test("an address that is not known yet is asked for again within seconds, and not once a day", async () => {
  const clock = new FakeClock();
  let asked = 0;
  let alive = false;
  const readUrl = (): { reason: string } => {
    asked += 1;
    return { reason: "the provider was not asked for it yet" };
  };
  const heartbeat = new Heartbeat({ readUrl, everyMs: 86_400_000, clock, userAgent: "orca/0", isAlive: () => alive });
  await clock.advance(15_000);
  expect(asked).toBe(0);
  alive = true;
  await clock.advance(60_000);
  expect(asked).toBe(6);
  expect(heartbeat.trouble).toContain("was not asked for it yet");
  heartbeat.close();
  await clock.advance(60_000);
  expect(asked).toBe(6);
});
