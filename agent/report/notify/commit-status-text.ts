// A commit status's description as a forge shows it: one line of at most 255 characters, without passwords. What is too long is said
// in brief; what to do, which stands at the end, stays in any case. Pure.

import { cutControlCharacters, hidePassword } from "../text/public-text.ts";

/** Forges cut or refuse more. */
const LONGEST = 255;
/** Of a text that is still too long, so much of its end is kept: there it says what to do. */
const KEPT_END = 110;

/**
 * Makes a description of a text.
 * @param brief the same with less in it, for a text that is too long
 */
export function fitDescription(text: string, brief: string): string {
  const clean = cleanLine(text);
  if (countPoints(clean) <= LONGEST) return clean;
  const points = Array.from(cleanLine(brief));
  if (points.length <= LONGEST) return points.join("");
  const head = points.slice(0, LONGEST - KEPT_END - 1).join("");
  return `${head}…${points.slice(-KEPT_END).join("")}`;
}

function cleanLine(text: string): string {
  return cutControlCharacters(hidePassword(text)).trim();
}

function countPoints(text: string): number {
  return Array.from(text).length;
}
