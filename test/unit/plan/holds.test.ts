// What holds a whole change: freeze windows over time, and every hold with what lifts it. Judged by the fleet.toml in force.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { judgeTurn } from "../../../agent/daemon/exit-when-settled.ts";
import { findFreezeEnd } from "../../../agent/desired/holds/freeze.ts";
import { type Change, listHolds } from "../../../agent/desired/holds/holds.ts";
import { type Fleet, fleetSchema } from "../../../shared/fleet/fleet.ts";
import { describeHold, describeHolds } from "../../../shared/text/words/hold-words.ts";
import { parseToml } from "../../../shared/text/parse-toml.ts";
import { buildTurn, buildView } from "../../builders/node/turns.ts";
import { readCpuMs } from "../../builders/data/cpu-time.ts";

const HOUR = 3_600_000;
const at = (text: string): number => Date.parse(`${text}Z`);
const WEEKEND = { schedule: "0 16 * * 5", for: 64 * HOUR };

describe("a freeze", () => {
  test.each([
    ["2026-11-20T15:59:59", undefined],
    ["2026-11-20T16:00:00", "2026-11-23T08:00:00"],
    ["2026-11-22T03:00:00", "2026-11-23T08:00:00"],
    ["2026-11-23T07:59:59", "2026-11-23T08:00:00"],
    ["2026-11-23T08:00:00", undefined],
    // A change to summer time makes no hour more or less: schedules are UTC.
    ["2027-03-28T12:00:00", "2027-03-29T08:00:00"],
  ])("on Fridays at four for 64 hours, at %s, ends at %s", (now, end) => {
    expect(findFreezeEnd([WEEKEND], at(now))).toBe(end === undefined ? undefined : at(end));
  });

  test("of windows that follow each other ends with the last; several count together", () => {
    const nightly = { schedule: "0 22 * * *", for: 8 * HOUR };
    expect(findFreezeEnd([nightly], at("2026-11-20T23:00"))).toBe(at("2026-11-21T06:00"));
    expect(findFreezeEnd([nightly, WEEKEND], at("2026-11-20T23:00"))).toBe(at("2026-11-23T08:00"));
    const overlapping = { schedule: "0 0 * * 1,2,3", for: 30 * HOUR };
    expect(findFreezeEnd([overlapping], at("2026-11-23T01:00"))).toBe(at("2026-11-26T06:00"));
    const touching = { schedule: "0 0 * * 6,0", for: 24 * HOUR };
    expect(findFreezeEnd([touching], at("2026-11-21T12:00"))).toBe(at("2026-11-23T00:00"));
    expect(findFreezeEnd([], at("2026-11-21T12:00"))).toBe(undefined);
  });

  test("that never ends is looked at again from time to time, and costs little", () => {
    const now = at("2026-11-21T12:00");
    const begun = readCpuMs();
    expect(findFreezeEnd([{ schedule: "* * * * *", for: 7 * 24 * HOUR }], now)).toBeGreaterThan(now);
    expect(readCpuMs() - begun).toBeLessThan(1_000);
  });

  test("holds exactly within its windows, whenever it is asked for", () => {
    const hours = fc.integer({ min: 0, max: 24 * 40 });
    fc.assert(
      fc.property(hours, fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 6 }), (hour, length, day) => {
        const freeze = { schedule: `0 6 * * ${day}`, for: length * HOUR };
        const now = at("2026-11-01T00:00") + hour * HOUR;
        const isFrozen = Array.from({ length }, (_value, back) => new Date(now - back * HOUR)).some(
          (time) => time.getUTCDay() === day && time.getUTCHours() === 6,
        );
        const end = findFreezeEnd([freeze], now);
        expect(end !== undefined).toBe(isFrozen);
        if (end !== undefined) expect([end > now, findFreezeEnd([freeze], end)]).toEqual([true, undefined]);
      }),
    );
  });

  test("begins at a time of the calendar: an interval has none", async () => {
    const text = `[nodes.a]\naddress = "10.0.0.1"\nenv = "prod"\nmemory = "1GiB"\nfreeze = [{ schedule = "every 5h", for = "1h" }]`;
    expect(await parseToml(fleetSchema, text, "fleet.toml")).toMatchObject({
      ok: false,
      problems: [{ key: "nodes.a.freeze[0].schedule", message: "a freeze begins at a time of the calendar" }],
    });
  });
});

function buildFleet(gates: object): Fleet {
  const node = { address: "10.0.0.1", env: "prod", memory: "1GiB" };
  return fleetSchema.parse({ nodes: { vm1: { ...node, ...gates }, stage: { ...node, address: "10.0.0.2" } } });
}

const OBJECTS = { directory: "d".repeat(40), fleet: "f".repeat(40) };
const NEXT = { directory: "e".repeat(40), fleet: "f".repeat(40) };
const REVISION = "b".repeat(40);
const FRIDAY = at("2026-11-20T17:00");

function buildChange(parts: Partial<Change> & { trailer?: string; gates?: object } = {}): Change {
  const { trailer, gates = {}, ...others } = parts;
  const trailers = trailer === undefined ? [] : [trailer.split(": ") as [string, string]];
  const commit = { author: "a", committer: "a", committedMs: 0, subject: "s", trailers };
  const inForce = { revision: "a".repeat(40), acceptedMs: 0, fleet: "", services: {}, objects: OBJECTS };
  return {
    node: "vm1",
    snapshot: { revision: REVISION, commit, objects: NEXT },
    inForce,
    judging: buildFleet(gates),
    services: { before: new Set(["a"]), after: new Set(["a"]) },
    allowedRemovals: 0,
    approvals: undefined,
    rollout: undefined,
    nowMs: FRIDAY,
    ...others,
  };
}

