// What a push means for this node, judged from a payload whose signature has been checked. Pure; push-receiver.ts asks.
// When in doubt it concerns the node: then the branch is asked for, which is the only word that counts.
//
// The lists of changed files in a payload decide nothing: a forge cuts them, and does not list what a force-push takes back.

/** What a node follows. */
export interface PushInterest {
  /** The repository's URL as agent.toml has it. */
  url: string;
  branch: string;
  node: string;
}

/** What is done about a push, and why, in words. `doubt` is what people should look at although it is followed. */
export type PushVerdict = { kind: "concerns" | "nothing" | "malformed"; why: string; doubt?: string };

const BRANCHES = "refs/heads/";
const TAGS = "refs/tags/";
const NO_COMMIT = /^0+$/;

/**
 * Judges one delivery.
 * @param event what the forge calls it, where it says so
 * @param text the body, as received
 */
export function judgePush(event: string | undefined, text: string, interest: PushInterest): PushVerdict {
  const payload = parsePayload(text);
  if (payload === undefined) return { kind: "malformed", why: "the body is not a JSON object" };
  if (event !== undefined && event !== "push") return ignore(`the event is ${quote(event)} and not a push`);
  const { ref } = payload;
  if (typeof ref !== "string" || ref === "")
    return { kind: "malformed", why: "a push names its ref, and this does not" };
  const followed = nameRepository(interest.url);
  const pushed = readRepository(payload);
  const isDeleted = payload["deleted"] === true || isNoCommit(payload["after"]);
  const verdict = ref.startsWith(TAGS) ? judgeTag(ref, interest) : judgeBranch(ref, isDeleted, interest);
  const isOther = pushed !== undefined && pushed.toLowerCase() !== followed.toLowerCase();
  return isOther && verdict.kind === "concerns" ? doubt(verdict.why, { pushed, followed }) : verdict;
}

/** A repository that was renamed or transferred pushes by its new name, and its old URL goes on to be redirected. */
function doubt(why: string, { pushed, followed }: { pushed: string; followed: string }): PushVerdict {
  const name = quote(pushed);
  return {
    kind: "concerns",
    why: `${why} of ${name}`,
    doubt:
      `the newest push is of ${name}, and source.git.url names ${followed}: where the repository was renamed or moved, ` +
      "write its new URL there; where it is another one, take this node's webhook out of it",
  };
}

/** An approval that is taken back concerns the node as much as one that is given. */
function judgeTag(ref: string, { node }: PushInterest): PushVerdict {
  const name = ref.slice(TAGS.length);
  if (name.startsWith(`orca/approve/${node}/`)) return { kind: "concerns", why: `the approval ${quote(name)}` };
  return ignore(`the tag ${quote(name)} is no approval of this node's changes`);
}

function judgeBranch(ref: string, isDeleted: boolean, { branch }: PushInterest): PushVerdict {
  if (ref !== `${BRANCHES}${branch}`)
    return ignore(`the push is to ${quote(ref.replace(BRANCHES, ""))}, and this node follows ${branch}`);
  if (isDeleted) return ignore(`${branch} was deleted: what is in force stays in force`);
  return { kind: "concerns", why: `a push to ${branch}` };
}

function ignore(why: string): PushVerdict {
  return { kind: "nothing", why };
}

function parsePayload(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

function isNoCommit(id: unknown): boolean {
  return typeof id === "string" && NO_COMMIT.test(id);
}

/** `owner/name` of a repository's URL; its host says nothing, since a forge is reached by several names. */
function nameRepository(url: string): string {
  const path = new URL(url).pathname.replace(/\/+$/, "").replace(/\.git$/, "");
  return path
    .split("/")
    .filter((part) => part !== "")
    .slice(-2)
    .map(decode)
    .join("/");
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function readRepository({ repository }: Record<string, unknown>): string | undefined {
  if (typeof repository !== "object" || repository === null) return undefined;
  const name = (repository as Record<string, unknown>)["full_name"];
  // A repository outside any owner's directory, as plain Git serves it, has no such name.
  return typeof name === "string" && name.includes("/") ? name : undefined;
}

/** Names of others, so that they are told from the agent's own words and cannot be long. */
function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}
