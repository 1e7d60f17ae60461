// What a held change would make of a node, in one line for status. Pure; `orca plan` shows every step.

import type { DesiredService, DesiredState } from "../../../shared/state/desired-state.ts";

/** Describes a change by the services it touches. */
export function describeHeldChange(revision: string, now: DesiredState, then: DesiredState): string {
  const names = [...new Set([...now.services.keys(), ...then.services.keys()])].toSorted();
  const list = (says: (before: DesiredService | undefined, after: DesiredService | undefined) => boolean): string[] =>
    names.filter((name) => says(now.services.get(name), then.services.get(name)));
  const parts = [
    describeNames(
      "add",
      list((before) => before === undefined),
    ),
    describeNames(
      "make anew",
      list((before, after) => before !== undefined && after !== undefined && isAnew(before, after)),
    ),
    describeNames(
      "change in place",
      list((before, after) => before !== undefined && after !== undefined && isInPlace(before, after)),
    ),
    describeNames(
      "remove",
      list((_before, after) => after === undefined).filter((name) => !then.objections.has(name)),
    ),
  ].flat();
  const refused = [...then.objections].map(([name, { state }]) => `; ${name} would be ${state}`).join("");
  return `the change to ${revision} would ${parts.length === 0 ? "touch no service" : parts.join(", ")}${refused}: see orca plan`;
}

function isAnew(before: DesiredService, after: DesiredService): boolean {
  return before.specHash !== after.specHash;
}

function isInPlace(before: DesiredService, after: DesiredService): boolean {
  return !isAnew(before, after) && before.fingerprint !== after.fingerprint;
}

function describeNames(verb: string, names: readonly string[]): string[] {
  return names.length === 0 ? [] : [`${verb} ${names.join(", ")}`];
}
