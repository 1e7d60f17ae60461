// `orca unit`: opens to the agent's unit the directories that agent.toml and the repositories in force name. A person asks for it, since
// a repository's path comes from Git: no commit alone makes the agent write anywhere else than before.

import { readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import { isRefused, readHostFile } from "../../host/files/host-files.ts";
import { readRealPath } from "../../host/files/host-facts.ts";
import type { BackupListDocument } from "../../../shared/document/backup-document.ts";
import { agentConfigSchema } from "../../../shared/config/agent-config.ts";
import { readMessage } from "../../../shared/text/read-message.ts";
import { AgentClient, type ClientOptions, expectJson } from "../frame/client.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { printFault, printText } from "../frame/terminal.ts";
import { buildDropIn, findObjection, selectOpened } from "./unit-drop-in.ts";
import { makeDirectory } from "../../host/files/make-directory.ts";

/** The options of `orca unit`. */
export interface UnitOptions extends ClientOptions {
  config: string;
  write?: boolean;
}

/** Where systemd reads what an administrator adds to the unit. */
const DROP_IN = "/etc/systemd/system/orca-agent.service.d/orca-paths.conf";
/** StateDirectory and RuntimeDirectory of the unit. */
const OWN = ["/var/lib/orca", "/run/orca"];

/**
 * Prints the drop-in, or puts it in place.
 * @param dropIn only a test has another place
 * @returns 0; throws where a directory may not be opened, which then opens none
 */
export async function unit({ config: path, write, socket }: UnitOptions, dropIn = DROP_IN): Promise<number> {
  const { state, backups } = await readHostFile(agentConfigSchema, path, "config");
  const repositories = await askRepositories(socket === undefined ? {} : { socket });
  if (typeof repositories === "string") {
    // Not known is not none: what is open stays so.
    if (write === true && (await isThere(dropIn)))
      throw new CommandError(`${dropIn} stays as it is: which repositories are in force is not known: ${repositories}`);
    printFault(`orca: without the repositories of fleet.toml: ${repositories}`);
  }
  const named = [state.dir, backups.dir, ...(typeof repositories === "string" ? [] : repositories)];
  const opened = selectOpened(await Promise.all(named.map(resolvePath)), OWN);
  const faults = opened.flatMap((directory) => {
    const objection = findObjection(directory);
    return objection === undefined
      ? []
      : [`${JSON.stringify(directory)} is not opened: ${objection}; name another directory`];
  });
  if (faults.length > 0) throw new CommandError(faults.join("\n"));
  for (const directory of opened)
    if (!(await isDirectory(directory)))
      printFault(
        `orca: ${directory} is not there: mount it or make it (install -d -m 700), and restart the agent then`,
      );
  if (write === true) await put(opened, dropIn);
  else if (opened.length > 0) printText(buildDropIn(opened).trimEnd());
  else printFault("orca: nothing lies outside the agent's own directories: no drop-in is needed");
  return EXIT.ok;
}

/** The directories of the repositories that this node's services name, or why they are not known: only the agent knows what is in force. */
async function askRepositories(options: ClientOptions): Promise<string[] | string> {
  try {
    const { stores } = expectJson<BackupListDocument>(await new AgentClient(options).readTrusted("/v1/backups"));
    return stores.flatMap(({ repositories }) => repositories.flatMap(({ directory }) => directory ?? []));
  } catch (error) {
    return readMessage(error);
  }
}

/** Where links lead counts. */
async function resolvePath(path: string): Promise<string> {
  const real = await readRealPath(path);
  if (real === undefined) throw new CommandError(`${path} cannot be looked at: links lead round in circles there`);
  return real;
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function isDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true;
}

async function put(opened: readonly string[], dropIn: string): Promise<void> {
  const next = opened.length === 0 ? undefined : buildDropIn(opened);
  const before = await readFile(dropIn, "utf8").catch(() => undefined);
  if (next === before) return printText("nothing to change");
  try {
    if (next === undefined) await rm(dropIn, { force: true });
    else {
      await makeDirectory(dirname(dropIn), 0o755);
      await writeFile(`${dropIn}.new`, next, { mode: 0o644 });
      await rename(`${dropIn}.new`, dropIn);
    }
  } catch (error) {
    if (!isRefused(error)) throw error;
    throw new CommandError(`this user may not write ${dropIn}: use sudo`);
  }
  const what = next === undefined ? "removed" : "written";
  printText(`${dropIn}: ${what}. Now: systemctl daemon-reload && systemctl restart orca-agent (touches no container)`);
}
