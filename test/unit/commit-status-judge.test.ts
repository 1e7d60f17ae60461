// What a node says of a commit, turn by turn.

import { expect, test } from "vitest";

import {
  type CommitMemory,
  type CommitVerdict,
  EMPTY_COMMITS,
  judgeCommit,
  markPosted,
  sayFarewell,
} from "../../agent/report/commit-status-judge.ts";
import type { ServiceView } from "../../shared/status.ts";
import { buildDesired, buildTurn, buildView, type TurnParts } from "../builders/turns.ts";

const [A, B, C] = ["a".repeat(40), "b".repeat(40), "c".repeat(40)];

interface Choices {
  revision?: string;
  newest?: string;
  inputs?: string;
  held?: string;
  desired?: TurnParts["desired"];
  trouble?: string;
}

function judge(
  memory: CommitMemory,
  views: readonly ServiceView[],
  choices: Choices = {},
): ReturnType<typeof judgeCommit> {
  const { revision = A, newest = revision, inputs = "one", held, desired, trouble } = choices;
  const turn = buildTurn({
    views,
    ...(desired === undefined ? {} : { desired }),
    state: {
      held:
        held === undefined
          ? undefined
          : { revision: newest, holds: [{ kind: "removal", reason: held }], desired: undefined },
    },
    source: { kind: "git", revision, trouble: trouble ?? held, newest: { revision: newest, inputs } },
  });
  return judgeCommit(memory, turn);
}

/** Judges, and takes down that the forge took the word. */
function say(
  memory: CommitMemory,
  views: readonly ServiceView[],
  choices: Choices = {},
): [CommitMemory, CommitVerdict?] {
  const judged = judge(memory, views, choices);
  if (judged.verdict === undefined) return [judged.memory];
  return [markPosted(judged.memory, judged.verdict), judged.verdict];
}

const BACK = `rolled back to ${B}: pull of app:9: not found; what Git wants is held until its manifest changes`;

test.each<[string, ServiceView[], Choices, string, string]>([
  ["all settled", [buildView("a"), buildView("b")], {}, "success", "2 services are settled"],
  ["one service", [buildView("a")], {}, "success", "1 service is settled"],
  ["no service", [], {}, "success", "nothing runs here"],
  [
    "healthy and not settled",
    [buildView("a"), buildView("b", { settled: false })],
    {},
    "pending",
    "1 of 2 settled; b is healthy",
  ],
  [
    "several on their way",
    [buildView("a", { state: "pulling" }), buildView("b", { state: "waiting" }), buildView("c", { state: "stopped" })],
    {},
    "pending",
    "1 of 3 settled; a is pulling (and 1 more)",
  ],
  [
    "rolled back",
    [buildView("a", { state: "rolled-back", reason: BACK }), buildView("b", { state: "failed" })],
    {},
    "failure",
    `rolled back to ${B.slice(0, 12)}: a: pull of app:9: not found`,
  ],
  [
    "rolled back, and the old one starts",
    [buildView("a", { state: "starting", reason: `${BACK}; starting` })],
    {},
    "failure",
    `rolled back to ${B.slice(0, 12)}: a: pull of app:9: not found`,
  ],
  [
    "invalid",
    [buildView("a", { state: "invalid", reason: "a.toml:1:1: image: is missing" })],
    {},
    "failure",
    "invalid: a: a.toml:1:1: image: is missing",
  ],
  [
    "refused, twice",
    ["a", "b"].map((name) => buildView(name, { state: "refused", reason: "policy" })),
    {},
    "failure",
    "refused: a: policy (and 1 more)",
  ],
  ["stalled", [buildView("a", { state: "stalled", reason: "why" })], {}, "failure", "stalled: a: why"],
  ["a service held", [buildView("a", { state: "held", reason: "budget" })], {}, "pending", "held: a: budget"],
  ["paused", [buildView("a", { state: "paused", reason: "by uid 0" })], {}, "pending", "paused: a: by uid 0"],
  [
    "the commit held",
    [buildView("a")],
    { revision: B, newest: A, held: "it would remove 4 of 5 services" },
    "pending",
    "held: it would remove 4 of 5 services",
  ],
  ["the source not in force", [buildView("a")], { revision: B, newest: A, trouble: "why" }, "pending", "held: why"],
  [
    "a cron job whose last run failed",
    [buildView("a"), buildView("job", { state: "failed", settled: false })],
    { desired: [buildDesired("a"), buildDesired("job", { schedule: "0 3 * * *" })] },
    "success",
    "1 service is settled",
  ],
  [
    "a migration that failed",
    [buildView("job", { state: "failed", settled: false, reason: "exit code 3" })],
    { desired: [buildDesired("job", { schedule: "@once" })] },
    "failure",
    "failed: job: exit code 3",
  ],
])("%s", (...[, views, choices, state, description]) => {
  expect(judge(EMPTY_COMMITS, views, choices).verdict).toMatchObject({ sha: A, state, description });
});

