// Words that the stock commands of every engine are written with. Pure.

/** How a file is read: decrypted where it has to be. */
export function readFileBy(file: string, encrypted: boolean): string {
  return encrypted ? `age -d -i KEY ${file}` : `cat ${file}`;
}

/** A word of a shell line. */
export function quoteShell(text: string): string {
  return /^[A-Za-z0-9_./=:-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
