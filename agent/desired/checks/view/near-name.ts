// What was meant by a name that does not exist. A repository with thousands of wrong names must not cost a comparison of
// each with each: the work is bounded, and past the bound the hint is left out.

import { suggestWord } from "../../../../shared/text/problem.ts";

/** Comparisons that one run of one check may make. */
const MOST_COMPARISONS = 200_000;

/** Suggests names until its work is used up. */
export class NearNames {
  #left = MOST_COMPARISONS;

  /** The known name nearest to a wrong one, or undefined where none is near or the work is used up. */
  suggest(word: string, known: Iterable<string>): string | undefined {
    if (this.#left <= 0) return undefined;
    const names = [...known];
    this.#left -= names.length;
    return suggestWord(word, names);
  }
}
