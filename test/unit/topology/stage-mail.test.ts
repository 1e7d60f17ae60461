// "Mail through the production host only with the *+stage@* rule": what Stalwart is given by the shipped topology is this rule, word for
// word, as a file that Orca puts where Stalwart reads it. Stalwart itself is not here and its rule is not tried: whoever changes the rule
// reads it again, and changes it here too.

import { parse } from "smol-toml";
import { expect, test } from "vitest";

import { manifestAt, readTopology } from "../../../scripts/lab/cold/topology.ts";

const topology = await readTopology("breakpilot");
const MANIFEST = manifestAt(topology, "vm-control/stalwart-mail");

/** By RFC 5228: `*` matches any characters; who is written to is in lower case, and asked for one by one. */
const RULE = `require ["envelope", "reject"];
if not envelope :matches "to" "*+stage@*" {
  reject "550 5.7.1 Stage writes to +stage@ addresses only.";
  stop;
}
# A quoted local part may hold an @ of its own: "x+stage@y"@customer.example.
if envelope :matches "to" "*@*@*" {
  reject "550 5.7.1 Stage writes to addresses with one @ only.";
  stop;
}
`;

test("Stalwart is given the rule, for the account of stage and for no other", () => {
  const [file, ...others] = MANIFEST.files.filter(({ target }) => target === "/opt/stalwart/etc/config.toml");
  expect(others).toEqual([]);
  const config = parse(topology.files.get(`vm-control/${file?.source}`) ?? "") as {
    session: { rcpt: { script: unknown } };
    sieve: { trusted: { scripts: Record<string, { contents: string }> } };
  };
  expect(config.session.rcpt.script).toEqual([
    { if: "authenticated_as = 'stage@breakpilot.com'", then: "'stage-recipients'" },
    { else: false },
  ]);
  expect(config.sieve.trusted.scripts["stage-recipients"]?.contents).toBe(RULE);
  expect(MANIFEST.command ?? []).not.toContain("--config");
});
