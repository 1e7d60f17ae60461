// One round of questions to an Infisical server through its SDK: as few lists as can be, and by name what a list does not hold, since
// an empty list looks the same whether a folder is empty or out of scope. What was read stays read, however the round ends. Runs in the
// child alone.

import { InfisicalSDK } from "@infisical/sdk";

import { readSecretFile } from "../../host/files/secret-file.ts";
import { RoundEnded, trustOnly, WatchedFetch } from "./infisical-http.ts";
import { findListed, folderOf, hasReference, type ListPlan, planEach, planLists } from "./infisical-listing.ts";
import {
  askByName,
  askExpanded,
  askList,
  findRefusal,
  judgeSecret,
  type Round,
  TokenRefused,
} from "./infisical-questions.ts";
import { type InfisicalRequest, LOGIN_LATER, type ReadAnswer } from "./read-exchange.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** So many lists are asked for at once. */
const AT_ONCE = 4;
/** How long after a login that was refused the next one may follow; the server counts wrong ones and locks. */
const REFUSED_LOGIN_MS = 60_000;
const LOCKED_LOGIN_MS = 300_000;

/** Asks for every path. Throws nothing: a round that could not be made, or not to its end, is an answer with a failure. */
export async function readInfisical(request: InfisicalRequest): Promise<ReadAnswer> {
  const { place, deadlineMs } = request;
  const watched = new WatchedFetch(deadlineMs, place);
  const round: Round = { request, watched, client: connect(place.url), answers: {}, flat: request.flat };
  const failure = await Promise.race([watched.ended, askAll(round)]).catch(describeFailure);
  return {
    answers: { ...round.answers },
    ...(failure === undefined ? {} : { failure }),
    ...(round.flat ? { flat: true } : {}),
    logins: watched.logins,
    requests: watched.requests,
    ...(watched.token === undefined ? {} : { token: watched.token }),
  };
}

function describeFailure(error: unknown): NonNullable<ReadAnswer["failure"]> {
  const reason = readMessage(error);
  if (!(error instanceof RoundEnded)) return { reason };
  const { waitMs, refused } = error;
  return { reason, ...(waitMs === undefined ? {} : { waitMs }), ...(refused === undefined ? {} : { refused }) };
}

function connect(siteUrl: string): InfisicalSDK {
  return new InfisicalSDK({ siteUrl });
}

async function askAll(round: Round): Promise<undefined> {
  const { request, watched } = round;
  await trustOnly(request.place.caFile);
  if (request.token === undefined) await login(round);
  else round.client = round.client.auth().accessToken(request.token);
  try {
    return await askFolders(round);
  } catch (error) {
    if (!(error instanceof TokenRefused) || watched.logins > 0) throw error;
    await login(round);
    return askFolders(round);
  }
}

/** A login is made as nobody: a client that holds a token sends it with the login, and the server judges that token first. */
async function login(round: Round): Promise<void> {
  const { request, watched } = round;
  if (!request.mayLogin) throw new RoundEnded(LOGIN_LATER);
  const { clientIdFile, clientSecretFile, url } = request.place;
  const clientId = await readSecretFile(clientIdFile);
  const clientSecret = await readSecretFile(clientSecretFile);
  // Its deadline may have passed while the files were read: a login that nobody waits for is not made.
  if (watched.isOver) return watched.ended;
  try {
    const credentials = { clientId: clientId.expose(), clientSecret: clientSecret.expose() };
    round.client = await connect(url).auth().universalAuth.login(credentials);
  } catch (error) {
    const refusal = findRefusal(error, watched);
    if (refusal === undefined) throw error;
    const waitMs = /locked/i.test(refusal.message) ? LOCKED_LOGIN_MS : REFUSED_LOGIN_MS;
    const what = `it refused the login: ${refusal.message}; check what is in ${clientIdFile} and ${clientSecretFile}`;
    throw new RoundEnded(what, waitMs, "login");
  }
}

/** Asks for what has no answer yet: after a new login the round goes on where the old token ended. */
async function askFolders(round: Round): Promise<undefined> {
  const { paths, within } = round.request;
  const left = paths.filter((path) => round.answers[path] === undefined);
  const folders = [...new Set(left.map(folderOf))];
  const plans = round.flat ? planEach(folders) : planLists(folders, within);
  let refused: TokenRefused | undefined;
  const work = async (): Promise<void> => {
    for (
      let plan = plans.shift();
      plan !== undefined && refused === undefined && !round.watched.isOver;
      plan = plans.shift()
    ) {
      const needed = new Set(plan.folders);
      const wanted = left.filter((path) => needed.has(folderOf(path)) && round.answers[path] === undefined);
      try {
        plans.push(...(await answerPlan(round, plan, wanted)));
      } catch (error) {
        if (!(error instanceof TokenRefused)) throw error;
        refused = error;
      }
    }
  };
  // Each of them ends before the next login, or what is on its way would be taken for an answer to that.
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (refused !== undefined) throw refused;
  return undefined;
}

/** Asks for one list, and for what is needed of it and is not in it; answers the lists to ask for in its place. */
async function answerPlan(round: Round, plan: ListPlan, wanted: readonly string[]): Promise<ListPlan[]> {
  const { answers } = round;
  const listing = await askList(round, plan, false);
  const found = new Map(wanted.map((path) => [path, listing && findListed(listing, plan, path)]));
  const missing = wanted.filter((path) => found.get(path) === undefined);
  // Nothing of what is needed below a common folder, or no answer at all: some server does not do it. Each folder is asked for itself.
  if (plan.recursive && missing.length === wanted.length) {
    round.flat = true;
    return planEach(plan.folders);
  }
  const composed: string[] = [];
  for (const path of wanted) {
    const secret = found.get(path);
    if (secret === undefined) continue;
    if (hasReference(secret.value) && !secret.hidden) composed.push(path);
    else answers[path] = judgeSecret(secret, true);
  }
  if (listing !== undefined && composed.length > 0) await askExpanded(round, { plan, listing, paths: composed });
  if (plan.recursive && listing !== undefined && listing.imports.length > 0)
    return planEach([...new Set(missing.map(folderOf))]);
  for (const path of missing) answers[path] = await askByName(round, path, listing);
  return [];
}
