// Whether somebody else writes backups of a store into one place: with another key, or as a copy of this VM with the same one.

import { expect, test } from "vitest";

import { describeOtherMaker, findTwin } from "../../../../agent/backup/core/other-maker.ts";

const OWN = "age1own";

/** Backups in order of their time, the oldest first; a capital letter is this agent's. */
function build(word: string): { name: string; maker: string; startedMs: number }[] {
  return Array.from(word, (letter, at) => ({ name: `${letter}${at}`, maker: OWN, startedMs: at }));
}

const listNames = (word: string): string[] =>
  build(word)
    .map(({ name }) => name)
    .filter((name) => /^[A-Z]/.test(name));

test.each([
  ["AtBt", "t3"],
  ["AtBtC", "t3"],
  ["ttAttt", "t5"],
])("%s: a copy of this VM writes there too", (word, backup) => {
  // Since the last two of one's own: in AtBtC only one lies there, and it may be this agent's.
  const found = findTwin(build(word), OWN, listNames(word));
  expect(found).toEqual(word === "AtBtC" ? undefined : { backup, maker: OWN, twin: true });
});

test.each(["ABC", "ttttAB", "AtB", "tttt", ""])("%s: nobody but this agent, as far as can be known", (word) => {
  expect(findTwin(build(word), OWN, listNames(word))).toBe(undefined);
});

test("what bears another key, or none, is no copy's", () => {
  const others = build("Attt").map((record) =>
    record.name.startsWith("t") ? { ...record, maker: "age1other" } : record,
  );
  expect(findTwin(others, OWN, ["A0"])).toBe(undefined);
  expect(findTwin(build("Attt"), undefined, ["A0"])).toBe(undefined);
});

test("a person is told what to do about it", () => {
  expect(describeOtherMaker({ backup: "t3", maker: OWN, twin: true })).toMatch(
    /^a copy of this VM writes there too, with the same key: this agent has not made t3: end the agent of one/,
  );
});
