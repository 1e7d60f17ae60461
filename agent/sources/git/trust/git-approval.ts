// Finds the tag that approves a node's inputs: annotated, named for that node, on a commit with the same directory and
// fleet.toml, and where keys are listed signed with one that is allowed for the node. Runs in the child that fetches.

import type { RefusedTag, TagFault } from "../../../../shared/state/hold.ts";
import type { SnapshotObjects } from "../../../../shared/state/in-force.ts";
import type { Approvals } from "../../../../shared/state/snapshot.ts";
import { describeKey, mayChangeNode } from "../../../../shared/config/trusted-key.ts";
import type { TagRef } from "../poll/git-exchange.ts";
import { type InputQuestion, InputReader } from "../store/git-inputs.ts";
import { parseCommit } from "../store/git-objects.ts";
import { shorten } from "../wire/git-packets.ts";
import { splitTag } from "./git-signature.ts";
import type { SignerFinder } from "./git-signer.ts";
import type { ObjectReader } from "../store/git-store.ts";

/** So many tags are looked at; those on the newest commit come first, then by name, the last first. */
const MOST_TAGS = 32;

/** What is approved, and by whom it may be. */
export interface ApprovalQuestion extends InputQuestion {
  commit: string;
  objects: SnapshotObjects;
  /** Undefined where no signature is asked for. */
  signers: SignerFinder | undefined;
}

/** The tags below this prefix approve changes of a node. */
export function approvalPrefix(node: string): string {
  return `orca/approve/${node}/`;
}

/** Selects the tags that are looked at. */
export function selectTags(tags: readonly TagRef[], commit: string): TagRef[] {
  const byName = tags.toSorted((left, right) => (left.name < right.name ? 1 : -1));
  const isNewest = (tag: TagRef): boolean => tag.commit === commit || tag.id === commit;
  return [...byName.filter(isNewest), ...byName.filter((tag) => !isNewest(tag))].slice(0, MOST_TAGS);
}

/** Judges tags whose objects are there. */
export async function findApproval(
  objects: ObjectReader,
  tags: readonly TagRef[],
  question: ApprovalQuestion,
): Promise<Approvals> {
  const inputs = new InputReader(objects, question);
  const refused: RefusedTag[] = [];
  const signed = question.signers !== undefined;
  for (const tag of tags) {
    const { tree } = parseCommit(await objects.read(tag.commit ?? tag.id, "commit"));
    const { directory, fleet } = await inputs.find(tree);
    // An approval of something else: most tags are, as time goes by.
    if (directory !== question.objects.directory || fleet !== question.objects.fleet) continue;
    const name = shorten(tag.name);
    const verdict = await judgeTag(objects, tag, question);
    if ("by" in verdict) return { granted: `${name} by ${verdict.by}`, signed, refused };
    refused.push({ tag: name, why: verdict.why });
  }
  return { granted: undefined, signed, refused };
}

async function judgeTag(
  objects: ObjectReader,
  tag: TagRef,
  { signers, node }: ApprovalQuestion,
): Promise<{ by: string } | { why: TagFault }> {
  if (tag.commit === undefined) return { why: { code: "lightweight-tag", signed: signers !== undefined } };
  const content = await objects.read(tag.id, "tag");
  const { object, type, name, tagger } = parseTag(content);
  if (type !== "commit" || object !== tag.commit) return { why: { code: "tag-of-a-tag" } };
  // A signature holds for the name it was made for: another node's approval is none for this one.
  if (name !== tag.name) return { why: { code: "made-as-another", name: shorten(name) } };
  // Whoever may push a tag writes what he likes into it, and a forge's page or API writes its own name.
  if (signers === undefined) return { by: `whoever pushed it (it says ${shorten(tagger)}, which nothing proves)` };
  const signer = await signers.find(splitTag(content));
  if (signer.key === undefined) return { why: signer.why };
  if (mayChangeNode(signer.key, node)) return { by: `${describeKey(signer.key)}, who signed it` };
  return { why: { code: "key-not-allowed", key: describeKey(signer.key), node } };
}

function parseTag(content: Uint8Array): { object: string; type: string; name: string; tagger: string } {
  const [head = ""] = Buffer.from(content).toString("utf8").split("\n\n", 1);
  const read = (key: string): string =>
    head
      .split("\n")
      .find((line) => line.startsWith(`${key} `))
      ?.slice(key.length + 1) ?? "";
  return {
    object: read("object"),
    type: read("type"),
    name: read("tag"),
    tagger: read("tagger").replace(/ \d+ [+-]\d{4}$/, ""),
  };
}
