// Secrets in templates: which are named, how a value comes into the text, and that it breaks out of nothing unnoticed.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { templates } from "../../../shared/text/template.ts";

const NASTY = 'a"b\nc';
const VALUES = new Map([
  ["SAFE", "abc-1.2/3+4="],
  ["NASTY", NASTY],
  ["db.password", "hunter2"],
]);

function render(text: string, context: object = {}): string {
  return templates.render(text, context, VALUES);
}

describe("names", () => {
  test.each([
    ["{{ secrets.A }}", ["A"]],
    ['{{ secrets["db.password"] | json }}', ["db.password"]],
    ['{% if secrets.A == "x" %}{{ "a" | append: secrets.B }}{% endif %}', ["A", "B"]],
    ["{{ nodes[secrets.C].x }}", ["C"]],
    ["{% echo secrets.D %}{% liquid echo secrets.E %}", ["D", "E"]],
    ["{% raw %}{{ secrets.F }}{% endraw %}{% # secrets.G %}", []],
    ["no {{ node }} of them", []],
    ["{% assign s = secrets %}{{ s.A }}", [undefined]],
    ["{% for s in secrets %}{{ s }}{% endfor %}", [undefined]],
    ["{{ secrets[node] }}", [undefined]],
    ["{{ secrets.A.size }}", [undefined]],
  ])("%s", (text, names) => {
    expect(templates.listSecrets(text).map((use) => use.name)).toEqual(names);
  });

  test("have a place", () => {
    expect(templates.listSecrets("a\n  b {{ secrets.X }}")).toEqual([{ name: "X", line: 2, column: 8 }]);
  });
});

describe("a value", () => {
  test.each([
    ["{{ secrets.SAFE }}", "abc-1.2/3+4="],
    ['{{ secrets["db.password"] }}', "hunter2"],
    ["{{ secrets.NASTY | json }}", JSON.stringify(NASTY)],
    ["{{ secrets.NASTY | url_encode }}", "a%22b%0Ac"],
    ["{{ secrets.NASTY | base64_encode }}", Buffer.from(NASTY).toString("base64")],
    ["{{ secrets.NASTY | raw }}", NASTY],
    ['{{ "x:" | append: secrets.SAFE | upcase }}', "X:ABC-1.2/3+4="],
    ["{% capture c %}{{ secrets.NASTY | raw }}{% endcapture %}{{ c }}", NASTY],
    ['{% if secrets.SAFE == "abc-1.2/3+4=" and "hunter2" == secrets["db.password"] %}same{% endif %}', "same"],
    ['{% if secrets.SAFE contains "bc-" and secrets.NASTY != "x" %}has{% endif %}', "has"],
    ['{% case secrets["db.password"] %}{% when "hunter2" %}case{% endcase %}', "case"],
    ['{% assign parts = secrets.SAFE | split: "/" %}{{ parts[1] }} {{ parts | size }}', "3+4= 2"],
    ["{{ secrets | json }}", '{"SAFE":"[REDACTED]","NASTY":"[REDACTED]","db.password":"[REDACTED]"}'],
  ])("%s", (text, expected) => {
    expect(render(text)).toBe(expected);
  });

  test.each([
    "{{ secrets.NASTY }}",
    "{% echo secrets.NASTY %}",
    '{% cycle secrets.NASTY, "b" %}',
    '{{ "x" | append: secrets.NASTY }}',
    '{{ "x" | replace: "x", secrets.NASTY }}',
    "{% capture c %}{{ secrets.NASTY }}{% endcapture %}{{ c | json }}",
    '{% assign parts = secrets.NASTY | split: "b" %}{{ parts[0] }}',
    '{% assign parts = secrets.NASTY | split: "b" %}{{ parts | join: "-" }}',
    "{{ secrets.NASTY | uri_escape | url_decode }}",
    "{{ secrets.NASTY | base64_encode | base64_decode }}",
    "{{ secrets.NASTY | strip | upcase | truncate: 40 }}",
  ])("that could break out is refused, and not shown: %s", (text) => {
    const failure = fail(`\n  ${text}`);
    expect(failure).toMatch(/^the value of secrets\.NASTY has characters that could end the text around it/);
    expect(failure).toContain("{{ secrets.NASTY | json }}");
    expect(failure).toMatch(/\(line 2, column \d+\)$/);
    for (const piece of [NASTY, NASTY.toUpperCase(), 'a"']) expect(failure).not.toContain(piece);
  });

  test("no failure shows it, whatever LiquidJS says", () => {
    for (const text of [
      "{{ nodes[secrets.SAFE].x }}",
      "{{ nodes[secrets.NASTY] }}",
      "{{ 'x' | date: secrets.NASTY | nofilter }}",
    ])
      for (const part of ["abc-1", 'a"b']) expect(fail(text, { nodes: {} })).not.toContain(part);
  });

  test("any value comes through json whole, and plain only where it is harmless", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: "binary" }), (value) => {
        const given = new Map([["X", value]]);
        expect(JSON.parse(templates.render("{{ secrets.X | json }}", {}, given))).toBe(value);
        expect(templates.render("{{ secrets.X | raw }}", {}, given)).toBe(value);
        const isHarmless = /^[\w.+/=:@,%^~!*?()[\]-]*$/.test(value);
        if (isHarmless) expect(templates.render("{{ secrets.X }}", {}, given)).toBe(value);
        else
          expect(() => templates.render("{{ secrets.X }}", {}, given)).toThrow(
            /^the value of secrets.X has characters/,
          );
      }),
    );
  });

  function fail(text: string, context: object = {}): string {
    try {
      render(text, context);
    } catch (error) {
      const { message, cause, stack = "" } = error as Error;
      expect(cause).toBeUndefined();
      expect(stack).not.toMatch(/abc-1|a"b/);
      return message;
    }
    throw new Error(`this rendered: ${text}`);
  }
});

