// "Mail through the production host only with the *+stage@* rule": the rule in the shipped config.toml of Stalwart, tried with
// recipients that would get around it. Stalwart itself is not here: what evaluates the rule is an evaluator of the test's own.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { readMailRule } from "../fakes/stalwart-rule.ts";

const FILE = fileURLToPath(
  new URL("../topologies/breakpilot/orca/manifests/vm-control/files/stalwart/config.toml", import.meta.url),
);
const TEXT = readFileSync(FILE, "utf8");
const rule = readMailRule(TEXT);
const STAGE = "stage@breakpilot.com";

describe("stage writes", () => {
  test.each([
    "qa+stage@breakpilot.com",
    "QA+STAGE@BreakPilot.com",
    "a.b+x+stage@breakpilot.com",
    "+stage@breakpilot.com",
    "customer+stage@customer.example",
  ])("to %s", (to) => expect(rule({ authenticatedAs: STAGE, to })).toBeUndefined());
});

describe("stage does not write", () => {
  test.each([
    ["to a customer", "jane@customer.example"],
    ["to its own domain without the mark", "qa@breakpilot.com"],
    ["to a name with the mark elsewhere", "stage+jane@customer.example"],
    ["to a longer mark", "jane+stage2@customer.example"],
    ["to a mark without its plus", "janestage@customer.example"],
    ["to a domain with the mark", "jane@+stage.example"],
    ["to a subdomain with the name", "jane@stage.customer.example"],
    ["to another plus", "jane%2Bstage@customer.example"],
    ["to a full-width plus", "jane＋stage@customer.example"],
    ["to a quoted name that holds the whole mark", '"x+stage@y"@customer.example'],
    ["to two addresses in one", "a+stage@x@customer.example"],
    ["to a route with the mark", "@relay+stage@x:jane@customer.example"],
    ["to a quoted name that ends with the mark", '"jane+stage"@customer.example'],
    ["to two in one line", "a+stage@breakpilot.com,jane@customer.example"],
    ["to a percent hack", "jane%customer.example+stage@x@relay.example"],
    ["to nobody", ""],
  ])("%s", (_how, to) => {
    expect(rule({ authenticatedAs: STAGE, to })).toMatch(/^550 5\.7\.1 Stage writes to/);
  });

  test("to the second of several recipients: each is asked for alone, whatever the first was", () => {
    const answers = ["qa+stage@breakpilot.com", "jane@customer.example", "b+stage@breakpilot.com"].map((to) =>
      rule({ authenticatedAs: STAGE, to }),
    );
    expect(answers.map((answer) => answer === undefined)).toEqual([true, false, true]);
  });
});

test("production writes to whom it likes, and an account that only begins like stage's is not stage's", () => {
  for (const authenticatedAs of ["portal@breakpilot.com", "stage@breakpilot.com.example", ""])
    expect(rule({ authenticatedAs, to: "jane@customer.example" })).toBeUndefined();
});

test("the evaluator refuses what it does not know, so that a changed file is looked at again", () => {
  const changes: [string, string][] = [
    ["authenticated_as = 'stage@breakpilot.com'", "authenticated_as != ''"],
    ["{ else = false }", "{ else = 'other' }"],
    ['envelope :matches "to" "*+stage@*"', 'header :matches "to" "*+stage@*"'],
    ['require ["envelope", "reject"];', ""],
  ];
  for (const [before, after] of changes) {
    expect(TEXT).toContain(before);
    const changed = TEXT.replace(before, after);
    const ask = (who: string): unknown => readMailRule(changed)({ authenticatedAs: who, to: "jane@customer.example" });
    expect(() => [ask(STAGE), ask("nobody")], after).toThrow(/not understood|does not require/);
  }
});
