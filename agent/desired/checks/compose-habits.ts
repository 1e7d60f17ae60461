// What Compose and docker run do with a value and Orca does not: a shell word before a health check, and `${VARIABLE}` filled in from
// the environment of whoever starts it. Both parse here, and would mean something else.

import { blame, type FileFinding, type RepositoryView } from "./view/repository-view.ts";

/** The first word of Compose's `healthcheck.test`. */
const TEST_WORDS: Readonly<Record<string, string>> = {
  CMD: "leave CMD out: exec is the program and its arguments",
  "CMD-SHELL": 'write exec = ["sh", "-c", "…"]: no shell reads it else',
  NONE: "every service has a health check: tcp = { port = 5432 } is the least",
};

/** `${NAME}`, also with a default, as Compose fills it in. */
const VARIABLE = /\$\{[A-Za-z_][A-Za-z0-9_]*(?::?[-?+][^}]*)?\}/;

/** Finds what was brought over from Compose as it stands. */
export function checkComposeHabits(view: RepositoryView): FileFinding[] {
  return view.services.flatMap((service) => {
    const { health, env } = service.manifest;
    const findings: FileFinding[] = [];
    const [word = ""] = health?.exec ?? [];
    const hint = TEST_WORDS[word];
    if (hint !== undefined)
      findings.push(
        blame(service, ["health", "exec"], {
          severity: "error",
          code: "compose-word",
          message: `${word} is Compose's word: here it would be the program that is run`,
          hint,
        }),
      );
    for (const [name, value] of Object.entries(env)) {
      const variable = VARIABLE.exec(value)?.[0];
      if (variable === undefined) continue;
      findings.push(
        blame(service, ["env", name], {
          severity: "warning",
          code: "no-interpolation",
          message: `nothing fills in ${variable}: the container gets these characters`,
          hint: "write the value, or a path under [secrets.env]",
        }),
      );
    }
    return findings;
  });
}
