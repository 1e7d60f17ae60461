// MariaDB and MySQL restored into place: the service's own image makes an empty server with the accounts that it has today, then the same
// server is started again with an account of the restore's own, loads the backup, and has that account no more. The accounts that the
// image made keep their passwords of today; the others come from the backup.

import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { makeDirectory } from "../../host/files/make-directory.ts";
import { nameMysqlVersion, readMysqlVersion, refuseVersion } from "../core/server-version.ts";
import type { ContainerShape } from "../../docker/restores.ts";
import { findMysqlClient, MYSQL_MACHINE, verifyMysql } from "../verify/verify-mysql.ts";
import { VerifySession } from "../verify/verify-session.ts";
import { endCleanly, expectGood, type FillWork, readHead, type Twin, whileTelling, withTwin } from "./fill-work.ts";

/** What makes writing safe against a machine that goes down may rest until the server has ended; events wait for the service. */
const SETTINGS = [
  "--bind-address=127.0.0.1",
  "--skip-log-bin",
  "--innodb-flush-log-at-trx-commit=0",
  "--innodb-doublewrite=0",
  "--innodb-buffer-pool-size=64M",
  "--max-connections=10",
  "--performance-schema=off",
  "--event-scheduler=off",
];
const INIT_MOUNT = "/orca-restore";
const INIT_FILE = "init.sql";
/** It is there for as long as the server has no network, and lets nobody in from elsewhere. */
const USER = "orca_restore";
/** One statement a line (MariaDB "Server System Variables", init_file). */
const INIT = [
  `create user if not exists ${USER}@'127.0.0.1' identified by '';`,
  `grant all on *.* to ${USER}@'127.0.0.1' with grant option;`,
  // A dump of accounts grants the right to stand for others, which "all" does not hold.
  `replace into mysql.proxies_priv (Host, User, Proxied_host, Proxied_user, With_grant, Grantor) values ('127.0.0.1', '${USER}', '%', '', 1, '');`,
  "flush privileges;",
  "",
].join("\n");
/** A server that answers so is up, and knows its accounts: access denied, by password or by host (MariaDB error codes). */
const REFUSED = /ERROR (?:1045|1698|1130|1524)\b/;

/** Fills a volume with a MariaDB or MySQL; answers what is in it. Throws where it cannot be used. */
export async function fillMysql(work: FillWork): Promise<string> {
  const command = [...readCommand(work.shape), ...SETTINGS];
  // What the service's first start ran is in the backup already.
  const without = ["/docker-entrypoint-initdb.d"];
  await withTwin(work, { command, without }, (twin) => makeEmpty(twin, work));
  return withInitFile(work, (directory) => {
    const binds = [{ source: directory, target: INIT_MOUNT }];
    const plan = { command: [...command, `--init-file=${INIT_MOUNT}/${INIT_FILE}`], without, binds };
    return withTwin(work, plan, (twin) => restoreMysql(twin, work));
  });
}

async function makeEmpty(twin: Twin, work: FillWork): Promise<void> {
  const session = openSession(twin, work);
  const client = await findMysqlClient(session);
  await session.waitUntilReady(
    [client.name, "-h", "127.0.0.1", "-e", "select 1"],
    ({ exitCode, output }) => exitCode === 0 || REFUSED.test(output),
  );
  await endCleanly(twin, work);
}

function openSession(twin: Twin, { input, clock }: FillWork): VerifySession {
  return new VerifySession({ box: twin, input, clock }, MYSQL_MACHINE);
}

/** The service's own arguments stay; what comes after them wins. Both official images start their server for what begins with a dash. */
function readCommand({ command }: ContainerShape): readonly string[] {
  const [first = "-"] = command;
  return first.startsWith("-") || /(?:^|\/)(?:mariadbd|mysqld)$/.test(first) ? command : [];
}

/** In a directory that the server's own user may read: there is no secret in it. */
async function withInitFile<T>({ request }: FillWork, use: (directory: string) => Promise<T>): Promise<T> {
  await makeDirectory(request.spool, 0o700);
  const directory = await mkdtemp(join(request.spool, "restore-"));
  try {
    await writeFile(join(directory, INIT_FILE), INIT);
    await chmod(join(directory, INIT_FILE), 0o644);
    await chmod(directory, 0o755);
    return await use(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function restoreMysql(twin: Twin, work: FillWork): Promise<string> {
  const { files, input, clock } = work;
  const session = openSession(twin, work);
  const client = await findMysqlClient(session);
  const ask = (statement: string): Promise<string> =>
    session.expect("look after its accounts", [
      client.name,
      "-h",
      "127.0.0.1",
      `-u${USER}`,
      "-N",
      "-B",
      "-e",
      statement,
    ]);
  await session.waitUntilReady([client.name, "-h", "127.0.0.1", `-u${USER}`, "-e", "select 1"]);
  const dump = files.find(({ kind }) => kind === "database");
  const source = dump === undefined ? undefined : readMysqlVersion(await readHead(work, dump));
  const refusal = refuseVersion(source, nameMysqlVersion(await ask("select version()")));
  if (refusal !== undefined) throw new Error(refusal);
  const hasAccounts = files.some(({ kind }) => kind === "globals");
  // Statements of the dump would give them the passwords of that day.
  const table = (await ask(FIND_ACCOUNTS)) === "0" ? "mysql.user" : "mysql.global_priv";
  if (hasAccounts)
    await ask(`create database ${USER}; create table ${USER}.own as select * from ${table} where user <> '${USER}'`);
  const restore = async (): Promise<string> => expectGood(await verifyMysql(twin, input, clock, USER));
  const detail = await whileTelling(work, twin, { programs: ["mariadb", "mysql"], restore });
  if (hasAccounts)
    await ask(`replace into ${table} select * from ${USER}.own; flush privileges; drop database ${USER}`);
  await ask(`drop user ${USER}@'127.0.0.1'`);
  await endCleanly(twin, work);
  return hasAccounts ? detail : `${detail}; the backup has no accounts: those that its image makes are there`;
}

/** Since MariaDB 10.4 the accounts are in a table of another name. */
const FIND_ACCOUNTS =
  "select count(*) from information_schema.tables where table_schema = 'mysql' and table_name = 'global_priv'";
