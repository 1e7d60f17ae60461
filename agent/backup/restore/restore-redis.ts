// Redis and what came out of it, restored into place: a twin of the service's own server says which file it reads at its start, and
// whether it keeps a log of commands; another one begins with the backup as that file, and writes the log where the service reads one.

import { posix } from "node:path";

import { pack } from "tar-stream";

import { readRedisVersion, refuseVersion } from "../core/server-version.ts";
import type { BackupFile } from "../core/backup-record.ts";
import { describeCount } from "../../../shared/text/count.ts";
import type { BoxAnswer } from "../verify/restore-box.ts";
import { countRedisKeys, REDIS_MACHINE } from "../verify/verify-redis.ts";
import { VerifySession } from "../verify/verify-session.ts";
import { endCleanly, type FillWork, openTeller, readHead, readTelling, type Twin, withTwin } from "./fill-work.ts";

const CLIENTS = ["redis-cli", "valkey-cli"];
/** Whoever asks is let in, nothing is written that nobody asked for, and nobody is followed. What comes last wins (redis config.c). */
const OPEN = ["--requirepass", "", "--aclfile", "", "--save", "", "--replicaof", "no", "one"];
const FILE_MODE = 0o640;
const LOOK_MS = 250;

/** Fills a volume for a Redis; answers what is in it. Throws where it cannot be used. */
export async function fillRedis(work: FillWork): Promise<string> {
  const [file] = work.files;
  if (file === undefined) throw new Error("the backup holds nothing");
  const own = [...work.shape.command, ...OPEN];
  const found = await withTwin(work, { command: own, aside: true, asImage: true }, (twin) => lookAt(twin, work, file));
  const { name, directory, owner, hasLog } = found;
  const archive = packFile({ name, bytes: file.plain.bytes, ...owner }, readTelling(work, file));
  const plan = { command: [...own, "--appendonly", "no"], asImage: true, put: { directory, archive } };
  return withTwin(work, plan, async (twin) => {
    const detail = await load(twin, work, { file, hasLog });
    await endCleanly(twin, work);
    return detail;
  });
}

/** Asks one server. */
class RedisAsk {
  readonly session: VerifySession;
  #client = "";

  constructor(twin: Twin, { input, clock }: FillWork) {
    this.session = new VerifySession({ box: twin, input, clock }, REDIS_MACHINE);
  }

  /** Until it has loaded all it answers LOADING, and that with exit code 0. */
  async waitUntilReady(): Promise<void> {
    this.#client = await this.#findClient();
    const refused = /NOAUTH|WRONGPASS|NOPERM/;
    let said = "";
    await this.session.waitUntilReady([this.#client, "ping"], ({ output }) => {
      said = output.trim();
      return said === "PONG" || refused.test(said);
    });
    if (said !== "PONG")
      throw new Error(`the service's settings let nobody in who has no password (${said}): restore it without Orca`);
  }

  async readSetting(name: string): Promise<string> {
    const lines = (await this.ask("config", "get", name)).split("\n");
    if (lines[0] !== name) throw new Error(`the server does not say its ${name}: ${lines.join(" ")}`);
    return lines[1] ?? "";
  }

  ask(...words: string[]): Promise<string> {
    return this.session.expect(`ask it for ${words[0]}`, [this.#client, ...words]);
  }

  async #findClient(): Promise<string> {
    let first: unknown;
    for (const name of CLIENTS) {
      const answer = await this.session.run([name, "--version"]).catch((error: unknown): BoxAnswer | undefined => {
        first ??= error;
        return undefined;
      });
      if (answer?.exitCode === 0) return name;
    }
    throw first instanceof Error ? first : new Error("the image has no redis-cli and no valkey-cli");
  }
}

interface Found {
  /** Where the server reads its snapshot, and under which name. */
  directory: string;
  name: string;
  owner: { uid: number; gid: number };
  /** It reads a log of commands in place of the snapshot. */
  hasLog: boolean;
}

async function lookAt(twin: Twin, work: FillWork, file: BackupFile): Promise<Found> {
  const server = new RedisAsk(twin, work);
  await server.waitUntilReady();
  const text = /^redis_version:(\S+)/m.exec(await server.ask("info", "server"))?.[1];
  const refusal =
    text === undefined
      ? undefined
      : refuseVersion(readRedisVersion(await readHead(work, file)), { family: "Redis", text });
  if (refusal !== undefined) throw new Error(refusal);
  const directory = await server.readSetting("dir");
  const target = work.request.volumes[0]?.target ?? "";
  if (posix.relative(target, directory).startsWith(".."))
    throw new Error(`the server keeps its data in ${directory}, and the volume is at ${target}`);
  return {
    directory,
    name: await server.readSetting("dbfilename"),
    owner: await twin.findOwner(directory),
    hasLog: (await server.readSetting("appendonly")) === "yes",
  };
}

async function load(
  twin: Twin,
  work: FillWork,
  { file, hasLog }: { file: BackupFile; hasLog: boolean },
): Promise<string> {
  const server = new RedisAsk(twin, work);
  await openTeller(work.request.progressPath, "the server loads it", 0)(0);
  await server.waitUntilReady().catch(async (error: unknown) => {
    // A process that the kernel has ended looks like any that has ended.
    const isFull = await twin.ranOutOfMemory().catch(() => false);
    throw isFull ? new Error("the server ran out of memory while it loaded it: raise memory under [[backups]]") : error;
  });
  const keys = countRedisKeys(await server.ask("info", "keyspace"));
  const { lastingKeys = 0 } = file.facts ?? {};
  if (keys < lastingKeys)
    throw new Error(`${describeCount(keys, "key")} came up, and ${lastingKeys} that never expire were there`);
  if (hasLog) await writeLog(server, work);
  return `loaded ${describeCount(keys, "key")}`;
}

/** A server that reads the log does not look at the snapshot: it is written anew from what was loaded. */
async function writeLog(server: RedisAsk, { clock, input }: FillWork): Promise<void> {
  await server.ask("config", "set", "appendonly", "yes");
  const untilMs = clock.monotonicMs() + input.deadlineMs;
  while (clock.monotonicMs() < untilMs) {
    const said = await server.ask("info", "persistence");
    const read = (name: string): string | undefined => new RegExp(`^${name}:(\\S+)`, "m").exec(said)?.[1];
    const isBusy = read("aof_rewrite_in_progress") !== "0" || read("aof_rewrite_scheduled") !== "0";
    if (!isBusy && read("aof_enabled") === "1") {
      if (read("aof_last_bgrewrite_status") === "ok") return;
      throw new Error("the server could not write its log of commands: more memory under [[backups]], or more disk");
    }
    await clock.wait(LOOK_MS);
  }
  throw new Error("the server did not write its log of commands in time");
}

/** A tar of one file. */
async function* packFile(
  { name, bytes, uid, gid }: { name: string; bytes: number; uid: number; gid: number },
  content: AsyncIterable<Uint8Array>,
): AsyncIterable<Uint8Array> {
  const tar = pack();
  const entry = tar.entry({ name, size: bytes, uid, gid, mode: FILE_MODE });
  const written = (async () => {
    for await (const chunk of content)
      if (!entry.write(chunk)) await new Promise<void>((resolve) => entry.once("drain", resolve));
    entry.end();
    tar.finalize();
  })();
  written.catch((error: unknown) => tar.destroy(error instanceof Error ? error : new Error(String(error))));
  yield* tar as AsyncIterable<Uint8Array>;
  await written;
}
