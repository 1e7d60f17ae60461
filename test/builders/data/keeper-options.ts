// A keeper of backups in a directory of a test, whose children never end and whose buckets are not there.

import { join } from "node:path";

import type { KeeperOptions } from "../../../agent/backup/keeper/backup-keeper.ts";
import type { FakeClock } from "../../fakes/fake-clock.ts";

/** What it is made from; a test gives its own children. */
export function buildKeeperOptions(directory: string, clock: FakeClock): KeeperOptions {
  return {
    node: "vm1",
    clock,
    statePath: join(directory, "backups.json"),
    localDirectory: join(directory, "backups"),
    memoryDirectory: join(directory, "memory"),
    readSecret: () => ({ reason: "there is none" }),
    socket: "/nowhere.sock",
    program: "orca",
    keyPath: join(directory, "backup.key"),
    lockDirectory: join(directory, "locks"),
    spool: join(directory, "spool"),
    runChild: () => new Promise<never>(() => undefined),
    runLightChild: () => Promise.resolve({ kind: "failed", reason: "not in this test", tooLarge: false }),
    holdStill: () => undefined,
    sweep: () => Promise.resolve(0),
    emit: () => undefined,
  };
}
