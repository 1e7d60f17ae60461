// What the CLI knows of where it prints: colour only on a terminal and never with NO_COLOR, width as the terminal's.

import { styleText } from "node:util";

import { type Colour, DEFAULT_WIDTH, type TextOptions } from "../report/status-text.ts";

/** How to print on standard output. */
export function describeOutput(): TextOptions {
  const { stdout } = process;
  const coloured = stdout.isTTY && (process.env["NO_COLOR"] ?? "") === "";
  const width = stdout.isTTY ? stdout.columns : DEFAULT_WIDTH;
  return coloured ? { width, paint } : { width };
}

function paint(text: string, colour: Colour): string {
  return styleText(colour, text, { validateStream: false });
}

/** A reader that goes away (`orca logs | head`) is no failure. */
export function endQuietlyOnClosedOutput(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
}
