// What a push means for a node, case by case.

import { assert, anything, property } from "fast-check";
import { expect, test } from "vitest";

import { judgePush } from "../../../agent/sources/forge/push-payload.ts";
import { buildPush, type PushChoices } from "../../../scripts/lab/git/push.ts";

const INTEREST = { url: "https://git.example.com/sub/Acme/platform.git", branch: "main", node: "vm1" };
const NONE = "0".repeat(40);

test.each<[string, PushChoices]>([
  ["to the branch", {}],
  ["that makes the branch", { before: NONE }],
  ["of this node's approval", { ref: "refs/tags/orca/approve/vm1/2026-11-21", before: NONE }],
  ["that takes this node's approval back", { ref: "refs/tags/orca/approve/vm1/2026-11-21", after: NONE }],
  ["to the repository by another case", { repository: "acme/Platform" }],
  ["of a repository that has no owner", { repository: "platform" }],
])("a push %s concerns the node", (_name, choices) => {
  expect(judgePush("push", buildPush(choices), INTEREST).kind).toBe("concerns");
  expect(judgePush(undefined, buildPush(choices), INTEREST).kind).toBe("concerns");
});

test.each<[string, PushChoices, RegExp]>([
  ["to another branch", { ref: "refs/heads/main2" }, /to "main2", and this node follows main/],
  ["to a branch of a longer name", { ref: "refs/heads/feature/main" }, /feature\/main/],
  ["of a tag", { ref: "refs/tags/v1.0" }, /tag "v1\.0" is no approval/],
  ["of another node's approval", { ref: "refs/tags/orca/approve/vm10/x" }, /no approval of this node/],
  ["that deletes the branch", { after: NONE }, /main was deleted: what is in force stays/],
  ["to another branch of another repository", { repository: "acme/shop", ref: "refs/heads/x" }, /the push is to "x"/],
])("a push %s is nothing for the node", (_name, choices, why) => {
  expect(judgePush("push", buildPush(choices), INTEREST)).toEqual({
    kind: "nothing",
    why: expect.stringMatching(why),
  });
});

test("a push of another repository concerns the node, since a renamed one pushes by its new name, and people are told", () => {
  const { kind, why, doubt } = judgePush("push", buildPush({ repository: "acme/newname" }), INTEREST);
  expect([kind, why]).toEqual(["concerns", 'a push to main of "acme/newname"']);
  expect(doubt).toMatch(
    /of "acme\/newname", and source\.git\.url names Acme\/platform: .* write its new URL there; where it is another/,
  );
  expect(judgePush("push", buildPush(), INTEREST).doubt).toBe(undefined);
  const tag = { repository: "acme/newname", ref: "refs/tags/orca/approve/vm1/x" };
  expect(judgePush("push", buildPush(tag), INTEREST)).toMatchObject({ kind: "concerns", doubt });
});

test("other events are nothing, and say which", () => {
  for (const event of ["create", "delete", "pull_request", "ping", "release"])
    expect(judgePush(event, buildPush(), INTEREST)).toEqual({
      kind: "nothing",
      why: `the event is "${event}" and not a push`,
    });
});

test("a push that lists no file of this node concerns it all the same: a forge's lists are not whole", () => {
  expect(buildPush()).toContain('"modified":["README.md"]');
  expect(judgePush("push", buildPush(), INTEREST).kind).toBe("concerns");
});

test.each(["", "{", "[]", "null", "5", '"push"', "{}", '{"ref":5}', '{"ref":""}', "\u0000"])(
  "%j is malformed",
  (text) => {
    expect(judgePush("push", text, INTEREST).kind).toBe("malformed");
  },
);

test("whatever is sent is judged, and quoted short", () => {
  assert(
    property(anything(), (value) => {
      const { kind, why } = judgePush("push", JSON.stringify(value) ?? "", INTEREST);
      expect(["concerns", "nothing", "malformed"]).toContain(kind);
      expect(why.length).toBeLessThan(300);
    }),
  );
  const { why } = judgePush("push", buildPush({ ref: `refs/heads/${"x".repeat(9_000)}` }), INTEREST);
  expect(why.length).toBeLessThan(300);
});
