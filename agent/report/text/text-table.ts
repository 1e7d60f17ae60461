// Columns of text that fit a width. Pure; cells hold no colour: what terminals obey is cut from them, then they are painted. A cell that
// is too long is cut with an ellipsis; the sentence that may stand at the end of each row is wrapped, and never cut.

import { cutControlCharacters } from "./public-text.ts";

/** One column: its heading, how little of it is still useful, and whether it takes what is left of the width. */
export interface Column {
  heading: string;
  /** Cut to so many characters when the table is too wide; never cut where left out. */
  least?: number;
  align?: "right";
}

const GAP = "  ";

/** Cuts a text to a width. */
export function cutText(text: string, width: number): string {
  const characters = Array.from(text);
  if (characters.length <= width) return text;
  return width <= 1 ? characters.slice(0, width).join("") : `${characters.slice(0, width - 1).join("")}…`;
}

/** Breaks a text at its spaces into lines of a width; a word that is longer is broken too. */
function wrapText(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ").filter((part) => part !== "")) {
    const last = lines.at(-1);
    if (last !== undefined && widthOf(last) + 1 + widthOf(word) <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(...breakWord(word, width));
  }
  return lines;
}

function breakWord(word: string, width: number): string[] {
  const characters = Array.from(word);
  const pieces = Math.ceil(characters.length / Math.max(1, width));
  return Array.from({ length: pieces }, (_, index) => characters.slice(index * width, (index + 1) * width).join(""));
}

function widthOf(text: string): number {
  return Array.from(text).length;
}

/** How a table is printed. */
export interface TableOptions {
  width: number;
  paint?: (text: string, row: number, column: number) => string;
}

/** In a narrower column a sentence is a staircase: it goes below its row, where it has the whole width. */
const NARROWEST_SENTENCE = 36;
const BELOW = "    ";

/**
 * Lays out a table whose rows each end with a sentence. It stands beside its row where it fits or has room to be wrapped, else below.
 * `sentences` are one for each row, without colour; one that says nothing new (`mayCut`) takes no line of its own, and is cut.
 */
export function layOutSentences(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  options: TableOptions & { heading: string; sentences: readonly string[]; mayCut?: (row: number) => boolean },
): string[] {
  const { heading, sentences, mayCut } = options;
  const [head = "", ...laid] = layOutPadded(columns, rows, options);
  const left = widthOf(head) + GAP.length;
  const room = options.width - left;
  const lay = (row: string, index: number): string[] => {
    const sentence = cutControlCharacters(sentences[index] ?? "");
    if (mayCut?.(index) === true) return [`${row}${GAP}${cutText(sentence, Math.max(0, room))}`];
    const isBeside = room >= NARROWEST_SENTENCE || widthOf(sentence) <= room;
    const lines = wrapText(sentence, isBeside ? room : options.width - BELOW.length);
    if (!isBeside) return [row, ...lines.map((line) => `${BELOW}${line}`)];
    return [`${row}${GAP}${lines[0] ?? ""}`, ...lines.slice(1).map((line) => `${" ".repeat(left)}${line}`)];
  };
  const title = widthOf(heading) <= room ? `${head}${GAP}${heading}` : head;
  return [title, ...laid.flatMap(lay)].map((line) => line.trimEnd());
}

/**
 * Lays out a table.
 * @param rows cells without colour; `paint` gives a cell its colour after it was cut
 */
export function layOutTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  options: TableOptions,
): string[] {
  return layOutPadded(columns, rows, options).map((line) => line.trimEnd());
}

/** Every line as wide as the table. */
function layOutPadded(
  columns: readonly Column[],
  given: readonly (readonly string[])[],
  options: TableOptions,
): string[] {
  const rows = given.map((cells) => cells.map(cutControlCharacters));
  const widths = fitWidths(columns, rows, options.width);
  const lay = (cells: readonly string[], paint: (text: string, column: number) => string): string =>
    columns
      .map((column, index) => {
        const cell = cutText(cells[index] ?? "", widths[index] ?? 0);
        const fill = " ".repeat(Math.max(0, (widths[index] ?? 0) - widthOf(cell)));
        const painted = paint(cell, index);
        return column.align === "right" ? `${fill}${painted}` : `${painted}${fill}`;
      })
      .join(GAP);
  const head = lay(
    columns.map((column) => column.heading),
    (text) => text,
  );
  return [head, ...rows.map((cells, row) => lay(cells, (text, column) => options.paint?.(text, row, column) ?? text))];
}

/** Every column as wide as its widest cell; where that is too much, the last ones with a `least` give way first. */
function fitWidths(columns: readonly Column[], rows: readonly (readonly string[])[], width: number): number[] {
  const widths = columns.map((column, index) =>
    Math.max(widthOf(column.heading), ...rows.map((cells) => widthOf(cells[index] ?? ""))),
  );
  const gaps = GAP.length * (columns.length - 1);
  for (let index = columns.length - 1; index >= 0; index -= 1) {
    const over = widths.reduce((sum, entry) => sum + entry, gaps) - width;
    const least = columns[index]?.least;
    if (over <= 0 || least === undefined) continue;
    widths[index] = Math.max(Math.min(least, widths[index] ?? 0), (widths[index] ?? 0) - over);
  }
  return widths;
}
