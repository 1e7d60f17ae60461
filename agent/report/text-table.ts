// Columns of text that fit a width. Pure; cells hold no colour: what terminals obey is cut from them, then they are painted. What
// is too long is cut with an ellipsis, never wrapped.

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

function widthOf(text: string): number {
  return Array.from(text).length;
}

/**
 * Lays out a table.
 * @param given cells without colour; `paint` gives a cell its colour after it was cut
 */
export function layOutTable(
  columns: readonly Column[],
  given: readonly (readonly string[])[],
  options: { width: number; paint?: (text: string, row: number, column: number) => string },
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
      .join(GAP)
      .trimEnd();
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
