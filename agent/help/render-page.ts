// A topic page as text for a terminal: headings, paragraphs, lists, tables and blocks of code, which is all the Markdown that the pages
// have. Pure. Nothing is cut: tables wrap inside their cells, and a block of code stays as it is written.

/** How to print a page. `paint` is left out where there is no terminal. */
export interface PageOptions {
  width: number;
  paint?: ((text: string, style: "bold" | "cyan") => string) | undefined;
}

/** Headings stand at the edge, all else is set in, and code a little more. */
const INDENT = "  ";
const CODE_INDENT = "    ";
const GAP = "  ";
/** Longer lines are hard to read, however wide a terminal is. */
const WIDEST = 100;
/** What people look up stands in the first column: that is not broken while it takes no more of the width. */
const WHOLE_SHARE = 0.45;
/** Around code while a page is laid out; they take no room. */
const [OPEN, CLOSE] = ["\uE000", "\uE001"];

/** Prints a page. */
export function renderPage(markdown: string, options: PageOptions): string {
  const width = Math.min(options.width, WIDEST);
  const lines = markdown.split("\n").filter((line) => !/^<!-- .* -->$/.test(line));
  const blocks: string[][] = [];
  for (let at = 0; at < lines.length; at += 1) {
    if (lines[at] === "") continue;
    const end = findEnd(lines, at);
    blocks.push(renderBlock(lines.slice(at, end), width, options.paint));
    at = end - 1;
  }
  return `${blocks.map((block) => block.join("\n")).join("\n\n")}\n`;
}

/** Where the block ends that begins here: a fence at its fence, all else at an empty line. */
function findEnd(lines: readonly string[], at: number): number {
  const isFence = lines[at]?.startsWith("```") === true;
  const next = lines.findIndex((line, index) => index > at && (isFence ? line.startsWith("```") : line === ""));
  return next === -1 ? lines.length : next + 1;
}

