// The judge of a new version, as a table; and by seeds through kills, power cuts and reboots at each step: at every moment a whole version
// is in use, a good one stays, a bad one goes and is not tried again.

import { array, assert, boolean, constant, constantFrom, nat, property, record, stringMatching } from "fast-check";
import { describe, expect, test } from "vitest";

import {
  type AgentLook,
  beginJudging,
  BOOT_DEADLINE_MS,
  DEADLINE_MS,
  EMPTY_JUDGE,
  HEALTHY_MS,
  judgeTrial,
  type Look,
} from "../../../agent/update/core/judge-trial.ts";
import { parseTrial, printTrial, type Trial } from "../../../agent/update/core/trial.ts";
import { playMachine } from "../../builders/data/update-machine.ts";

const TRIAL: Trial = {
  from: "0.1.0",
  to: "0.2.0",
  sha256: "a".repeat(64),
  phase: "trial",
  heard: ["vm-data"],
  boot: "boot-1",
  sinceMs: 1_000_000,
  clean: false,
  unclean: 0,
  reason: "",
};
const GOOD: AgentLook = { version: "0.2.0", run: "1", reconciled: true, heardBy: ["vm-data"] };

/** Looks every two seconds until something is to be done; answers what, and when. */
function judge(trial: Trial, see: (atMs: number) => AgentLook | undefined, current: string | undefined = "0.2.0") {
  let memory = EMPTY_JUDGE;
  for (let atMs = 0; ; atMs += 2_000) {
    const look: Look = { nowMs: trial.sinceMs + atMs, current, agent: see(atMs) };
    const judged = judgeTrial(trial, memory, look);
    memory = judged.memory;
    if (judged.verdict.kind !== "wait" && judged.verdict.kind !== "restart") return { atMs, verdict: judged.verdict };
    if (atMs > 1_000_000) throw new Error("it never ends");
  }
}

describe("a version stays", () => {
  test("after a minute in which it was well and heard", () => {
    const { atMs, verdict } = judge(TRIAL, (at) => (at < 4_000 ? undefined : GOOD));
    expect([atMs, verdict.kind]).toEqual([4_000 + HEALTHY_MS, "confirm"]);
    expect(verdict).toMatchObject({ said: "it has reconciled, was well for a minute, and vm-data hears it" });
  });

  test("where nobody heard the one before, and that is said", () => {
    const { verdict } = judge({ ...TRIAL, heard: [] }, () => ({ ...GOOD, heardBy: undefined }));
    expect(verdict).toMatchObject({
      kind: "confirm",
      said: expect.stringContaining("no peer heard the version before"),
    });
  });

  test("the minute begins anew with each start, and after each trouble", () => {
    const restarted = judge(TRIAL, (at) => ({ ...GOOD, run: at < 40_000 ? "1" : "2" }));
    expect(restarted.atMs).toBe(40_000 + HEALTHY_MS);
    const troubled = judge(TRIAL, (at) => ({ ...GOOD, reconciled: at !== 30_000 }));
    expect(troubled.atMs).toBe(32_000 + HEALTHY_MS);
  });
});

describe("a version goes", () => {
  test.each<[string, (at: number) => AgentLook | undefined, string]>([
    ["exits at once", () => undefined, "it does not answer"],
    [
      "starts again and again",
      (at) => (at % 20_000 === 0 ? undefined : { ...GOOD, run: `${Math.floor(at / 20_000)}` }),
      "well for a minute",
    ],
    ["hangs", (at) => (at < 30_000 ? GOOD : undefined), "it does not answer"],
    ["never reconciles", () => ({ ...GOOD, reconciled: false }), "it has not reconciled"],
    ["is not heard", () => ({ ...GOOD, heardBy: [] }), "none of vm-data hears it"],
    ["is heard by others alone", () => ({ ...GOOD, heardBy: ["vm-new"] }), "none of vm-data hears it"],
    ["is another one", () => ({ ...GOOD, version: "0.3.0" }), "0.3.0 answers in its place"],
  ])("that %s", (_name, see, reason) => {
    const { atMs, verdict } = judge(TRIAL, see);
    expect([atMs, verdict.kind]).toEqual([DEADLINE_MS, "back"]);
    expect(verdict).toMatchObject({ reason: expect.stringContaining(reason) });
  });

  test("later after a boot, when everything starts", () => {
    expect(judge({ ...TRIAL, sinceMs: 8_000 }, () => undefined).atMs).toBe(BOOT_DEADLINE_MS);
  });

  test("at once when the host went down twice and nobody wanted it", () => {
    let trial = beginJudging(TRIAL, "boot-2", 5_000);
    expect(judge(trial, () => GOOD).verdict.kind).toBe("confirm");
    trial = beginJudging(trial, "boot-3", 5_000);
    expect(judge(trial, () => GOOD)).toMatchObject({ atMs: 0, verdict: { kind: "back" } });
  });

  test("a reboot that somebody wants is no strike, however often", () => {
    let trial = TRIAL;
    for (let boot = 2; boot < 9; boot += 1) trial = beginJudging({ ...trial, clean: true }, `boot-${boot}`, 5_000);
    expect(trial).toMatchObject({ unclean: 0, clean: false, boot: "boot-8" });
    // Nor one that comes before the judge has begun, as the updater writes the file.
    expect(beginJudging({ ...TRIAL, clean: true }, "boot-2", 5_000)).toMatchObject({ unclean: 0, clean: false });
    // Started anew in the same boot is none either.
    expect(beginJudging(trial, "boot-8", 9_000)).toEqual(trial);
  });
});

