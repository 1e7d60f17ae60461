// How a benchmark's result is printed: one row for one question, Orca beside the peer or the floor of the same run.

/** One row. */
export interface Row {
  question: string;
  orca: string;
  beside: string;
  /** Orca divided by what stands beside it, where that means something. */
  ratio?: number;
  /** What was asked for, and whether it was reached. */
  bar?: { text: string; met: boolean };
}

/** Prints rows as a table with aligned columns. */
export function printTable(rows: readonly Row[]): string {
  const cells = rows.map(({ question, orca, beside, ratio, bar }) => [
    question,
    orca,
    beside,
    ratio === undefined ? "" : ratio.toFixed(2),
    bar === undefined ? "" : `${bar.met ? "met " : "MISSED "} ${bar.text}`,
  ]);
  const all = [["question", "orca", "beside it", "ratio", "bar"], ...cells];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
