// A bare Git repository for tests, written with `git fast-import`: one call for each commit, or one for ten thousand.

import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";

/** A file's content; a link or a submodule by what it points at. */
type GitContent = string | Uint8Array | { link: string } | { submodule: string };

/** One commit. */
export interface GitCommitParts {
  /** Every file of the commit: what is not named is not there. */
  files: Readonly<Record<string, GitContent>>;
  message?: string;
  author?: string;
  branch?: string;
  /** The parent; the branch's tip unless said otherwise, null for none. */
  parent?: string | null;
}

/** A bare repository on disk. */
export class GitRepository {
  readonly path: string;
  #seconds = 1_700_000_000;

  constructor(path: string) {
    this.path = path;
    mkdirSync(path, { recursive: true });
    this.git("init", "--quiet", "--bare", "--initial-branch=main", ".");
  }

  /** Runs git in it. */
  git(...parameters: string[]): string {
    return execFileSync("git", parameters, {
      cwd: this.path,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    }).trim();
  }

  /** Commits; answers the id. */
  commit(parts: GitCommitParts): string {
    const { branch = "main", message = "change", author = "Jane Doe <jane@example.com>" } = parts;
    const parent = parts.parent === undefined ? this.tip(branch) : (parts.parent ?? undefined);
    this.#seconds += 60;
    const lines: (string | Uint8Array)[] = [
      `reset refs/heads/${branch}\n\n`,
      `commit refs/heads/${branch}\n`,
      `author ${author} ${this.#seconds} +0100\n`,
      `committer Merge Bot <bot@example.com> ${this.#seconds} +0100\n`,
      ...encodeData(message),
      ...(parent === undefined ? [] : [`from ${parent}\n`]),
      "deleteall\n",
    ];
    for (const [path, content] of Object.entries(parts.files)) lines.push(...encodeFile(path, content));
    this.import(Buffer.concat(lines.map((line) => Buffer.from(line))));
    return this.tip(branch) ?? "";
  }

  /** Feeds fast-import. */
  import(stream: Buffer): void {
    const { status, stderr } = spawnSync("git", ["fast-import", "--quiet", "--force"], {
      cwd: this.path,
      input: stream,
    });
    if (status !== 0) throw new Error(stderr.toString());
  }

  /** A long history in one go: a commit with some files, then commits that change one text each. */
  importHistory(files: ReadonlyMap<string, string>, changes: Iterable<[path: string, text: string]>): void {
    const lines: (string | Uint8Array)[] = [];
    const begin = (): void => {
      this.#seconds += 60;
      lines.push("commit refs/heads/main\n", `committer Jane <jane@example.com> ${this.#seconds} +0000\n`);
      lines.push(...encodeData("change"));
    };
    begin();
    const tip = this.tip();
    if (tip !== undefined) lines.push(`from ${tip}\n`);
    for (const [path, text] of files) lines.push(...encodeFile(path, text));
    for (const [path, text] of changes) {
      begin();
      lines.push(...encodeFile(path, text));
    }
    this.import(Buffer.concat(lines.map((line) => Buffer.from(line))));
  }

  /** Where a branch stands. */
  tip(branch = "main"): string | undefined {
    const { status, stdout } = spawnSync("git", ["rev-parse", "--verify", "--quiet", `refs/heads/${branch}`], {
      cwd: this.path,
      encoding: "utf8",
    });
    return status === 0 ? stdout.trim() : undefined;
  }
}

/** `data` of fast-import. */
function encodeData(content: string | Uint8Array): (string | Uint8Array)[] {
  const bytes = Buffer.from(content as string);
  return [`data ${bytes.length}\n`, bytes, "\n"];
}

function encodeFile(path: string, content: GitContent): (string | Uint8Array)[] {
  if (typeof content === "string" || content instanceof Uint8Array)
    return [`M 100644 inline ${path}\n`, ...encodeData(content)];
  if ("link" in content) return [`M 120000 inline ${path}\n`, ...encodeData(content.link)];
  return [`M 160000 ${content.submodule} ${path}\n`];
}
