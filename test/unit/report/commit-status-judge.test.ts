// What a node says of a commit, turn by turn.

import { expect, test } from "vitest";

import {
  type CommitMemory,
  type CommitVerdict,
  EMPTY_COMMITS,
  judgeCommit,
  markPosted,
  buildSupersededStatus,
} from "../../../agent/report/notify/commit-status-judge.ts";
import { fitDescription } from "../../../agent/report/notify/commit-status-text.ts";
import type { Hold, SourceTrouble, UnreadSource } from "../../../shared/state/hold.ts";
import type { Reason } from "../../../shared/state/reason.ts";
import type { ServiceView } from "../../../shared/state/status.ts";
import { describeTrouble } from "../../../shared/text/words/hold-words.ts";
import { buildDesired, buildTurn, buildView, type TurnParts } from "../../builders/node/turns.ts";

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
          : {
              revision: newest,
              holds: [{ kind: "removal", why: { code: "said", message: held } }],
              desired: undefined,
            },
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

const BACK: Reason = {
  code: "rolled-back",
  revision: B,
  uid: undefined,
  fault: { code: "said", said: { message: "pull of app:9: not found" } },
  over: false,
  why: { code: "takes-its-place", revision: B },
};

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
    [buildView("a", { state: "rolled-back", fact: BACK }), buildView("b", { state: "failed" })],
    {},
    "failure",
    `rolled back to ${B.slice(0, 12)}: a: pull of app:9: not found`,
  ],
  [
    "rolled back, and the old one starts",
    [buildView("a", { state: "starting", fact: { code: "beside", why: BACK, ring: ["a", "b", "a"] } })],
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
  [memory, verdict] = say(memory, [buildView("a", { state: "rolled-back", fact: BACK })]);
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

test("a commit whose end was open gets a last word that is no pending, when another one takes its place, and no other does", () => {
  const [open] = say(EMPTY_COMMITS, [buildView("a", { state: "starting" })]);
  expect(buildSupersededStatus(open)).toBe(undefined);
  let [memory] = say(open, [buildView("a")], { revision: B, inputs: "two" });
  const farewell = buildSupersededStatus(memory);
  expect(farewell).toMatchObject({
    sha: A,
    state: "error",
    description: `superseded by ${B.slice(0, 12)} before it had settled here`,
  });
  memory = farewell === undefined ? memory : markPosted(memory, farewell);
  expect([buildSupersededStatus(memory), memory.posted?.sha]).toEqual([undefined, B]);
  [memory] = say(memory, [buildView("a")], { revision: C, inputs: "three" });
  expect(buildSupersededStatus(memory)).toBe(undefined);
});

test("every commit that was overtaken gets its last word, the oldest first, and none that comes back", () => {
  const open = [buildView("a", { state: "starting" })];
  let [memory] = say(EMPTY_COMMITS, open);
  [memory] = say(memory, open, { revision: B, inputs: "two" });
  [memory] = say(memory, open, { revision: C, inputs: "three" });
  expect(memory.superseded).toEqual([
    { sha: A, by: B },
    { sha: B, by: C },
  ]);
  // The branch is set back to the first one.
  [memory] = say(memory, [buildView("a")]);
  expect([memory.superseded, memory.posted]).toEqual([
    [
      { sha: B, by: C },
      { sha: C, by: A },
    ],
    { sha: A, key: "success" },
  ]);
});

test("a word that the forge takes after its commit was overtaken leaves no end open", () => {
  const { memory, verdict } = judge(EMPTY_COMMITS, [buildView("a", { state: "starting" })]);
  const later = judge(memory, [buildView("a")], { revision: B, inputs: "two" }).memory;
  expect(buildSupersededStatus(later)).toBe(undefined);
  if (verdict !== undefined)
    expect(buildSupersededStatus(markPosted(later, verdict))).toMatchObject({ sha: A, state: "error" });
});

test("what was held and goes in with a later commit of the same inputs is said of that one, and of none that never ran", () => {
  let [memory, verdict] = say(EMPTY_COMMITS, [buildView("a")]);
  const held = "waits for stage (rollout.after)";
  [memory, verdict] = say(memory, [buildView("a")], { revision: A, newest: B, inputs: "two", held });
  expect(verdict).toMatchObject({ sha: B, state: "pending" });
  // The correction of the other node's part is nothing new here, and is what goes in.
  [memory, verdict] = say(memory, [buildView("a")], { revision: A, newest: C, inputs: "two", held });
  expect(verdict).toBe(undefined);
  [memory, verdict] = say(memory, [buildView("a")], { revision: C, inputs: "two" });
  expect(verdict).toMatchObject({ sha: C, state: "success" });
  expect(buildSupersededStatus(memory)).toMatchObject({
    sha: B,
    state: "error",
    description: expect.stringMatching(/^superseded by c/),
  });
  // From now on the word is that commit's, whatever comes that leaves the inputs as they are.
  [memory, verdict] = say(memory, [buildView("a", { state: "starting" })], { revision: B, inputs: "two" });
  expect([memory.sha, verdict]).toEqual([C, undefined]);
});

test("what was held and goes in itself keeps its word", () => {
  let [memory, verdict] = say(EMPTY_COMMITS, [buildView("a")], { revision: B, newest: A, held: "frozen" });
  [memory, verdict] = say(memory, [buildView("a", { state: "starting" })]);
  expect(verdict).toMatchObject({ sha: A, state: "pending" });
  [memory, verdict] = say(memory, [buildView("a")], { revision: C });
  expect([verdict, buildSupersededStatus(memory)]).toMatchObject([{ sha: A, state: "success" }, undefined]);
});

test("without a reading of a commit, or before anything is known, nothing is said", () => {
  const turn = buildTurn({ views: [buildView("a")] });
  expect(judgeCommit(EMPTY_COMMITS, turn)).toEqual({ memory: EMPTY_COMMITS, verdict: undefined });
  const none = buildTurn({ views: [], state: "none", source: { newest: { revision: A, inputs: "one" } } });
  expect(judgeCommit(EMPTY_COMMITS, none)).toEqual({ memory: EMPTY_COMMITS, verdict: undefined });
});

test("a description is one line of at most 255 characters, without passwords", () => {
  const fact = { code: "said", said: { message: "exec ended with 1", output: "PASSWORD=hunter2\nmore" } } as const;
  const shown = judge(EMPTY_COMMITS, [buildView("a", { state: "failed", fact })]).verdict?.description ?? "";
  expect(shown).toBe("failed: a: exec ended with 1");
  const long = `https://jane:hunter2@git.example.com/\u001b[31m ${"ü".repeat(400)}`;
  const cut = judge(EMPTY_COMMITS, [buildView("a", { state: "failed", reason: long })]).verdict?.description ?? "";
  expect(Array.from(cut)).toHaveLength(255);
  expect(cut).toMatch(/^failed: a: https:\/\/git\.example\.com\/ ü+…ü+$/);
});

const LOCATION = "https://git.example.com/acme/platform.git (main)";
const DISTRUSTED: UnreadSource = {
  code: "unread",
  location: LOCATION,
  fault: {
    code: "not-trusted",
    commit: A,
    author: "Jane Doe <jane@example.com>",
    node: "vm1",
    first: false,
    what: "manifests/vm1",
    why: { code: "key-not-listed", fingerprint: `SHA256:${"k".repeat(43)}` },
    needs: 'nodes = ["vm1"]',
    merged: false,
  },
};

test.each<[string, Hold, RegExp]>([
  [
    "a commit that is not trusted",
    { kind: "trust", why: DISTRUSTED },
    /^not applied: commit a{12} by Jane .*nodes = \["vm1"\], or revert it$/,
  ],
  [
    "a removal",
    {
      kind: "removal",
      why: {
        code: "removes-much",
        revision: A,
        gone: ["accounting", "billing", "catalogue", "checkout", "customers-and-their-addresses-of-all-times", "x"],
        of: 14,
      },
    },
    /^held: the change to a{12} would remove 6 of 14 .*or write the trailer Orca-Allow-Removal: 6 into the commit$/,
  ],
  [
    "an approval",
    {
      kind: "approval",
      why: {
        code: "not-approved",
        revision: A,
        node: "vm1",
        first: false,
        signed: true,
        refused: [
          {
            tag: "orca/approve/vm1/x",
            why: { code: "key-not-allowed", key: `jane (SHA256:${"k".repeat(43)})`, node: "vm1" },
          },
        ],
      },
    },
    /run git tag -s -m approve orca\/approve\/vm1\/a{12} a{12} && git push .*is not allowed for vm1$/,
  ],
])("a description that is too long keeps what to do: %s", (_name, hold, shown) => {
  const trouble: SourceTrouble = hold.kind === "trust" ? DISTRUSTED : { code: "held", holds: [hold] };
  const source = { location: LOCATION, trouble, revision: B, holds: [hold], newest: { revision: A, inputs: "two" } };
  const description = judgeCommit(EMPTY_COMMITS, buildTurn({ views: [], source })).verdict?.description ?? "";
  expect(describeTrouble(trouble).length).toBeGreaterThan(240);
  expect(Array.from(description).length).toBeLessThanOrEqual(255);
  expect(description).toMatch(shown);
});

test("a description that fits is left as it is", () => {
  const text = `held: read ${LOCATION}: commit ${A}`;
  expect(fitDescription(text, "brief")).toBe(text);
  expect(fitDescription(`${text} ${"ü".repeat(180)}`, "brief")).toBe("brief");
});

test("what is said in brief of a service has short commits and the age of the turn", () => {
  const why = { code: "said", said: { message: "ü".repeat(180) } } as const;
  const fact = { code: "not-settled-within", revision: A, withinMs: 120_000, why } as const;
  const description = judge(EMPTY_COMMITS, [buildView("a", { state: "failed", fact })]).verdict?.description ?? "";
  expect(description).toMatch(/^failed: a: a{12} did not settle within 2m: ü+$/);
});