test("nothing is judged where something else is in use", () => {
  expect(judge(TRIAL, () => GOOD, "0.1.0").verdict).toEqual({
    kind: "over",
    said: "the new version was never put in use",
  });
  expect(judge(TRIAL, () => GOOD, "0.9.0").verdict).toEqual({ kind: "over", said: "0.9.0 was put in use meanwhile" });
});

describe("the file", () => {
  test("is read as it was written", () => {
    const name = stringMatching(/^[a-z0-9][a-z0-9.-]{0,20}$/);
    const trial = record({
      from: name,
      to: name,
      sha256: constant("b".repeat(64)),
      phase: constantFrom("trial" as const, "back" as const),
      heard: array(name, { maxLength: 5 }),
      boot: name,
      sinceMs: nat(),
      clean: boolean(),
      unclean: nat(9),
      reason: constantFrom("", "it does not answer"),
    });
    assert(
      property(trial, (value) => {
        expect(parseTrial(printTrial(value))).toEqual(value);
      }),
    );
  });

  test("a part of it is none, and a reason of several lines adds no line", () => {
    const text = printTrial({ ...TRIAL, phase: "back", reason: "a\nto 9.9.9\nend" });
    expect(parseTrial(text)).toMatchObject({ to: "0.2.0", reason: "a to 9.9.9 end" });
    const whole = printTrial(TRIAL);
    for (let length = 0; length < whole.length - 1; length += 1)
      expect(parseTrial(whole.slice(0, length))).toBeUndefined();
    expect(parseTrial(whole.replace("0.2.0", "../../etc"))).toBeUndefined();
  });

  test("keeps its format: this is what every judge to come will be given", () => {
    expect(printTrial(TRIAL)).toBe(
      `orca-trial 1\nfrom 0.1.0\nto 0.2.0\nsha256 ${"a".repeat(64)}\nphase trial\nheard vm-data\nboot boot-1\nsince 1000000\nclean no\nunclean 0\nreason -\nend\n`,
    );
  });
});

describe("by seeds", () => {
  const SEEDS = process.env["ORCA_SLOW"] === "1" ? 20_000 : 1_500;

  test.each(["good", "exits", "hangs", "never-reconciles", "unseen", "lonely"] as const)(
    "a version that is %s, through kills, power cuts and reboots at each step",
    (kind) => {
      for (let seed = 0; seed < SEEDS; seed += 1) {
        const end = playMachine({ seed, kind });
        expect({ seed, ...end }).toMatchObject({ seed, broken: [] });
        const stays = kind === "good" || kind === "lonely";
        // A host that goes down again and again may take a good version with it: that is what the strikes are for. So may one that kills
        // the judge again and again, which then never sees a whole minute.
        const wanted = stays ? (end.unclean < 2 && end.kills < 2 ? "0.2.0" : end.current) : "0.1.0";
        expect({ seed, kind, current: end.current, running: end.running }).toEqual({
          seed,
          kind,
          current: wanted,
          running: wanted,
        });
        if (wanted === "0.1.0" && !stays) expect({ seed, retried: end.retried }).toEqual({ seed, retried: false });
      }
    },
  );

  test.each(["exits", "hangs", "never-reconciles", "unseen"] as const)(
    "without any cut, one that %s is back within three minutes",
    (kind) => {
      const end = playMachine({ seed: 1, kind, cuts: 0 });
      expect(end.current).toBe("0.1.0");
      expect(end.backAfterMs).toBeLessThanOrEqual(180_000);
    },
  );
});
