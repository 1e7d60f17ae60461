// One round of questions to an Infisical server through its SDK: one list for each folder, and by name what a list does not
// hold, since an empty list looks the same whether a folder is empty or out of scope. Runs in the child alone.

import { InfisicalSDK } from "@infisical/sdk";

import { readSecretFile } from "../host/secret-file.ts";
import { RoundEnded, type Refusal, WatchedFetch } from "./infisical-http.ts";
import { type InfisicalRequest, LOGIN_LATER, type ReadAnswer, type WireAnswer } from "./read-exchange.ts";

/** So many folders are asked for at once. */
const AT_ONCE = 4;
/** What a server puts in place of a value that the identity may not see. */
const HIDDEN = "<hidden-by-infisical>";
/** How long after a login that was refused the next one may follow; the server counts wrong ones and locks. */
const REFUSED_LOGIN_MS = 60_000;
const LOCKED_LOGIN_MS = 300_000;

/** Says that the token is not good (any more): the one thing a new login can help with. */
class TokenRefused extends Error {}

interface Round {
  request: InfisicalRequest;
  watched: WatchedFetch;
  client: InfisicalSDK;
}

/** Asks for every path. Throws nothing: a round that could not be made is an answer with a failure. */
export async function readInfisical(request: InfisicalRequest): Promise<ReadAnswer> {
  const watched = new WatchedFetch(request.deadlineMs);
  try {
    const answers = await Promise.race([watched.ended, askAll(request, watched)]);
    return { answers, ...count(watched), ...(watched.token === undefined ? {} : { token: watched.token }) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const waitMs = error instanceof RoundEnded ? error.waitMs : undefined;
    const failure = { reason, ...(waitMs === undefined ? {} : { waitMs }) };
    return {
      answers: {},
      failure,
      ...count(watched),
      ...(watched.token === undefined ? {} : { token: watched.token }),
    };
  }
}

function count({ logins, requests }: WatchedFetch): { logins: number; requests: number } {
  return { logins, requests };
}

async function askAll(request: InfisicalRequest, watched: WatchedFetch): Promise<Record<string, WireAnswer>> {
  const client = new InfisicalSDK({ siteUrl: request.place.url });
  const round: Round = { request, watched, client };
  if (request.token === undefined) await login(round);
  else round.client = client.auth().accessToken(request.token);
  try {
    return await askFolders(round);
  } catch (error) {
    if (!(error instanceof TokenRefused) || watched.logins > 0) throw error;
    await login(round);
    return askFolders(round);
  }
}

async function login(round: Round): Promise<void> {
  const { request, watched, client } = round;
  if (!request.mayLogin) throw new RoundEnded(LOGIN_LATER);
  const clientId = await readSecretFile(request.place.clientIdFile);
  const clientSecret = await readSecretFile(request.place.clientSecretFile);
  try {
    const credentials = { clientId: clientId.expose(), clientSecret: clientSecret.expose() };
    round.client = await client.auth().universalAuth.login(credentials);
  } catch (error) {
    const refusal = findRefusal(error, watched);
    if (refusal === undefined) throw error;
    const waitMs = /locked/i.test(refusal.message) ? LOCKED_LOGIN_MS : REFUSED_LOGIN_MS;
    throw new RoundEnded(`it refused the login: ${refusal.message}`, waitMs);
  }
}

async function askFolders(round: Round): Promise<Record<string, WireAnswer>> {
  const folders = [...Map.groupBy(round.request.paths, (path) => path.slice(0, path.lastIndexOf("/")) || "/")];
  const answers: Record<string, WireAnswer> = {};
  const work = async (): Promise<void> => {
    for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
      const [folder, paths] = next;
      const listed = await listFolder(round, folder);
      for (const path of paths) {
        const name = path.slice(path.lastIndexOf("/") + 1);
        answers[path] = listed.get(name) ?? (await askByName(round, folder, name));
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return answers;
}

/** Everything one list holds; nothing where it was refused, which is then asked by name. */
async function listFolder({ request, watched, client }: Round, folder: string): Promise<Map<string, WireAnswer>> {
  const { project, environment } = request.place;
  try {
    const { secrets, imports = [] } = await client.secrets().listSecrets({
      projectId: project,
      environment,
      secretPath: folder,
      includeImports: true,
    });
    if (!Array.isArray(secrets)) throw new RoundEnded("its answer holds no list of secrets: is it Infisical?");
    // Of imports the last one wins, and the folder's own secret over all of them.
    const all = [...imports.flatMap((entry) => entry.secrets), ...secrets];
    return new Map(all.map((secret) => [secret.secretKey, judgeSecret(secret)]));
  } catch (error) {
    judgeRefusal(error, watched);
    return new Map();
  }
}

/** A name that the list has not: the server says whether it is denied or not there. */
async function askByName({ request, watched, client }: Round, folder: string, name: string): Promise<WireAnswer> {
  const { project, environment } = request.place;
  try {
    const secret = await client.secrets().getSecret({
      projectId: project,
      environment,
      secretPath: folder,
      secretName: name,
      includeImports: true,
    });
    return judgeSecret(secret);
  } catch (error) {
    return judgeRefusal(error, watched);
  }
}

function judgeSecret(secret: { secretValue?: unknown; secretValueHidden?: unknown }): WireAnswer {
  const { secretValue: value } = secret;
  if (secret.secretValueHidden === true || value === HIDDEN)
    return { kind: "denied", reason: "its value is hidden from this identity: give it the action readValue" };
  if (typeof value !== "string") return { kind: "denied", reason: "the server gave it without its value" };
  // A reference that leads nowhere expands to nothing, without a word.
  if (value === "") return { kind: "not-found", reason: "it is empty, or a reference in it leads nowhere" };
  return { kind: "value", value };
}

/** What a refusal means for one secret; throws where it means something for the whole round. */
function judgeRefusal(error: unknown, watched: WatchedFetch): WireAnswer {
  const refusal = findRefusal(error, watched);
  if (refusal === undefined) throw error;
  const { status, message } = refusal;
  if (status === 401 || refusal.error === "TokenError") throw new TokenRefused(`it refused the token: ${message}`);
  if (status === 403) return { kind: "denied", reason: message };
  if (status === 404) return { kind: "not-found", reason: message };
  throw new RoundEnded(`it answered ${status}: ${message}`);
}

function findRefusal(error: unknown, watched: WatchedFetch): Refusal | undefined {
  if (error instanceof RoundEnded || error instanceof TokenRefused || !(error instanceof Error)) return undefined;
  return watched.findRefusal(error.message);
}
