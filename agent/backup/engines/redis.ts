// Redis as a kind of store: one snapshot, as its own replication sends it (`redis-cli --rdb`).

import type { BackupFile } from "../core/backup-record.ts";
import type { DumpForm, DumpPart, RunningDump } from "../dump-port.ts";
import { readFileBy } from "./restore-lines.ts";
import { AccessRefused, findProgram, readAll } from "./source-program.ts";
import type { RunHow, StoreEngine, StoreSettings, StoreSource } from "./store-engine.ts";
import { verifyRedis } from "../verify/verify-redis.ts";

const CLIENTS = ["redis-cli", "valkey-cli"];
const FORM: DumpForm = {
  heads: [
    { at: 0, text: "REDIS" },
    { at: 0, text: "VALKEY" },
  ],
  tail: "",
  minBytes: 18,
  warnCodes: [],
};
const ACCESS_FAULTS = /NOAUTH|WRONGPASS|NOPERM|AUTH failed|invalid (?:username-)?password/i;

export const redis: StoreEngine = {
  listParts: listRedisParts,
  describeRestore: describeRedisRestore,
  // It waits there for the commands of the proof: which server it starts is the image's own.
  planBox: () => ({ entrypoint: ["tail", "-f", "/dev/null"], argv: [], env: {} }),
  verify: verifyRedis,
};

async function listRedisParts(source: StoreSource): Promise<DumpPart[]> {
  const client = await findProgram(source, CLIENTS);
  const counted = await countKeys(source, client);
  const dump: DumpPart = {
    kind: "keys",
    content: "all databases",
    label: "",
    ending: ".rdb",
    form: { ...FORM, minBytes: Math.max(FORM.minBytes, source.settings.minBytes ?? 0) },
    begin: async () => {
      const run = await ask(source, client, ["--rdb", "-"]);
      return { ...run, output: dropMark(run.output), measure: async () => counted };
    },
  };
  return [dump];
}

/** What a server that knows no length beforehand sends after the snapshot: 40 random digits. The program passes them on to a pipe. */
const MARK_BYTES = 40;
const END = 0xff;
const CHECKSUM_BYTES = 8;

/** The snapshot without the mark. One that does not end as each does (redis rdb.h, RDB_OPCODE_EOF) was cut. */
export async function* dropMark(output: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  const kept = END_BYTES + MARK_BYTES;
  let rest = Buffer.alloc(0);
  for await (const chunk of output) {
    rest = Buffer.concat([rest, chunk]);
    if (rest.length <= kept) continue;
    yield rest.subarray(0, rest.length - kept);
    rest = Buffer.from(rest.subarray(rest.length - kept));
  }
  const mark = rest.subarray(-MARK_BYTES).toString("latin1");
  const hasMark = /^[0-9a-f]{40}$/.test(mark) && rest.at(-kept) === END;
  if (!hasMark && rest.at(-END_BYTES) !== END) throw new Error("the snapshot's end is missing");
  yield hasMark ? rest.subarray(0, -MARK_BYTES) : rest;
}

const END_BYTES = 1 + CHECKSUM_BYTES;

/** The password is what the program reads first: it is in no argument and in no variable. */
function ask(source: StoreSource, client: string, parameters: readonly string[]): Promise<RunningDump> {
  const { password, user } = source.settings;
  const how: RunHow = password === undefined ? {} : { input: `${password}\n` };
  const login = [...(user === "" ? [] : ["--user", user]), ...(password === undefined ? [] : ["--askpass"])];
  return source.run([client, "-h", "127.0.0.1", "--no-auth-warning", ...login, ...parameters], how);
}

/** Those that never expire are counted apart: a cache may well be empty an hour later. */
async function countKeys(source: StoreSource, client: string): Promise<{ keys: number; lastingKeys: number }> {
  const { exitCode, stderr, text } = await readAll(await ask(source, client, ["info", "keyspace"]));
  // It answers a refusal as it answers anything else.
  if (exitCode !== 0 || !text.includes("# Keyspace")) {
    const said = `look at the server: ${(stderr + text).trim()}`;
    throw ACCESS_FAULTS.test(stderr + text)
      ? new AccessRefused(said, describeAccess(source.settings))
      : new Error(said);
  }
  let [keys, lastingKeys] = [0, 0];
  for (const [, all, expiring] of text.matchAll(/^db\d+:keys=(\d+),expires=(\d+)/gm)) {
    keys += Number(all);
    lastingKeys += Number(all) - Number(expiring);
  }
  return { keys, lastingKeys };
}

function describeAccess({ user }: StoreSettings): string[] {
  const name = user === "" ? "backup" : user;
  return [
    "in the server, or in its ACL file (the password is the value of connect.password):",
    `  ACL SETUSER ${name} on >… +psync +sync +replconf +ping +info`,
    'in the manifest: connect = { user = "…", password = "/path/of/the/secret" } under [[backups]]; without user for requirepass',
  ];
}

/** A server that runs keeps nothing that is put beside it: it reads the file at its start. */
function describeRedisRestore(_settings: StoreSettings, files: readonly BackupFile[], encrypted: boolean): string[] {
  return files.flatMap(({ file }) => [
    `${readFileBy(file, encrypted)} > dump.rdb`,
    "redis-check-rdb dump.rdb",
    "redis-server --dir . --dbfilename dump.rdb --appendonly no",
  ]);
}
