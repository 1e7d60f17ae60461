// Signed commits and tags for tests, made by git and ssh-keygen themselves: keys, merges, and commits that were changed after
// they were signed.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { parseSshKey } from "../../../shared/fleet/ssh-key.ts";
import type { TrustedKey } from "../../../shared/config/trusted-key.ts";
import type { GitCommitParts, GitRepository } from "../../../scripts/lab/git/git-repository.ts";

/** A key pair on disk. */
export interface TestKey {
  name: string;
  file: string;
  line: string;
  fingerprint: string;
}

/** Makes a key pair. */
export function makeKey(directory: string, name: string, type = "ed25519"): TestKey {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, name);
  execFileSync("ssh-keygen", ["-q", "-t", type, "-N", "", "-C", `${name}@example.com`, "-f", file]);
  const parsed = parseSshKey(readFileSync(`${file}.pub`, "utf8"));
  if (typeof parsed === "string") throw new Error(parsed);
  return { name, file, ...parsed };
}

/** A key as agent.toml lists it. */
export function trust(key: TestKey, nodes: readonly string[], fleet = false): TrustedKey {
  const { line, fingerprint, name } = key;
  return { line, fingerprint, name, nodes, fleet };
}

/** What is signed besides its files. */
export interface SignedParts extends GitCommitParts {
  key?: TestKey | undefined;
  /** More parents than the first. */
  merges?: readonly string[];
}

const SSH = ["-c", "gpg.format=ssh"];
const JANE = ["-c", "user.name=Jane Doe", "-c", "user.email=jane@example.com"];

/** Commits files, signed with a key where one is given; answers the id. */
export function commitSigned(repository: GitRepository, parts: SignedParts): string {
  const { key, merges = [], branch = "main", message = "change" } = parts;
  const parent = parts.parent === undefined ? repository.tip(branch) : (parts.parent ?? undefined);
  const { tree } = repository.commitTree({ ...parts, branch: "scratch", ...(parent === undefined ? {} : { parent }) });
  const parents = [...(parent === undefined ? [] : [parent]), ...merges].flatMap((id) => ["-p", id]);
  const sign = key === undefined ? [] : [`-S${key.file}`];
  const id = repository.git(...SSH, ...JANE, "commit-tree", ...sign, ...parents, "-m", message, tree);
  repository.point(branch, id);
  repository.point("scratch", undefined);
  return id;
}

/** Rewrites the raw text of a commit, keeps its signature, and lets the branch point there. */
export function tamper(repository: GitRepository, id: string, change: (raw: string) => string): string {
  const raw = execFileSync("git", ["cat-file", "commit", id], { cwd: repository.path, encoding: "latin1" });
  const changed = execFileSync("git", ["hash-object", "-t", "commit", "-w", "--stdin"], {
    cwd: repository.path,
    input: Buffer.from(change(raw), "latin1"),
    encoding: "utf8",
  }).trim();
  repository.git("update-ref", "refs/heads/main", changed);
  return changed;
}

/** Tags a commit: signed with a key, annotated without one, or lightweight. */
export function tag(
  repository: GitRepository,
  name: string,
  commit: string,
  how: TestKey | "annotated" | "light",
): void {
  if (how === "light") repository.git("tag", name, commit);
  else if (how === "annotated") repository.git(...JANE, "tag", "-a", "-m", "approve", name, commit);
  else repository.git(...SSH, ...JANE, "tag", "-u", how.file, "-m", "approve", name, commit);
}