const kinds = (change: Change): string[] => listHolds(change).map(({ kind }) => kind);
const AFTER = { rollout: { after: "stage" } };
const FREEZE = { freeze: [{ schedule: "0 16 * * 5", for: "64h" }] };
const ALL = { approval: "tag", ...FREEZE, ...AFTER };
const same = { revision: REVISION, objects: OBJECTS };

test("orca up --once ends with a refusal where the whole change is held, however well all runs", () => {
  const views = [buildView("web")];
  const held = {
    revision: REVISION,
    holds: [{ kind: "freeze", why: { code: "said", message: "it is frozen" } } as const],
    desired: undefined,
  };
  expect(judgeTurn(buildTurn({ views }))).toBe("settled");
  expect(judgeTurn(buildTurn({ views, state: { held } }))).toBe("refused");
});

describe("a change", () => {
  test("is held by all that applies, and each says so", () => {
    const services = { before: new Set(["a", "b", "c"]), after: new Set<string>() };
    const holds = listHolds(buildChange({ gates: ALL, services }));
    expect(holds.map(({ kind }) => kind)).toEqual(["removal", "approval", "freeze", "rollout"]);
    const said = holds.map(describeHold);
    expect(said[1]).toContain(
      `run git tag -s -m approve orca/approve/vm1/bbbbbbbbbbbb ${REVISION} && git push origin orca/approve/vm1/bbbbbbbbbbbb`,
    );
    expect(holds[2]?.untilMs).toBe(at("2026-11-23T08:00"));
    expect(said[2]).toContain("2026-11-23 08:00 UTC");
    expect(said[3]).toContain("waits for stage (rollout.after): stage has not said yet how it went");
  });

  test("of nothing is held by nothing", () => {
    expect(kinds(buildChange({ gates: ALL, snapshot: same }))).toEqual([]);
    expect(kinds(buildChange({ gates: {} }))).toEqual([]);
  });

  test("is judged by what is in force, also where objects are not known", () => {
    const { objects: _objects, ...inForce } = buildChange().inForce ?? {
      revision: "",
      acceptedMs: 0,
      fleet: "",
      services: {},
    };
    expect(kinds(buildChange({ gates: ALL, inForce }))).toEqual(["approval", "freeze", "rollout"]);
    expect(kinds(buildChange({ gates: ALL, inForce: { ...inForce, revision: REVISION } }))).toEqual([]);
  });

  test("of a directory is frozen, and waits for no tag and no commit", () => {
    expect(kinds(buildChange({ gates: ALL, snapshot: { revision: "dir:0123456789ab" } }))).toEqual(["freeze"]);
  });

  test("that brings a node up for the first time waits for approval alone", () => {
    const change = buildChange({ gates: ALL, inForce: undefined });
    const holds = listHolds(change);
    expect(holds.map(({ kind }) => kind)).toEqual(["approval"]);
    expect(describeHolds(holds)).toMatch(/^the first installation of vm1 waits/);
  });

  test("with an approval is not held for one; a tag that is none says why", () => {
    const approvals = { granted: "orca/approve/vm1/x by Jane", signed: true, refused: [] };
    expect(kinds(buildChange({ gates: { approval: "tag" }, approvals }))).toEqual([]);
    const none = {
      granted: undefined,
      signed: false,
      refused: [{ tag: "x", why: { code: "lightweight-tag", signed: false } }],
    } as const;
    const holds = listHolds(buildChange({ gates: { approval: "tag" }, approvals: none }));
    expect(describeHolds(holds)).toMatch(
      /run git tag -a .* \(without source\.git\.trusted_keys .* counts\); the tag x does not approve it: it is a lightweight tag; make an annotated one \(git tag -a\)$/,
    );
  });

  test("in an emergency waits for people alone, and the word must say why", () => {
    const services = { before: new Set(["a", "b", "c"]), after: new Set<string>() };
    expect(kinds(buildChange({ gates: ALL, services, trailer: "Orca-Emergency: login is down" }))).toEqual([
      "removal",
      "approval",
    ]);
    expect(kinds(buildChange({ gates: { ...FREEZE, ...AFTER }, trailer: "Orca-Emergency: " }))).toEqual([
      "freeze",
      "rollout",
    ]);
  });

  test.each([
    [{ kind: "settled" }, undefined],
    [{ kind: "failed", state: "failure" }, /its rollout there ended with failure/],
    [{ kind: "waiting", sinceMs: FRIDAY }, /has not settled there yet; waiting since 2026-11-20 17:00 UTC/],
    [
      { kind: "unknown", reason: "nothing listens", retryMs: FRIDAY },
      /how it went there is not known: nothing listens; next try at 2026-11-20 17:00 UTC/,
    ],
  ] as const)("waits for another node: %j", (rollout, says) => {
    const holds = listHolds(buildChange({ gates: AFTER, rollout }));
    if (says === undefined) expect(holds).toEqual([]);
    else expect(describeHolds(holds)).toMatch(says);
  });

  test("that is none for the other node does not wait for it", () => {
    const snapshot = { revision: REVISION, objects: NEXT, awaited: { node: "stage", revisions: [] } };
    expect(kinds(buildChange({ gates: AFTER, snapshot }))).toEqual([]);
    expect(
      kinds(buildChange({ gates: AFTER, snapshot: { ...snapshot, awaited: { node: "other", revisions: [] } } })),
    ).toEqual(["rollout"]);
  });
});
