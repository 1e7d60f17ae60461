// The single questions of a round to an Infisical server, and what each answer means: for one secret, or for all of them. Never gives a
// value in which a reference is left or lost. Only infisical-read.ts uses it, in the child.

import type { InfisicalSDK } from "@infisical/sdk";

import { RoundEnded, type Refusal, type WatchedFetch } from "./infisical-http.ts";
import {
  findListed,
  findLostReference,
  findMissingNeighbour,
  folderOf,
  hasReference,
  type ListedSecret,
  type Listing,
  type ListPlan,
  nameOf,
  parseListed,
  parseListing,
} from "./infisical-listing.ts";
import type { InfisicalRequest, WireAnswer } from "./read-exchange.ts";

/** Says that the token is not good (any more): the one thing a new login can help with. */
export class TokenRefused extends Error {}

/** What the questions of a round are asked with. */
export interface Round {
  request: InfisicalRequest;
  watched: WatchedFetch;
  client: InfisicalSDK;
  /** Path → what was read so far. */
  answers: Record<string, WireAnswer>;
  /** True where a list of a folder with all below it did not help. */
  flat: boolean;
}

/** Up to so many secrets with references are asked for by name; for more another list is cheaper. */
const FEW = 2;
const NO_LIST = "its answer holds no list of secrets: is it Infisical?";

/** What a server says to everything that an identity asks, and not of one path. */
const SAID_OF_ALL =
  /from the current IP address|not a member of this project|ProjectMembershipNotFound|not found during bot lookup/;

/**
 * Asks for a list; undefined where it was refused. With `expand` the server puts what references lead to in their place, and some servers
 * refuse the whole list for one that leads out of scope.
 */
export async function askList(round: Round, plan: ListPlan, expand: boolean): Promise<Listing | undefined> {
  const { project: projectId, environment } = round.request.place;
  const { root: secretPath, recursive } = plan;
  try {
    const answer = await round.client.secrets().listSecrets({
      projectId,
      environment,
      secretPath,
      recursive,
      includeImports: true,
      expandSecretReferences: expand,
    });
    const listing = parseListing(answer);
    if (listing === undefined) throw new RoundEnded(NO_LIST);
    return listing;
  } catch (error) {
    judgeRefusal(error, round.watched);
    return undefined;
  }
}

/** A name that no list has: the server says whether it is denied or not there. */
export async function askByName(round: Round, path: string, listing: Listing | undefined): Promise<WireAnswer> {
  const raw = await askSecret(round, path, false);
  if ("kind" in raw) return explainAbsence(raw, path, listing);
  if (!hasReference(raw.value) || raw.hidden) return judgeSecret(raw, listing !== undefined);
  const expanded = await askSecret(round, path, true);
  return judgeExpanded(String(raw.value), expanded, listing !== undefined);
}

/** Asks for secrets that are made of others, once more with these in place of the references. */
export async function askExpanded(
  round: Round,
  { plan, listing, paths }: { plan: ListPlan; listing: Listing; paths: readonly string[] },
): Promise<void> {
  const isOwn = (secret: ListedSecret | undefined): boolean => secret !== undefined && listing.own.includes(secret);
  const listed = new Map(paths.map((path) => [path, findListed(listing, plan, path)]));
  // A question by name does not follow imports.
  const isList = paths.length > FEW || [...listed.values()].some((secret) => !isOwn(secret));
  const again = isList ? await askList(round, plan, true) : undefined;
  for (const [path, secret] of listed) {
    const raw = String(secret?.value);
    const missing = isOwn(secret) ? findMissingNeighbour(raw, folderOf(path), listing) : undefined;
    if (missing !== undefined) round.answers[path] = describeLost(missing);
    else if (isOwn(secret) && again === undefined)
      round.answers[path] = judgeExpanded(raw, await askSecret(round, path, true), true);
    else round.answers[path] = judgeExpanded(raw, again && findListed(again, plan, path), true);
  }
}

/** What a list or an answer by name says of one secret. */
export function judgeSecret({ value, hidden }: Pick<ListedSecret, "value" | "hidden">, listed: boolean): WireAnswer {
  if (hidden)
    return { kind: "denied", reason: "its value is hidden from this identity: give it the action readValue", listed };
  if (typeof value !== "string") return { kind: "denied", reason: "the server gave it without its value", listed };
  if (value.trim() === "") return { kind: "not-found", reason: "it is empty: write a value at the server", listed };
  return { kind: "value", value };
}

