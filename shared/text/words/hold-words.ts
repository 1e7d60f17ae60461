// What holds a whole change, in words: what it is about, and what a person can do; and why the newest inputs are not in force. Pure; the
// only place where such a sentence is made.

import type { Hold, HoldReason, RolloutVerdict, SourceTrouble } from "../../state/hold.ts";
import type { ReasonOf } from "../../state/reason.ts";
import { describeCount } from "../count.ts";
import { describeRefusedTag, describeUnread } from "./source-words.ts";

type Words = { [C in HoldReason["code"]]: (why: ReasonOf<C, HoldReason>) => string };

const WORDS: Words = {
  said: ({ message }) => message,
  unread: describeUnread,
  "removes-much": ({ revision, gone, of }) => {
    // A directory has no commits, and so no trailers.
    const byTrailer = isDirectory(revision)
      ? ""
      : `, or write the trailer Orca-Allow-Removal: ${gone.length} into the commit`;
    const names = `${gone.slice(0, 5).join(", ")}${gone.length > 5 ? ", …" : ""}`;
    return (
      `the change to ${revision} would remove ${gone.length} of ${describeCount(of, "service")} (${names}); ` +
      `if that is meant, run orca sync --allow-removal ${gone.length}${byTrailer}`
    );
  },
  "not-approved": ({ revision, node, first, signed, refused }) => {
    const tag = `orca/approve/${node}/${revision.slice(0, 12)}`;
    const how = signed === false ? "-a" : "-s";
    const what = first ? `the first installation of ${node}` : `the change to ${revision}`;
    return (
      `${what} waits for approval: run git tag ${how} -m approve ${tag} ${revision} && git push origin ${tag}` +
      (signed === false ? UNPROVED : "") +
      refused.map((one) => `; ${describeRefusedTag(one)}`).join("")
    );
  },
  frozen: ({ revision, untilMs }) =>
    `the change to ${revision} is frozen until ${describeTime(untilMs)} and goes in by itself then ` +
    `(freeze in fleet.toml)${byEmergency(revision)}`,
  "other-node-first": ({ revision, after, verdict }) =>
    `the change to ${revision} waits for ${after} (rollout.after): ${describeVerdict(verdict, after)}${byEmergency(revision)}`,
};

const UNPROVED = " (without source.git.trusted_keys the tag of anybody who may push counts)";

/** One cause, as one text. */
export function describeHold({ why }: Pick<Hold, "why">): string {
  return (WORDS[why.code] as (why: HoldReason) => string)(why);
}

/** All that keeps a change from going in, as one text. */
export function describeHolds(holds: readonly Hold[]): string {
  return holds.map(describeHold).join("; and ");
}

/** Why the newest inputs are not in force, as one text. */
export function describeTrouble(trouble: SourceTrouble): string {
  if (trouble.code === "unread") return describeUnread(trouble);
  return trouble.code === "held" ? describeHolds(trouble.holds) : trouble.message;
}

/** Names a trouble: two that differ only in when it is tried again have the same name. */
export function nameTrouble(trouble: SourceTrouble): string {
  return JSON.stringify(trouble, (key, value: unknown) => (key === "retryMs" ? undefined : value));
}

function describeVerdict(verdict: RolloutVerdict | undefined, after: string): string {
  switch (verdict?.kind) {
    case "failed":
      return `its rollout there ended with ${verdict.state}; correct it, and the next commit is tried there first`;
    case "waiting":
      return `it has not settled there yet; waiting since ${describeTime(verdict.sinceMs)}`;
    case "unknown":
      return `how it went there is not known: ${verdict.reason}; next try at ${describeTime(verdict.retryMs)}`;
    default:
      return `${after} has not said yet how it went`;
  }
}

function byEmergency(revision: string): string {
  if (isDirectory(revision)) return "";
  return "; in an emergency, a commit whose message ends with Orca-Emergency: <why> does not wait";
}

function isDirectory(revision: string): boolean {
  return revision.startsWith("dir:");
}

function describeTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace("T", " ")} UTC`;
}
