// Proves a Redis backup: its own checker reads it, then a server loads it, and what came up is counted. An empty one is whole by its
// form, and is a finding where keys were there.

import type { RestoreBox, RestoreInput, Verdict, VerifyClock } from "./restore-box.ts";
import { describeLack, Finding, judgeProof, VerifySession } from "./verify-session.ts";
import { describeCount } from "../../../shared/text/count.ts";

export const REDIS_MACHINE = /can't save in background|OOM command not allowed/i;
/** The programs of Redis, and of what came out of it. */
const FAMILIES = ["redis", "valkey"];

/** Restores a backup in a box and says what came of it. Never throws. */
export function verifyRedis(box: RestoreBox, input: RestoreInput, clock: VerifyClock): Promise<Verdict> {
  const session = new VerifySession({ box, input, clock }, REDIS_MACHINE);
  return judgeProof(box, () => prove(session));
}

async function prove(session: VerifySession): Promise<string> {
  const [file] = session.input.files;
  if (file === undefined) throw new Finding("bad", "it holds nothing");
  const path = session.locate(file.file);
  const { family, answer } = await check(session, path);
  // The checker says so on standard output, whatever its exit code is.
  if (answer.exitCode !== 0 || !/Checksum OK|RDB looks OK/.test(answer.output))
    throw new Finding("bad", `${family}-check-rdb: ${lastLine(answer.output)}`);
  const read = readNumber(answer.output, /\[info\] (\d+) keys read/);
  const expired = readNumber(answer.output, /\[info\] (\d+) already expired/);
  const { lastingKeys = 0 } = file.facts ?? {};
  if (read === 0 && lastingKeys > 0)
    throw new Finding("bad", `it is empty, and ${describeCount(lastingKeys, "key")} that never expire were there`);
  await start(session, family, file.file);
  const loaded = countRedisKeys(await session.expect("count its keys", [`${family}-cli`, "info", "keyspace"]));
  // What has expired since is not loaded.
  if (loaded === 0 && read - expired > 0 && lastingKeys > 0)
    throw new Finding("bad", `no key came up, and ${describeCount(read, "key")} are in it`);
  return `loaded ${describeCount(loaded, "key")} of ${read} in ${session.took}`;
}

async function check(
  session: VerifySession,
  path: string,
): Promise<{ family: string; answer: { exitCode: number; output: string } }> {
  let first: unknown;
  for (const family of FAMILIES) {
    try {
      const answer = await session.run([`${family}-check-rdb`, path]);
      if (answer.exitCode !== 126 && answer.exitCode !== 127) return { family, answer };
      first ??= new Finding("unknown", describeLack(session.input.image, `${family}-check-rdb`));
    } catch (error) {
      first ??= error;
    }
  }
  throw first;
}

/** As root, so that it may read a file that is another user's; it writes nothing. */
async function start(session: VerifySession, family: string, file: string): Promise<void> {
  await session.expect("start the server", [
    `${family}-server`,
    "--dir",
    session.input.directory,
    "--dbfilename",
    file,
    "--save",
    "",
    "--appendonly",
    "no",
    "--bind",
    "127.0.0.1",
    "--daemonize",
    "yes",
  ]);
  // Until it has loaded all it answers LOADING, and that with exit code 0.
  await session.waitUntilReady([`${family}-cli`, "ping"], ({ output }) => output.trim() === "PONG");
}

/** All keys that a server has, by what it answers to `info keyspace`. */
export function countRedisKeys(text: string): number {
  return [...text.matchAll(/^db\d+:keys=(\d+)/gm)].reduce((sum, [, keys]) => sum + Number(keys), 0);
}

function readNumber(text: string, pattern: RegExp): number {
  return Number(pattern.exec(text)?.[1] ?? 0);
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}