/** What the server said to a request of the SDK that failed; undefined where it was no refusal. */
export function findRefusal(error: unknown, watched: WatchedFetch): Refusal | undefined {
  if (error instanceof RoundEnded || error instanceof TokenRefused || !(error instanceof Error)) return undefined;
  return watched.findRefusal(error.message);
}

type Refused = Extract<WireAnswer, { kind: "denied" | "not-found" }>;

async function askSecret(round: Round, path: string, expand: boolean): Promise<ListedSecret | Refused> {
  const { project: projectId, environment } = round.request.place;
  try {
    const answer: unknown = await round.client.secrets().getSecret({
      projectId,
      environment,
      secretPath: folderOf(path),
      secretName: nameOf(path),
      includeImports: true,
      expandSecretReferences: expand,
    });
    const [secret] = parseListed(answer);
    if (secret === undefined) throw new RoundEnded("its answer holds no secret: is it Infisical?");
    return secret;
  } catch (error) {
    return judgeRefusal(error, round.watched);
  }
}

function judgeExpanded(raw: string, expanded: ListedSecret | Refused | undefined, listed: boolean): WireAnswer {
  if (expanded === undefined)
    return { kind: "denied", reason: `what its references lead to may not be read: ${listReferences(raw)}`, listed };
  if ("kind" in expanded) return { ...expanded, listed };
  const lost = findLostReference(raw, String(expanded.value));
  return lost === undefined ? judgeSecret(expanded, listed) : describeLost(lost);
}

function describeLost(reference: string): WireAnswer {
  const reason =
    `its reference ${reference} leads nowhere, to an empty value, or to what this identity may not read; ` +
    "a value with such a hole is never given to a service";
  return { kind: "not-found", reason, listed: true };
}

function listReferences(raw: string): string {
  return (raw.match(/\$\{[^}]*\}/g) ?? []).slice(0, 3).join(", ");
}

/** A server says "not found" also of what is imported from where the identity may not read, and of a name with a slash in it. */
function explainAbsence(answer: Refused, path: string, listing: Listing | undefined): Refused {
  const listed = listing !== undefined;
  if (answer.kind === "denied" || !/not found/i.test(answer.reason)) return { ...answer, listed };
  const folder = folderOf(path);
  const slashed = listing?.own.find(({ name, folder: at }) => name.includes("/") && `${at ?? folder}/${name}` === path);
  if (slashed !== undefined) {
    const reason = `${slashed.name} is the name of a secret in ${slashed.folder}, and a name with a / cannot be used: rename it`;
    return { kind: "not-found", reason, listed };
  }
  const empty = (listing?.imports ?? []).filter(({ secrets }) => secrets.length === 0).map(({ from }) => from);
  if (empty.length > 0) {
    const reason =
      `it is not in ${folder}, and of ${empty.join(", ")}, which ${folder} imports, this identity sees nothing: ` +
      "give it the right to read there, or write the secret";
    return { kind: "denied", reason, listed };
  }
  const hint = /folder/i.test(answer.reason)
    ? "a folder of this path is missing, or the secret's name holds a /, which cannot be used"
    : `if ${folder} imports it, this identity must be able to read where it comes from`;
  return { kind: "not-found", reason: `${answer.reason}; ${hint}`, listed };
}

/** What a refusal means for one secret; throws where it means something for the whole round. */
function judgeRefusal(error: unknown, watched: WatchedFetch): Refused {
  const refusal = findRefusal(error, watched);
  if (refusal === undefined) throw error;
  const { status, message, error: word } = refusal;
  // Servers of 2024 say with 401, too, that they do not take a name.
  const isInvalid = status === 400 || status === 422 || word === "ValidationFailure";
  if (isInvalid) return { kind: "not-found", reason: `the server does not take this path: ${message}` };
  if (status === 401 || word === "TokenError") throw new TokenRefused(`it refused the token: ${message}`);
  if (SAID_OF_ALL.test(`${word} ${message}`))
    throw new RoundEnded(`it refuses everything: ${describeCause(refusal)}`, undefined, "everything");
  if (status === 403) return { kind: "denied", reason: message };
  if (status === 404) return { kind: "not-found", reason: message };
  throw new RoundEnded(`it answered ${status}: ${message}`);
}

/** With what a person can do about it. */
function describeCause({ error, message }: Refusal): string {
  const said = `${error} ${message}`;
  if (/IP address/.test(said)) return `${message}; add this host to the identity's trusted addresses`;
  if (/bot lookup/.test(said)) return `${message}; check secrets.infisical.project, which is the project's id`;
  return `${/[a-z] [a-z]/.test(error) ? error : message}; add the identity to the project`;
}
