// A commit status's description as a forge shows it: one line of at most 255 characters, without
// passwords. What is too long loses what people need least; what to do, which stands at the end, stays. Pure.

import { cutControlCharacters, hidePassword } from "../text/public-text.ts";

/** Forges cut or refuse more. */
const LONGEST = 255;
/** Of a text that is still too long, so much of its end is kept: there it says what to do. */
const KEPT_END = 110;

/** What may go from a text that is too long, in this order. */
const CUTS: readonly ((text: string) => string)[] = [
  // The forge knows which repository and branch it shows.
  (text) => text.replaceAll(/\bread https?:\/\/\S+ \([^)\s]+\): /g, ""),
  // Twelve digits name a commit, to people and to git.
  (text) => text.replaceAll(/\b([0-9a-f]{12})[0-9a-f]{28,52}\b/g, "$1"),
  (text) => text.replaceAll(/ ?\bhttps?:\/\/[^\s,;)]+/g, ""),
  (text) => text.replaceAll(/\b(SHA256:[A-Za-z0-9+/]{12})[A-Za-z0-9+/]{31}=?/g, "$1…"),
];

/** Makes a description of a text. */
export function shortenDescription(text: string): string {
  let clean = cutControlCharacters(hidePassword(text)).trim();
  for (const cut of CUTS) {
    if (countPoints(clean) <= LONGEST) return clean;
    clean = cut(clean);
  }
  const points = Array.from(clean);
  if (points.length <= LONGEST) return clean;
  const head = points.slice(0, LONGEST - KEPT_END - 1).join("");
  return `${head}…${points.slice(-KEPT_END).join("")}`;
}

function countPoints(text: string): number {
  return Array.from(text).length;
}
