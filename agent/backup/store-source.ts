// How the child reaches a store: programs in containers of their own beside the service, or in the service's own. What is secret goes to
// them by a file in memory that they alone see, or by their standard input.

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { BindSource } from "../../shared/state/step.ts";
import type { OneShots, StartGuard } from "../docker/one-shot.ts";
import { makeDirectorySync } from "../host/files/make-directory.ts";
import { describeMoved, HOST_BINDS, startAsJudged } from "../host/os/bind-look.ts";
import type { BackupRequest } from "./backup-exchange.ts";
import type { RunningDump } from "./dump-port.ts";
import { type RunHow, SECRET_FOLDER, type StoreSource } from "./engines/store-engine.ts";

const FOLDER_START = "backup-";

/** Removes what a child that was killed has left in memory: one of them runs at a time. */
export function sweepSecrets(memoryDirectory: string): void {
  try {
    for (const name of readdirSync(memoryDirectory))
      if (name.startsWith(FOLDER_START)) rmSync(join(memoryDirectory, name), { recursive: true, force: true });
  } catch {
    // There is no such directory yet.
  }
}

/** Of a request, what says how the store is reached. */
type SourceRequest = Pick<
  BackupRequest,
  "folder" | "settings" | "container" | "memoryBytes" | "memoryDirectory" | "isStopped" | "binds"
>;

/** Opens a store; no program runs before it is asked for. */
export function openSource(request: SourceRequest, image: string, oneShots: OneShots): StoreSource {
  const { folder, settings, container, memoryBytes, memoryDirectory } = request;
  const start = (argv: readonly string[], how: RunHow, mounted: string | undefined): ReturnType<OneShots["run"]> =>
    oneShots.run({
      job: `backup:${folder.service}/${folder.store}`,
      node: folder.node,
      image,
      argv,
      env: how.env ?? {},
      // A file of this user's, which nobody else may read, is read by itself.
      user: mounted === undefined ? (how.reads === "volumes" ? "0:0" : undefined) : findUser(),
      // The server's own network: 127.0.0.1 is the database, and no port is published for the dump.
      network: request.isStopped ? "none" : `container:${container}`,
      memoryBytes,
      binds: mounted === undefined ? [] : [{ source: mounted, target: SECRET_FOLDER, readOnly: true }],
      volumesOf: how.reads === "volumes" ? container : undefined,
      guard: how.reads === "volumes" && request.binds.length > 0 ? guardBinds(request.binds) : undefined,
      input: how.input,
      hold: how.hold,
    });
  return {
    settings,
    run: async (argv, how = {}) => {
      if (how.inside === true) return oneShots.runInside(container, argv);
      const { secret } = how;
      if (secret === undefined) return start(argv, how, undefined);
      const directory = writeSecret(memoryDirectory, secret);
      const remove = (): void => rmSync(directory, { recursive: true, force: true });
      try {
        return removeAfter(await start(argv, how, directory), remove);
      } catch (error) {
        remove();
        throw error;
      }
    },
  };
}

/** The engine mounts by path what the service has of this host: it must lead where the policy was asked about, as for the service. */
function guardBinds(binds: readonly BindSource[]): StartGuard {
  return async (container, hands) => {
    const refused = await startAsJudged(container, { binds, look: HOST_BINDS }, hands);
    if (refused === undefined) return undefined;
    return `${describeMoved(refused.bind)}; it was ${refused.found === "before" ? "not started" : "ended at once"}`;
  };
}

function findUser(): string {
  return `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`;
}

function writeSecret(memoryDirectory: string, { name, text }: { name: string; text: string }): string {
  makeDirectorySync(memoryDirectory, 0o700);
  const directory = mkdtempSync(join(memoryDirectory, FOLDER_START));
  writeFileSync(join(directory, name), text, { mode: 0o400 });
  return directory;
}

function removeAfter(dump: RunningDump, remove: () => void): RunningDump {
  const ended = dump.ended.finally(remove);
  ended.catch(() => undefined);
  return { ...dump, ended, cancel: () => dump.cancel().finally(remove) };
}
