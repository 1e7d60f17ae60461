// Where a repository is and how it is opened: what the agent hands its child for each. Only this file knows the kinds.

import { stat } from "node:fs/promises";
import { join } from "node:path";

import { joinFolder } from "./backup-path.ts";
import { openLocalRepository } from "./local-repository.ts";
import { type PlaceTerm, type Repository, RepositoryError, type StoreFolder } from "./repository-port.ts";
import type { S3Place } from "./s3-client.ts";
import { readThroughTerms } from "./termed-repository.ts";

/** One repository, as it goes to the child in one line of JSON through a pipe: it holds the keys of a bucket. */
export type RepositoryPlace = (DirectoryPlace | ({ kind: "s3" } & S3Place)) & {
  /** This machine is a spare in the node's place: it writes into folders of its own term, and reads those of all before. */
  term?: PlaceTerm | undefined;
};

/** A directory of this host. */
interface DirectoryPlace {
  /** `local` makes its directory; another one is a mount, and must be there. */
  kind: "local" | "directory";
  name: string;
  directory: string;
  /** This node knows backups of this store there: where its folder is gone, what was mounted there is. */
  holds?: StoreFolder | undefined;
}

/** One that is open. */
export interface OpenedRepository {
  repository: Repository;
  /** Lets go of its connections. */
  close(): void;
}

/** Opens it. Each kind is loaded only where it is used. */
export async function openRepository(place: RepositoryPlace): Promise<OpenedRepository> {
  const opened = await openKind(place);
  const { term } = place;
  return term === undefined ? opened : { ...opened, repository: readThroughTerms(opened.repository, term) };
}

async function openKind(place: RepositoryPlace): Promise<OpenedRepository> {
  if (place.kind === "s3") {
    const [{ S3Client }, { openS3Repository }] = await Promise.all([
      import("./s3-client.ts"),
      import("./s3-repository.ts"),
    ]);
    const client = new S3Client(place);
    return { repository: openS3Repository(client), close: () => client.close() };
  }
  // A mount that is gone leaves an empty directory or none: a backup in it would be on the wrong disk.
  if (place.kind === "directory") await expectDirectory(place);
  return { repository: openLocalRepository(place.name, place.directory), close: () => undefined };
}

async function expectDirectory({ name, directory, holds }: DirectoryPlace): Promise<void> {
  const found = await stat(directory).catch((error: unknown) => {
    throw new RepositoryError(`open repositories.${name}: ${directory} is not there: mount it, or correct its path`, {
      cause: error,
    });
  });
  if (!found.isDirectory()) throw new RepositoryError(`open repositories.${name}: ${directory} is no directory`);
  if (holds === undefined) return;
  const folder = join(directory, joinFolder(holds));
  await stat(folder).catch(async (error: unknown) => {
    // A spare has none of the time before its term where the first backup is its own.
    if ((await openLocalRepository(name, directory).listTerms(holds)).length > 0) return;
    throw new RepositoryError(
      `open repositories.${name}: ${directory} had ${describeHeld(holds)} and has no folder of them now: ` +
        `mount it again, or, if it is a new one or somebody removed them on purpose, mkdir -p ${folder}`,
      { cause: error },
    );
  });
}

function describeHeld({ service, store }: StoreFolder): string {
  return store === "" ? "copies of the audit log" : `backups of ${service}/${store}`;
}
