// A number with its noun, for every text that counts: "1 service", "2 services". Pure.

/**
 * Words a count.
 * @param noun for one
 * @param nouns for any other number, where that is not the noun with an s
 */
export function describeCount(count: number, noun: string, nouns = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : nouns}`;
}