function renderBlock(block: readonly string[], width: number, paint: PageOptions["paint"]): string[] {
  const [first = ""] = block;
  const text = block.filter((line) => line !== "");
  if (first.startsWith("```")) return block.slice(1, -1).map((line) => (line === "" ? "" : `${CODE_INDENT}${line}`));
  if (first.startsWith("#")) {
    const heading = readInline(first.replace(/^#+ /, ""), false);
    return [paint === undefined ? heading : paint(heading, "bold")];
  }
  const isPainted = paint !== undefined;
  const laid = first.startsWith("|")
    ? renderTable(text, width - INDENT.length, isPainted)
    : splitItems(text).flatMap((item) => renderItem(item, width - INDENT.length, isPainted));
  return paintCode(laid, paint).map((line) => `${INDENT}${line}`.trimEnd());
}

/** The items of a list, each with the lines that go on with it; a paragraph is one item. */
function splitItems(lines: readonly string[]): string[] {
  const items: string[] = [];
  for (const line of lines) {
    if (items.length === 0 || /^ *(-|\d+\.) /.test(line)) items.push(line);
    else items.push(`${items.pop() ?? ""} ${line.trim()}`);
  }
  return items;
}

function renderItem(item: string, width: number, isPainted: boolean): string[] {
  const [, margin = "", mark = "", rest = ""] = /^( *)((?:-|\d+\.) )?(.*)$/.exec(item) ?? [];
  const lead = `${margin}${mark}`;
  const hanging = " ".repeat(lead.length);
  return wrap(readInline(rest, isPainted), width - lead.length).map(
    (line, index) => `${index === 0 ? lead : hanging}${line}`,
  );
}

function renderTable(lines: readonly string[], width: number, isPainted: boolean): string[] {
  const rows = lines
    .filter((line) => !/^\|[-| ]+\|$/.test(line))
    .map((line) => line.slice(1, -1).split("|"))
    .map((cells) => cells.map((cell) => readInline(cell.trim(), isPainted)));
  const widths = fitColumns(rows, width);
  const rule = widths.map((column) => "─".repeat(column)).join(GAP);
  const laid = rows.map((cells) => {
    const columns = widths.map((column, index) => wrap(cells[index] ?? "", column));
    const height = Math.max(...columns.map(({ length }) => length));
    return Array.from({ length: height }, (_, line) =>
      columns.map((column, index) => pad(column[line] ?? "", widths[index] ?? 0)).join(GAP),
    );
  });
  const [head = [], ...body] = laid;
  // Rows that take several lines are told apart by an empty one.
  const isTall = body.some(({ length }) => length > 1);
  return [...head, rule, ...body.flatMap((row, index) => (isTall && index > 0 ? ["", ...row] : row))];
}

/** Each column as wide as its widest cell; where that is too much, the first one stays whole if it may, and the others share the rest. */
function fitColumns(rows: readonly (readonly string[])[], width: number): number[] {
  const count = Math.max(...rows.map(({ length }) => length));
  const columns = Array.from({ length: count }, (_, index) => rows.map((cells) => cells[index] ?? ""));
  const natural = columns.map((cells) => Math.max(...cells.map(measure)));
  const widths = columns.map((cells) => Math.max(...cells.flatMap((cell) => cell.split(" ").map(measure))));
  const room = width - GAP.length * (count - 1);
  if ((natural[0] ?? 0) <= room * WHOLE_SHARE) widths[0] = natural[0] ?? 0;
  // One character after the other to the column that lacks most; a long text may have more lines than a short one.
  for (let left = room - widths.reduce((sum, entry) => sum + entry, 0); left > 0; left -= 1) {
    const lacks = natural.map((full, index) =>
      full > (widths[index] ?? 0) ? Math.sqrt(full) / (widths[index] ?? 1) : 0,
    );
    const most = lacks.indexOf(Math.max(...lacks));
    if ((lacks[most] ?? 0) === 0) break;
    widths[most] = (widths[most] ?? 0) + 1;
  }
  return widths;
}

/** A link to a page is the command that prints it; code keeps its ticks where it cannot be painted. */
function readInline(text: string, isPainted: boolean): string {
  const linked = text.replaceAll(/\[([^\]]+)\]\(([^)]+)\)/g, (_, words: string, target: string) =>
    target === `${words}.md` ? `\`orca help ${words}\`` : words,
  );
  return isPainted ? linked.replaceAll(/`([^`]+)`/g, `${OPEN}$1${CLOSE}`) : linked;
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of splitWords(text, width)) {
    const last = lines.at(-1);
    if (last !== undefined && measure(last) + 1 + measure(word) <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  // Code that is broken between two lines is code on both.
  let isOpen = false;
  return lines.map((line) => {
    const whole = isOpen ? `${OPEN}${line}` : line;
    isOpen = whole.lastIndexOf(OPEN) > whole.lastIndexOf(CLOSE);
    return isOpen ? `${whole}${CLOSE}` : whole;
  });
}

/** The words of a text; code is one word where it fits a line. */
function splitWords(text: string, width: number): string[] {
  const words = text.match(/(?:`[^`]*`|\uE000[^\uE001]*\uE001|\S)+/g) ?? [];
  return words.flatMap((word) => (measure(word) > width ? word.split(" ") : [word]));
}

function measure(text: string): number {
  return Array.from(text.replaceAll(OPEN, "").replaceAll(CLOSE, "")).length;
}

function pad(text: string, width: number): string {
  return `${text}${" ".repeat(Math.max(0, width - measure(text)))}`;
}

function paintCode(lines: readonly string[], paint: PageOptions["paint"]): readonly string[] {
  if (paint === undefined) return lines;
  return lines.map((line) =>
    line
      .split(OPEN)
      .map((part, index) => {
        const [code = "", rest = ""] = part.split(CLOSE);
        return index === 0 ? part : `${paint(code, "cyan")}${rest}`;
      })
      .join(""),
  );
}
