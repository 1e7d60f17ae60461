// What a prune would take, why the rest stays, and what one has taken, for people. Pure.

import type { KeepReason, KeptItem, PruneChoice, PruneItem, PruneRun } from "../../../shared/state/prune.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { layOutTable } from "./text-table.ts";

const NEEDS = {
  manifest: "a manifest names it",
  "held-change": "a change that is held names it",
  rollback: "a rollback goes to it",
  backup: "a restore of a backup takes it",
} as const;

/** Why something stays, in words. */
function describeKeep(reason: KeepReason): string {
  switch (reason.code) {
    case "needed":
      return NEEDS[reason.by];
    case "has-container":
      return `the container ${reason.container} is made from it`;
    case "not-stopped":
      return "it runs";
    case "of-service":
      return `it is what ${reason.service} runs or goes back to`;
    case "foreign":
      return "it is not Orca's";
    case "job":
      return "a backup or check of this node has it";
    case "other-node":
      return "another node of Orca uses this engine";
    case "pinned":
      return "it is labelled orca.keep";
    case "unnamed-data":
      return "it has a volume without a name, which nobody would find again";
    case "other-name":
      return `somebody else calls it ${reason.name}`;
    case "young":
      return `nobody needs it since ${describeDuration(reason.forMs)}`;
    default:
      return reason satisfies never;
  }
}

/** What a prune would do now. */
export function printChoice({ remove, keep }: PruneChoice, width: number): string {
  const going = remove.map((item) => ["remove", ...describeItem(item)]);
  const staying = keep.map((item) => ["keep", item.kind, nameKept(item), describeKeep(item.reason)]);
  const columns = [{ heading: "" }, { heading: "WHAT" }, { heading: "NAME" }, { heading: "WHY, OR WHAT IT FREES" }];
  return layOutTable(columns, [...going, ...staying], { width }).join("\n");
}

function describeItem(item: PruneItem): string[] {
  switch (item.kind) {
    case "container":
      return ["container", item.name, `of ${item.service}`];
    case "image":
      return ["image", item.tags[0] ?? item.digests[0] ?? shorten(item.id), describeSize(item.freesBytes)];
    case "build-cache":
      return ["build cache", "", `what was not used for ${describeDuration(item.unusedMs)}`];
    default:
      return item satisfies never;
  }
}

function nameKept({ id, name }: KeptItem): string {
  return name === id ? shorten(id) : name;
}

function shorten(id: string): string {
  return id.replace(/^sha256:/, "").slice(0, 12);
}

/** What a prune has done. */
export function printPruneRun({ removed, troubles }: PruneRun): string {
  const freed = removed.reduce((sum, { freedBytes }) => sum + freedBytes, 0);
  const lines = removed.map(({ kind, name, freedBytes }) => {
    const size = kind === "container" ? "" : `, ${describeSize(freedBytes)}`;
    return `removed ${kind === "build-cache" ? "" : `${kind} `}${name}${size}`;
  });
  const end = removed.length === 0 ? "there is nothing to remove" : `freed at least ${describeSize(freed)}`;
  return [...lines, ...troubles.map((trouble) => `left ${trouble}`), end].join("\n");
}
