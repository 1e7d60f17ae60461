// Which backup the list tells how to restore by hand.

import { expect, test } from "vitest";

import { chooseBest, sayBest } from "../../../agent/cli/backup/best-backup.ts";
import type { KnownBackup } from "../../../shared/state/backup.ts";

function backup(name: string, verdict?: "good" | "bad" | "unknown"): KnownBackup {
  const said = verdict === undefined ? undefined : { atMs: 1, verdict, detail: "" };
  return { name, verified: verdict === "good", verdict: said } as KnownBackup;
}

test("the newest that was proved comes before newer ones, and one that was found bad last", () => {
  const says = (...backups: KnownBackup[]): string | undefined => {
    const best = chooseBest(backups);
    return best && `${best.name}: ${sayBest(best)}`;
  };
  expect(says()).toBeUndefined();
  expect(says(backup("c", "bad"), backup("b", "good"), backup("a", "good"))).toBe("b: the newest that was proved");
  expect(says(backup("c"), backup("b", "good"))).toBe("b: the newest that was proved");
  expect(says(backup("c", "bad"), backup("b", "unknown"), backup("a"))).toBe("b: the newest; nobody has proved it");
  expect(says(backup("b", "bad"), backup("a", "bad"))).toBe("b: it was found bad");
});