describe("the outline", () => {
  test("shows no value and changes with the text around it", () => {
    const first = templates.outline("user={{ secrets.A }} {{ node }}", { node: "vm-a" }, ["A"]);
    expect(first.text).toContain("vm-a");
    expect(templates.outline("user={{ secrets.A }} {{ node }}", { node: "vm-b" }, ["A"]).text).not.toBe(first.text);
    expect(templates.outline("{% comment %}new{% endcomment %}user={{ secrets.A }} vm-a", {}, ["A"]).text).toBe(
      first.text,
    );
    expect(templates.outline("user={{ secrets.B }} vm-a", {}, ["B"]).text).not.toBe(first.text);
  });

  test.each([
    ["{{ secrets.A }}", false],
    ["{{ secrets.A | json }}", false],
    ['{{ "x" | append: secrets.A | default: "y" }}', false],
    ['{% if secrets.A == "x" %}{% endif %}', true],
    ['{% if "x" != secrets.A %}{% endif %}', true],
    ['{% if secrets.A contains "x" %}{% endif %}', true],
    ['{% case secrets.A %}{% when "x" %}{% endcase %}', true],
    ['{{ list | where: "name", secrets.A | json }}', true],
  ])("%s: a value decides: %s", (text, decides) => {
    expect(templates.outline(text, { list: [{ name: "a" }] }, ["A"]).decides).toBe(decides);
  });
});

test("templates without secrets are as they were", () => {
  const context = {
    list: [
      { name: "a", n: 1 },
      { name: "b", n: 2 },
    ],
  };
  const text =
    '{% for e in list %}{{ e.name | append: "!" | json }}{% endfor %}{{ list | map: "n" | join: "," }}{{ list | where: "n", 2 | map: "name" }}';
  expect(templates.render(text, context)).toBe('"a!""b!"1,2b');
  expect(() => templates.render("{{ secrets.A }}", {})).toThrow("undefined variable: secrets");
});
