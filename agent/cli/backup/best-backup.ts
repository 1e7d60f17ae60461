// Which backup a person takes in a bad hour, of those that a store has. Pure.

import type { KnownBackup } from "../../../shared/state/backup.ts";

/** What a person takes in a bad hour: the newest that was proved, or else the newest that was not found bad. */
export function chooseBest(backups: readonly KnownBackup[]): KnownBackup | undefined {
  const notBad = backups.filter(({ verdict }) => verdict?.verdict !== "bad");
  return notBad.find(({ verified }) => verified) ?? notBad[0] ?? backups[0];
}

/** Why it is this one, in a few words. */
export function sayBest({ verified, verdict }: KnownBackup): string {
  if (verified) return "the newest that was proved";
  return verdict?.verdict === "bad" ? "it was found bad" : "the newest; nobody has proved it";
}
