// Versions before 0.2 kept what a container printed within the text of a failure. It is cut off when such a text is read back: what is
// shown of a failure may be read by everybody. Nothing but this reads a stored sentence. Pure.

/** How those versions quoted a command's output; everything behind the colon is the container's own words. */
const QUOTES = [/\b(ended with -?\d+): [^]*$/, /\b(in container: exit code -?\d+): [^]*$/];

/** The text without what a container printed. */
export function cutOldOutput(text: string): string {
  return QUOTES.reduce((cut, quote) => cut.replace(quote, "$1"), text);
}