test("the same is said once, whatever times and counts are in its words; a change is said", () => {
  let memory = EMPTY_COMMITS;
  let verdict: CommitVerdict | undefined;
  const pending = (restarts: number): ServiceView[] => [
    buildView("a", { state: "backoff", reason: `restart ${restarts} in 658ms` }),
  ];
  [memory, verdict] = say(memory, pending(1));
  expect(verdict?.state).toBe("pending");
  [memory, verdict] = say(memory, pending(2));
  expect(verdict).toBe(undefined);
  [memory, verdict] = say(memory, [buildView("a", { state: "rolled-back", reason: BACK })]);
  expect(verdict?.state).toBe("failure");
  [memory, verdict] = say(memory, [buildView("a")]);
  expect(verdict?.state).toBe("success");
});

test("a good end is the end: what breaks later is said of no commit", () => {
  let [memory, verdict] = say(EMPTY_COMMITS, [buildView("a")]);
  expect(verdict?.state).toBe("success");
  [memory, verdict] = say(memory, [buildView("a", { state: "failed" })]);
  expect(verdict).toBe(undefined);
  expect(memory.posted).toEqual({ sha: A, key: "success" });
});

test("a commit that leaves the node's inputs as they are gets no word; the word of the one before goes on", () => {
  let [memory, verdict] = say(EMPTY_COMMITS, [buildView("a", { state: "starting" })]);
  [memory, verdict] = say(memory, [buildView("a", { state: "starting" })], { revision: B });
  expect(verdict).toBe(undefined);
  [memory, verdict] = say(memory, [buildView("a")], { revision: C });
  expect(verdict).toMatchObject({ sha: A, state: "success" });
  [memory, verdict] = say(memory, [buildView("a")], { revision: B, inputs: "two" });
  expect(verdict).toMatchObject({ sha: B, state: "success" });
  // A revert is a change too.
  [memory, verdict] = say(memory, [buildView("a")], { revision: C, inputs: "one" });
  expect(verdict).toMatchObject({ sha: C, state: "success" });
});

test("a commit whose end was open gets a last word when another one takes its place, and no other does", () => {
  const [open] = say(EMPTY_COMMITS, [buildView("a", { state: "starting" })]);
  const [after] = say(open, [buildView("a")], { revision: B, inputs: "two" });
  expect(sayFarewell(open, after)).toMatchObject({
    sha: A,
    state: "pending",
    description: `superseded by ${B.slice(0, 12)}`,
  });
  expect(sayFarewell(open, open)).toBe(undefined);
  const [next] = say(after, [buildView("a")], { revision: C, inputs: "three" });
  expect(sayFarewell(after, next)).toBe(undefined);
  expect(sayFarewell(EMPTY_COMMITS, open)).toBe(undefined);
});

test("without a reading of a commit, or before anything is known, nothing is said", () => {
  const turn = buildTurn({ views: [buildView("a")] });
  expect(judgeCommit(EMPTY_COMMITS, turn)).toEqual({ memory: EMPTY_COMMITS, verdict: undefined });
  const none = buildTurn({ views: [], state: "none", source: { newest: { revision: A, inputs: "one" } } });
  expect(judgeCommit(EMPTY_COMMITS, none)).toEqual({ memory: EMPTY_COMMITS, verdict: undefined });
});

test("a description is one line of at most 255 characters, without what a container printed and without passwords", () => {
  const reason = "exec ended with 1: PASSWORD=hunter2\nmore";
  const shown = judge(EMPTY_COMMITS, [buildView("a", { state: "failed", reason })]).verdict?.description ?? "";
  expect(shown).toBe("failed: a: exec ended with 1");
  const long = `https://jane:hunter2@git.example.com/\u001b[31m ${"ü".repeat(400)}`;
  const cut = judge(EMPTY_COMMITS, [buildView("a", { state: "failed", reason: long })]).verdict?.description ?? "";
  expect(Array.from(cut)).toHaveLength(255);
  expect(cut).toMatch(/^failed: a: https:\/\/git\.example\.com\/ \[31m ü+…$/);
});
