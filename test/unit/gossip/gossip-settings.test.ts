// What must hold between the numbers of the gossip: a number may be changed, and these say what else has to be changed with it.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import * as settings from "../../../agent/gossip/settings.ts";

const ROOT = join(import.meta.dirname, "../../../agent/gossip");

test("every number stands in settings.ts, with a comment", () => {
  const files = readdirSync(ROOT, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const loose = files.flatMap((name) => {
    if (name === "settings.ts") return [];
    const text = readFileSync(join(ROOT, name), "utf8");
    // What a frame is made of is its form, and no setting.
    const found = [...text.matchAll(/^(?:export )?const ([A-Z][A-Z0-9_]*)[^=\n]* = [^"`\n]*\d/gm)].map(
      ([, word]) => word ?? "",
    );
    return found
      .filter((word) => !["HEADER_BYTES", "SUM_BYTES", "DOMAIN"].includes(word))
      .map((word) => `${name}: ${word}`);
  });
  expect(loose).toEqual([]);
  const lines = readFileSync(join(ROOT, "settings.ts"), "utf8").split("\n");
  const bare = lines.filter(
    (line, at) => line.startsWith("export const ") && !/^(?:export const | ?\*\/|\/\*\*)/.test(lines[at - 1] ?? ""),
  );
  expect(bare.filter((line) => !/\*\/\s*$/.test(line))).toEqual([]);
});

test("who is alive is suspected after its heartbeats, and dead after its suspicion", () => {
  const { BEAT_MS, SUSPECT_MS, RELAY_SILENCE_MS, DEATH_AFTER_MS, ASK_EVERY_MS, STALLED_MS, GIVE_UP_MS } = settings;
  expect(SUSPECT_MS).toBeGreaterThan(2 * BEAT_MS);
  expect(Math.min(...DEATH_AFTER_MS)).toBeGreaterThan(SUSPECT_MS);
  expect([...DEATH_AFTER_MS].toSorted((left, right) => right - left)).toEqual(DEATH_AFTER_MS);
  expect(RELAY_SILENCE_MS).toBeLessThan(SUSPECT_MS);
  expect(SUSPECT_MS + ASK_EVERY_MS).toBeLessThan(DEATH_AFTER_MS[0]);
  // A stalled link is dialled beside, and the dial has its time, before the longest suspicion ends.
  expect(STALLED_MS + settings.DIAL_MS).toBeLessThan(DEATH_AFTER_MS[0]);
  expect(GIVE_UP_MS).toBeGreaterThan(DEATH_AFTER_MS[0]);
  expect(settings.TICK_MS).toBeLessThan(settings.LONGEST_STEP_MS);
  expect(settings.ANSWER_AFTER_MS).toBeLessThan(BEAT_MS);
});

test("what the bucket forgets is put again long before, and what is said fits in what is taken", () => {
  expect(2 * settings.PUT_AGAIN_MS).toBeLessThan(settings.BUCKET_TTL_MS);
  expect(settings.PUT_FAILED_MS).toBeLessThan(settings.PUT_ELSE_MS);
  expect(settings.LARGEST_BODY).toBeLessThan(settings.LARGEST_FRAME_BYTES);
  expect(settings.LONGEST_WHY_SAID).toBeLessThanOrEqual(settings.LONGEST_WHY_TAKEN);
  expect(settings.MOST_WAITING_SAID).toBeLessThanOrEqual(settings.MOST_WAITING_TAKEN);
});
