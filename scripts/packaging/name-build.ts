// What is built: version, commit and time, read from Git. The version is package.json's at its tag, and less or more than that elsewhere, so
// that dpkg takes each later commit for an upgrade.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** One build. */
export interface Build {
  /** As dpkg compares it. */
  version: string;
  commit: string;
  /** What `orca --version` says beside the version. */
  line: string;
  /** The commit's time, in seconds since 1970. */
  epoch: number;
}

/**
 * Names the build of a checkout.
 * @param wanted another version than Git says, for tests of upgrades
 * @returns its name; throws where this is no checkout
 */
export function nameBuild(root: string, wanted?: string): Build {
  const git = (...words: string[]): string => execFileSync("git", words, { cwd: root, encoding: "utf8" }).trim();
  const has = (...words: string[]): boolean => {
    try {
      return git(...words) !== "";
    } catch {
      return false;
    }
  };
  const { version: released } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  const commit = git("rev-parse", "HEAD");
  const isChanged = git("status", "--porcelain", "--untracked-files=no") !== "";
  const tag = `refs/tags/v${released}^{commit}`;
  const tagged = has("rev-parse", "-q", "--verify", tag) ? git("rev-parse", tag) : undefined;
  const short = commit.slice(0, 12);
  // A tilde sorts before nothing: what leads to a release comes before it, what follows it after it (deb-version(7)).
  const behind = `${tagged === undefined ? "~" : "+"}${git("rev-list", "--count", "HEAD")}.g${short}`;
  const own = tagged === commit && !isChanged ? released : `${released}${behind}${isChanged ? ".changed" : ""}`;
  return {
    version: wanted ?? own,
    commit,
    line: isChanged ? `${short}, changed` : short,
    epoch: Number(process.env["SOURCE_DATE_EPOCH"] ?? git("log", "-1", "--format=%ct")),
  };
}
