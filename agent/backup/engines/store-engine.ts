// What a kind of store must be able to do to be backed up: say what there is to dump, how a person restores it, and how a throw-away
// server proves a backup of it. engines.ts has the table of them.

import type { StoreSourcePlan } from "../../../shared/state/backup.ts";
import type { BackupFile } from "../core/backup-record.ts";
import type { DumpPart, RunningDump } from "../dump-port.ts";
import type { RestoreBox, RestoreInput, Verdict, VerifyClock } from "../verify/restore-box.ts";

/** What the manifest says of a store; it goes to the child in one line of JSON. */
export interface StoreSettings extends Pick<
  StoreSourcePlan,
  "user" | "databases" | "command" | "exec" | "volumes" | "minBytes"
> {
  /** The value: through the child's pipe, and from there by a file in memory. */
  password: string | undefined;
  /** The path of its secret, for what people are told. */
  passwordPath?: string | undefined;
}

/** How a program is run that reads the source. */
export interface RunHow {
  /** A file that this program alone sees, in memory, at `SECRET_FOLDER/name`; nothing of it is in argv or in the environment. */
  secret?: { name: string; text: string };
  /** Nothing secret: the engine shows it to whoever inspects the container. */
  env?: Readonly<Record<string, string>>;
  /** `network`, where it is left out: beside the server, at 127.0.0.1. `volumes`: with the service's volumes, read-only. */
  reads?: "network" | "volumes";
  /** In the service's own container, with its environment. */
  inside?: boolean;
  /** Written to its standard input, which then ends; or stays open until it is cancelled, where `hold` says so. */
  input?: string;
  hold?: boolean;
}

/** Where a program sees the file that it is given. */
export const SECRET_FOLDER = "/run/orca-backup";

/** How the store is reached. */
export interface StoreSource {
  settings: StoreSettings;
  /** Runs a program of the image beside the server; not begun before it is called. */
  run(argv: readonly string[], how?: RunHow): Promise<RunningDump>;
}

/** The throw-away server that a backup is restored into, made from the image that made the backup. */
interface BoxPlan {
  /** In place of the image's own entrypoint, as root; undefined leaves that in place. */
  entrypoint?: readonly string[];
  /** Given to the entrypoint. */
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
}

/** What a throw-away server is planned with. */
interface BoxPlace {
  /** Where it may write. */
  scratch: string;
  /** What is restored. */
  files: readonly BackupFile[];
}

/** One kind of store. */
export interface StoreEngine {
  /** Looks at the source and says what there is to dump; nothing has begun then. */
  listParts(source: StoreSource): Promise<DumpPart[]>;
  /** The stock commands that restore these files without Orca. */
  describeRestore(settings: StoreSettings, files: readonly BackupFile[], encrypted: boolean): string[];
  /** Why a restore shows nothing of this kind; undefined where one does. */
  unproven?: (settings: StoreSettings) => string;
  planBox(settings: StoreSettings, place: BoxPlace): BoxPlan;
  /** Restores a backup in the box and says what came of it. Never throws. */
  verify(box: RestoreBox, input: RestoreInput, clock: VerifyClock): Promise<Verdict>;
}
