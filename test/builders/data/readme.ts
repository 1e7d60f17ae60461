// What people read as data: README, topic pages, the two maps for developers. Blocks and the file each one is, command lines, code in
// the text, tables. For the tests that hold them to the program.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** A fenced block. `file` is what the comment before it says that it is. */
interface Block {
  language: string;
  file: string | undefined;
  text: string;
  /** The last heading above it. */
  heading: string;
}

/** A Markdown file, taken apart. */
export interface Readme {
  text: string;
  blocks: readonly Block[];
  /** Code inside lines of text, without its backticks. */
  codes: readonly string[];
  /** Rows of tables, cell by cell; code keeps its backticks. */
  rows: readonly (readonly string[])[];
  links: readonly string[];
}

const FILE = /^<!-- file: (\S+) -->$/;

/** Where the topic pages are, below the root. */
export const PAGES = "agent/help";

/** The names of the topic pages. */
export function listPages(): string[] {
  return readdirSync(join(ROOT, PAGES))
    .filter((name) => name.endsWith(".md"))
    .map((name) => name.slice(0, -".md".length))
    .toSorted();
}

/** Reads one file of the tree. */
function readDocument(path: string): Readme {
  return parseReadme(readFileSync(join(ROOT, path), "utf8"));
}

/** Reads one topic page. */
export function readPage(name: string): Readme {
  return readDocument(`${PAGES}/${name}.md`);
}

/** Every file that people read, by its path. */
export function readDocuments(): ReadonlyMap<string, Readme> {
  const paths = ["README.md", "agent/README.md", "test/README.md", ...listPages().map((name) => `${PAGES}/${name}.md`)];
  return new Map(paths.map((path) => [path, readDocument(path)]));
}

/** Several as one. */
export function joinDocuments(documents: Iterable<Readme>): Readme {
  const all = [...documents];
  return {
    text: all.map(({ text }) => text).join("\n"),
    blocks: all.flatMap(({ blocks }) => blocks),
    codes: all.flatMap(({ codes }) => codes),
    rows: all.flatMap(({ rows }) => rows),
    links: all.flatMap(({ links }) => links),
  };
}

/** Takes a Markdown text apart. */
export function parseReadme(text: string): Readme {
  const blocks: Block[] = [];
  const prose: string[] = [];
  let open: { language: string; file: string | undefined; lines: string[] } | undefined;
  let [before, heading] = ["", ""];
  for (const line of text.split("\n")) {
    const fence = /^```(\w*)$/.exec(line);
    if (open !== undefined && fence === null) open.lines.push(line);
    else if (open !== undefined) {
      blocks.push({ language: open.language, file: open.file, text: `${open.lines.join("\n")}\n`, heading });
      open = undefined;
    } else if (fence !== null) open = { language: fence[1] ?? "", file: FILE.exec(before)?.[1], lines: [] };
    else {
      prose.push(line);
      if (line.startsWith("#")) heading = line.replace(/^#+ /, "");
      before = line;
    }
  }
  if (open !== undefined) throw new Error("a block has no end");
  const flow = prose.join("\n");
  return {
    text,
    blocks,
    codes: [...flow.matchAll(/`([^`]+)`/g)].map(([, code]) => (code ?? "").replaceAll("\n", " ")),
    rows: prose.filter((line) => /^\|.*\|$/.test(line)).map((line) => line.slice(1, -1).split("|").map(trim)),
    links: [...flow.matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link ?? ""),
  };
}

function trim(cell: string): string {
  return cell.trim();
}

/** The lines of the shell blocks, without comments. */
export function listShellLines({ blocks }: Readme): string[] {
  return blocks
    .filter((block) => block.language === "sh")
    .flatMap((block) => block.text.split("\n"))
    .map((line) => line.replace(/(^|\s)#.*$/, "").trim())
    .filter((line) => line !== "");
}

/** The words of `orca …`, as a shell would split them; undefined for a line that runs something else. */
export function readOrcaWords(line: string): string[] | undefined {
  // Where its output goes is the shell's.
  const [first, ...words] = line.replace(/ > \S+$/, "").split(/\s+/);
  return first === "orca" ? words : undefined;
}

/** The blocks that are files of one example repository: path inside it → text. */
export function selectFiles({ blocks }: Readme, repository: string): Map<string, string> {
  const own = blocks.filter((block) => block.file?.startsWith(`${repository}/`) === true);
  return new Map(own.map((block) => [block.file?.slice(repository.length + 1) ?? "", block.text]));
}

/** Writes files below a directory. */
export function writeFiles(directory: string, files: ReadonlyMap<string, string>): void {
  for (const [path, text] of files) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), text);
  }
}
