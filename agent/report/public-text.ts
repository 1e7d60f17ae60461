// What a text may say where everybody can read it. Probes and notifications quote what a command in a container printed,
// which is as good as a log line: on loopback, in alerts and in the log it is cut off. Pure.

/** How probes and handlers quote a command's output; everything behind the colon is the container's own words. */
const QUOTES = [/\b(ended with -?\d+): [^]*$/, /\b(in container: exit code -?\d+): [^]*$/];

/** Cuts what a command printed out of a reason, cause or message. */
export function cutCommandOutput(text: string): string {
  let cut = text;
  for (const quote of QUOTES) cut = cut.replace(quote, "$1");
  return cut;
}

/** A note without the times in it: one that counts down is no new one. */
export function nameNote(note: string): string {
  return note.replaceAll(/\d+(ms|[smhd])?( \d+[smhd])?/g, "#");
}

/** Terminals and logs obey control characters: none of them reaches one from a name, reason or message. */
export function cutControlCharacters(text: string): string {
  // eslint-disable-next-line no-control-regex -- these are the characters to be found
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]+/g, " ");
}

/** A URL may carry a user and a password, although agent.toml has a token file for that. */
export function hidePassword(text: string): string {
  return text.replaceAll(/\b(https?:\/\/)[^/\s@]+@/g, "$1");
}
