// A bare Git repository for tests, written with `git fast-import`: one call for each commit, or one for ten thousand.

import { execFileSync, spawnSync } from "node:child_process";
import { appendFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

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
    return this.commitTree(parts).commit;
  }

  /** Commits; answers the ids of the commit and of its tree. */
  commitTree(parts: GitCommitParts): { commit: string; tree: string } {
    const { branch = "main", message = "change", author = "Jane Doe <jane@example.com>" } = parts;
    const parent = parts.parent === undefined ? this.tip(branch) : (parts.parent ?? undefined);
    this.#seconds += 60;
    const lines: (string | Uint8Array)[] = [
      `reset refs/heads/${branch}\n\n`,
      `commit refs/heads/${branch}\n`,
      "mark :1\n",
      `author ${author} ${this.#seconds} +0100\n`,
      `committer Merge Bot <bot@example.com> ${this.#seconds} +0100\n`,
      ...encodeData(message),
      ...(parent === undefined ? [] : [`from ${parent}\n`]),
      "deleteall\n",
    ];
    for (const [path, content] of Object.entries(parts.files)) lines.push(...encodeFile(path, content));
    lines.push('\nget-mark :1\nls :1 ""\n');
    const printed = this.import(Buffer.concat(lines.map((line) => Buffer.from(line))));
    const [commit = "", tree = ""] = printed.match(/[0-9a-f]{40,}/g) ?? [];
    return { commit, tree };
  }

  /** Feeds fast-import, which keeps the pack as it is: no other process unpacks it. Answers what it printed. */
  import(stream: Buffer): string {
    const words = ["-c", "fastimport.unpackLimit=1", "fast-import", "--quiet", "--force"];
    const { status, stdout, stderr } = spawnSync("git", words, { cwd: this.path, input: stream });
    if (status !== 0) throw new Error(stderr.toString());
    return stdout.toString().trim();
  }

  /** Adds to its configuration: a section's name, and what it says. */
  configure(section: string, entries: Readonly<Record<string, string>>): void {
    const lines = Object.entries(entries).map(([key, value]) => `\t${key} = ${value}\n`);
    appendFileSync(join(this.path, "config"), `[${section}]\n${lines.join("")}`);
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
    try {
      return readFileSync(join(this.path, "refs", "heads", branch), "utf8").trim();
    } catch {
      return this.#readPacked(branch);
    }
  }

  /** Lets a branch stand at a commit; at none it is gone. */
  point(branch: string, commit: string | undefined): void {
    const file = join(this.path, "refs", "heads", branch);
    if (commit === undefined) rmSync(file);
    else writeFileSync(file, `${commit}\n`);
  }

  #readPacked(branch: string): string | undefined {
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
