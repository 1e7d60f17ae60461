// The README as data: its blocks and the file each one is, its command lines, code in its text, its tables. For the tests
// that hold it to the program.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

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

/** Reads the README. */
export function readReadme(): Readme {
  return parseReadme(readFileSync(join(ROOT, "README.md"), "utf8"));
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
  if (open !== undefined) throw new Error("a block of the README has no end");
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

/** The lines of the shell blocks, without comments; of one section where a heading is given. */
export function listShellLines({ blocks }: Readme, heading?: string): string[] {
  return blocks
    .filter((block) => block.language === "sh" && (heading === undefined || block.heading === heading))
    .flatMap((block) => block.text.split("\n"))
    .map((line) => line.replace(/(^|\s)#.*$/, "").trim())
    .filter((line) => line !== "");
}

/** The words of `orca …`, as a shell would split them; undefined for a line that runs something else. */
export function readOrcaWords(line: string): string[] | undefined {
  const [first, ...words] = line.split(/\s+/);
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
