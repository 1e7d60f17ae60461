// In which order the disk is written: what a power cut leaves is always a version that runs. A container's page cache outlives the
// container, so the order of the calls is looked at; and a cut at each call, on a real directory.

import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { carryOut, type Hands, readIfThere } from "../../../agent/update/carry-out.ts";
import { parseTrial, type Trial } from "../../../agent/update/core/trial.ts";
import { parseRecord, type UpdateOutcome } from "../../../agent/update/core/update-record.ts";
import { planBack, planConfirm, planTrial } from "../../../agent/update/core/update-steps.ts";
import { type DiskCalls, HOST_DISK, moveDurably } from "../../../agent/update/durable.ts";
import { listPlaces, readVersionLink } from "../../../agent/update/places.ts";

const TRIAL: Trial = {
  from: "0.1.0",
  to: "0.2.0",
  sha256: "d".repeat(64),
  phase: "trial",
  heard: [],
  boot: "b",
  sinceMs: 1,
  clean: false,
  unclean: 0,
  reason: "",
};
const FAILED: UpdateOutcome = { version: "0.2.0", sha256: TRIAL.sha256, result: "failed", reason: "it hangs", atMs: 5 };

let root = "";

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "orca-durable-"));
  for (const version of ["0.1.0", "0.2.0"]) {
    mkdirSync(join(root, "versions", version), { recursive: true });
    writeFileSync(join(root, "versions", version, "orca.mjs"), version);
  }
  HOST_DISK.link("versions/0.1.0", join(root, "current"));
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

/** The real calls, each written down; the one with a number, and all after it, are cut off. */
function record(calls: string[], cutAt = Infinity): DiskCalls {
  const call = (line: string, act: () => void): void => {
    if (calls.length >= cutAt) throw new Error("cut");
    calls.push(line);
    act();
  };
  const name = (path: string): string => path.replace(`${root}/`, "").replace(root, ".");
  return {
    write: (path, text) => call(`write ${name(path)}`, () => HOST_DISK.write(path, text)),
    sync: (path) => call(`sync ${name(path)}`, () => HOST_DISK.sync(path)),
    rename: (from, to) => call(`rename ${name(from)} ${name(to)}`, () => HOST_DISK.rename(from, to)),
    link: (target, path) => call(`link ${target} ${name(path)}`, () => HOST_DISK.link(target, path)),
    remove: (path) => call(`remove ${name(path)}`, () => HOST_DISK.remove(path)),
  };
}

function hands(calls: string[], cutAt?: number): Hands {
  return {
    places: listPlaces(root),
    disk: record(calls, cutAt),
    tell: async (words) => {
      calls.push(words.join(" "));
    },
  };
}

describe("the order", () => {
  test("of a trial: the file, then who judges, then what is in use, each synced before the next", async () => {
    const calls: string[] = [];
    await carryOut(planTrial(TRIAL), hands(calls));
    expect(calls).toEqual([
      "write trial.new",
      "sync trial.new",
      "rename trial.new trial",
      "sync .",
      "remove judge.new",
      "link versions/0.1.0 judge.new",
      "rename judge.new judge",
      "sync .",
      "remove current.new",
      "link versions/0.2.0 current.new",
      "rename current.new current",
      "sync .",
      "start --no-block orca-judge.service",
    ]);
  });

  test("of a version's files: every one of them, and their directories, before it has its name", () => {
    mkdirSync(join(root, "versions/.unpacked/help"), { recursive: true });
    for (const name of ["node", "help/a.md"]) writeFileSync(join(root, "versions/.unpacked", name), "x");
    const calls: string[] = [];
    moveDurably(record(calls), join(root, "versions/.unpacked"), join(root, "versions/0.3.0"));
    const renamed = calls.findIndex((line) => line.startsWith("rename"));
    expect(calls.slice(0, renamed).toSorted()).toEqual(
      ["", "/help", "/help/a.md", "/node"].map((name) => `sync versions/.unpacked${name}`).toSorted(),
    );
    expect(calls.slice(renamed)).toEqual(["rename versions/.unpacked versions/0.3.0", "sync versions"]);
  });

  test("of the way back: why, what became of it, what is in use, the agent, and then the file goes", async () => {
    const calls: string[] = [];
    await carryOut(planTrial(TRIAL), hands([]));
    await carryOut(planBack(TRIAL, FAILED), hands(calls));
    expect(calls.filter((line) => /^(rename|remove trial|restart)/.test(line))).toEqual([
      "rename trial.new trial",
      "rename updates.json.new updates.json",
      "rename current.new current",
      "restart --no-block orca-agent.service",
      "remove trial",
    ]);
  });
});

/** What is in use is a whole version. */
function expectRuns(): string {
  expect(lstatSync(join(root, "current")).isSymbolicLink()).toBe(true);
  const version = basename(readlinkSync(join(root, "current")));
  expect(readFileSync(join(root, "current/orca.mjs"), "utf8")).toBe(version);
  return version;
}

test.each([
  ["put on trial", planTrial(TRIAL), "0.2.0"],
  ["put back", planBack(TRIAL, FAILED), "0.1.0"],
])(
  "cut off at each call while it is %s, a version runs, and the same again ends where it would have",
  async (_name, steps, end) => {
    const whole: string[] = [];
    await carryOut(steps, hands(whole));
    for (let cutAt = 0; cutAt <= whole.length; cutAt += 1) {
      for (const name of readdirSync(root)) if (name !== "versions") rmSync(join(root, name), { force: true });
      HOST_DISK.link("versions/0.1.0", join(root, "current"));
      if (end === "0.1.0") await carryOut(planTrial(TRIAL), hands([]));
      await carryOut(steps, hands([], cutAt)).catch(() => undefined);
      const version = expectRuns();
      const places = listPlaces(root);
      const trial = parseTrial(readIfThere(places.trial) ?? "");
      // The new one is never in use without a trial, nor without a judge of the old version.
      if (version === "0.2.0") {
        expect(trial).toBeDefined();
        expect(readVersionLink(places.judge)).toBe("0.1.0");
      }
      await carryOut(steps, hands([]));
      expect(expectRuns()).toBe(end);
      expect(existsSync(places.trial)).toBe(end === "0.2.0");
      if (end === "0.1.0") expect(parseRecord(readIfThere(places.record))).toEqual([FAILED]);
    }
  },
);

test("a version that stays is written down before the trial ends", async () => {
  await carryOut(planTrial(TRIAL), hands([]));
  const calls: string[] = [];
  await carryOut(planConfirm({ ...FAILED, result: "confirmed" }), hands(calls));
  expect(calls.findIndex((line) => line.includes("updates.json"))).toBeLessThan(calls.indexOf("remove trial"));
});
