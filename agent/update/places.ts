// Where the versions of the agent lie, and what is kept beside them. The package's postinst makes the same
// (scripts/packaging/debian/postinst): both name `versions` and `current`.

import { readlinkSync } from "node:fs";
import { basename, join } from "node:path";

import { isVersionName } from "./core/trial.ts";

/** Where the package puts them; only tests have another place. */
export const UPDATE_ROOT = "/opt/orca";
/** Where dpkg keeps the units that it has installed. */
export const UNIT_DIRECTORY = "/usr/lib/systemd/system";

/** Everything below one root. */
export interface UpdatePlaces {
  root: string;
  versions: string;
  current: string;
  judge: string;
  trial: string;
  record: string;
}

/** Names them. */
export function listPlaces(root: string = UPDATE_ROOT): UpdatePlaces {
  const at = (name: string): string => join(root, name);
  return {
    root,
    versions: at("versions"),
    current: at("current"),
    judge: at("judge"),
    trial: at("trial"),
    record: at("updates.json"),
  };
}

/** The version that a link names; undefined where there is none. */
export function readVersionLink(link: string): string | undefined {
  try {
    const name = basename(readlinkSync(link));
    return isVersionName(name) ? name : undefined;
  } catch {
    return undefined;
  }
}
