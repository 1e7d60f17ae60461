// Not Stalwart: an evaluator of exactly the expressions that the shipped config.toml uses to hold stage's mail, by Stalwart's
// documentation and RFC 5228 (an if/then list, one comparison, `envelope :matches`). Anything else in there is an error.

import { parse } from "smol-toml";

/** One RCPT TO as the server sees it. */
interface Recipient {
  /** Who has logged in; empty where nobody has. */
  authenticatedAs: string;
  to: string;
}

/** The rule: undefined where the recipient is taken, the server's answer where it is refused. */
export type MailRule = (recipient: Recipient) => string | undefined;

interface Condition {
  if?: string;
  then?: string;
  else?: unknown;
}

/** Reads the rule out of a config.toml. Throws at whatever it does not know. */
export function readMailRule(text: string): MailRule {
  const config = parse(text) as unknown as {
    session: { rcpt: { script: Condition[] } };
    sieve: { trusted: { scripts: Record<string, { contents: string }> } };
  };
  const { script } = config.session.rcpt;
  return ({ authenticatedAs, to }) => {
    const name = chooseScript(script, authenticatedAs);
    if (name === undefined) return undefined;
    const contents = config.sieve.trusted.scripts[name]?.contents;
    if (contents === undefined) throw new Error(`there is no script ${name}`);
    // Stalwart gives the script the newest recipient, in lower case.
    return runScript(contents, to.toLowerCase());
  };
}

/** The first branch whose condition holds. */
function chooseScript(branches: readonly Condition[], authenticatedAs: string): string | undefined {
  for (const branch of branches) {
    if (branch.if === undefined) {
      if (branch.else !== false) throw new Error(`this else is not understood: ${JSON.stringify(branch)}`);
      return undefined;
    }
    const comparison = /^authenticated_as = '([^']*)'$/.exec(branch.if);
    const then = /^'([\w-]+)'$/.exec(branch.then ?? "");
    if (comparison === null || then === null)
      throw new Error(`this branch is not understood: ${JSON.stringify(branch)}`);
    if (comparison[1] === authenticatedAs) return then[1];
  }
  return undefined;
}

const RULE = /^if (not )?envelope :matches "to" "([^"\\]*)" \{\s*reject "([^"]*)";\s*stop;\s*\}/;

/** Runs a script of `if [not] envelope :matches "to" "…" { reject "…"; stop; }` and nothing else. */
function runScript(contents: string, to: string): string | undefined {
  let rest = contents.replaceAll(/^\s*#.*$/gm, "").trim();
  const head = /^require \["envelope", "reject"\];/.exec(rest);
  if (head === null) throw new Error("the script does not require what it uses");
  rest = rest.slice(head[0].length).trim();
  let answer: string | undefined;
  while (rest !== "") {
    const rule = RULE.exec(rest);
    if (rule === null) throw new Error(`this is not understood: ${rest.slice(0, 80)}`);
    const [whole, not, pattern = "", message] = rule;
    if (matches(pattern, to) !== (not !== undefined)) answer ??= message;
    rest = rest.slice(whole.length).trim();
  }
  return answer;
}

/** RFC 5228, section 2.7.1: * is any run of characters, ? is one; the default comparator knows no case in ASCII. */
function matches(pattern: string, text: string): boolean {
  const source = pattern
    .replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`)
    .replaceAll("*", "[^]*")
    .replaceAll("?", "[^]");
  return new RegExp(`^${source}$`, "i").test(text);
}
