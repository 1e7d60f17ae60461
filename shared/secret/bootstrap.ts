// The environment file of the bootstrap exception: its name among secrets, and what is in it. Pure.

const BOOTSTRAP = "bootstrap:";

/** The name under which a bootstrap file is known among secret paths; no manifest can write it as a path. */
export function nameBootstrap(file: string): string {
  return `${BOOTSTRAP}${file}`;
}

/** The file behind such a name; undefined for a secret's path. */
export function readBootstrapName(name: string): string | undefined {
  return name.startsWith(BOOTSTRAP) ? name.slice(BOOTSTRAP.length) : undefined;
}

/**
 * Parses lines `NAME=value`; empty lines and comments are passed over, a pair of quotes around a value is taken off.
 * Throws without showing what is in a line.
 */
export function parseBootstrap(text: string): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const match = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)=(.*)$/.exec(line);
    if (match === null) throw new Error(`line ${index + 1} of a bootstrap file is not NAME=value`);
    const [, name = "", value = ""] = match;
    env[name] = /^(["']).*\1$/.test(value) && value.length > 1 ? value.slice(1, -1) : value;
  }
  return env;
}
