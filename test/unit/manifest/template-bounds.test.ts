// What a template costs is counted: one that would hold the loop for seconds is refused on any machine, and twelve of them
// cost no more than twelve times little. What was rendered once is not rendered again.

import { describe, expect, it } from "vitest";

import { TemplateCache } from "../../../agent/loop/template-cache.ts";
import type { DesiredSettings } from "../../../agent/desired/build/desired-settings.ts";
import { compileService } from "../../../agent/desired/build/compile.ts";
import { manifestSchema } from "../../../shared/manifest/manifest.ts";
import { buildStrictPolicy } from "../../../shared/policy/policy.ts";
import { type Templates, templates } from "../../../shared/text/template.ts";
import { type TemplateBudget, TemplateBoundsError } from "../../../shared/text/template-budget.ts";

const routes = Array.from({ length: 200 }, (_value, index) => ({ host: `h${index}`, path: "/" }));
const context = { node: "n", service: "s", realm: "r", nodes: [], routes };

/** Each once took from one second to two minutes. */
const BOMBS: Readonly<Record<string, string>> = {
  "a megabyte of outputs": "{{ node }}".repeat(104_000),
  "a hundred thousand filters": `{{ node ${"| upcase ".repeat(100_000)}}}`,
  "many outputs": "{{ node }}".repeat(5_000),
  "one long condition": `{% if ${"node == 1 or ".repeat(4_000)} node %}x{% endif %}`,
  "an empty loop": "{% for i in (1..8000000) %}{% endfor %}",
  "loops in loops": "{% for i in (1..1000) %}{% for j in (1..1000) %}x{% endfor %}{% endfor %}",
  "a table": "{% tablerow i in (1..1000000) cols:2 %}{% endtablerow %}",
  "much text in a loop": `{% for i in (1..100000) %}${"x".repeat(60_000)}{% endfor %}`,
  "much text in a capture": `{% capture x %}{% for i in (1..100000) %}${"x".repeat(60_000)}{% endfor %}{% endcapture %}`,
  "texts that double": `{% assign a = 'xx' %}${"{% assign a = a | append: a %}".repeat(60)}{{ a }}`,
  "searches in a list": "{% for i in (1..100000) %}{% assign b = routes | where: 'host', 'h1' %}{% endfor %}",
  "sorting again and again": "{% for i in (1..100000) %}{% assign b = routes | sort: 'host' | reverse %}{% endfor %}",
  "expressions of a list":
    "{% for i in (1..100000) %}{% assign b = routes | where_exp: 'x', 'x.host == 1' %}{% endfor %}",
  "lists compared":
    "{% assign q = routes | map: 'host' %}{% assign z = routes | map: 'host' %}{% for i in (1..66000) %}{% if q == z %}{% endif %}{% endfor %}",
  "lists searched": "{% for i in (1..66000) %}{% if routes contains 'x' %}{% endif %}{% endfor %}",
  "a slow search": `{% assign a = 'aaaaaaaa' %}${"{% assign a = a | append: a %}".repeat(12)}{% assign p = a | prepend: 'b' | slice: 0, 16000 %}{% for i in (1..190000) %}{% assign z = a | replace: p, 'x' %}{% endfor %}`,
};

function spend(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}

describe("a template that would hold the loop", () => {
  it.each(Object.entries(BOMBS))("is refused, and soon: %s", (_what, text) => {
    let error: unknown;
    const spentMs = spend(() => {
      try {
        templates.render(text, context);
      } catch (thrown) {
        error = thrown;
      }
    });
    expect(error).toBeInstanceOf(TemplateBoundsError);
    expect(spentMs).toBeLessThan(2_500);
  });

  it("is refused before its secrets are looked for", () => {
    for (const text of ["a megabyte of outputs", "one long condition"])
      expect(() => templates.listSecrets(`${BOMBS[text]}secrets`)).toThrow(TemplateBoundsError);
  });

  it("leaves a template of a large proxy alone", () => {
    const line = "{{ r.host | append: r.path | replace: '.', '-' }}{% if r.path != '/' %} {{ r.path }}{% endif %}\n";
    const many = {
      ...context,
      routes: Array.from({ length: 1_000 }, (_value, index) => ({ host: `h${index}`, path: "/" })),
    };
    expect(templates.render(`{% for r in routes %}${line}{% endfor %}`, many).split("\n")).toHaveLength(1_001);
  });

  it("shares what it may cost with the others of its service: twelve cost no more than one", () => {
    const files = Array.from({ length: 12 }, (_value, index) => ({
      source: `t${index}`,
      target: `/t${index}`,
      template: true,
    }));
    const manifest = manifestSchema.parse({
      image: "app:1",
      resources: { memory: "64MiB" },
      health: { tcp: { port: 80 } },
      files,
    });
    // Each alone is within bounds.
    const text = "{% for i in (1..60000) %}x{% endfor %}";
    expect(templates.render(text, context)).toHaveLength(60_000);
    const compiled = compileService("s", manifest, {
      secrets: { versions: {}, blocked: undefined, notes: [] },
      settings: { ...SETTINGS, templates },
      fleet: undefined,
      services: [],
      readFile: () => new TextEncoder().encode(text),
      revision: "r",
    });
    const messages = compiled.ok ? [] : compiled.findings.map(({ message }) => message);
    expect(messages).toHaveLength(11);
    expect(messages[0]).toMatch(/^t1 does not render: it does too much: the templates of one service/);
  });
});

const SETTINGS: DesiredSettings = {
  node: "vm1",
  policy: buildStrictPolicy(),
  standIns: undefined,
  address: undefined,
  ports: "as-written",
  budget: "warn",
  hostNotes: [],
  assumeDataMounted: true,
  frontImage: undefined,
  agentPorts: [],
  templates: undefined,
};

/** Counts what the engine is asked. */
class CountedTemplates implements Templates {
  renders = 0;
  beginBudget = (): TemplateBudget => templates.beginBudget();
  listSecrets: Templates["listSecrets"] = (text) => {
    this.renders += 1;
    return templates.listSecrets(text);
  };
  outline: Templates["outline"] = (...parameters) => {
    this.renders += 1;
    return templates.outline(...parameters);
  };
  render: Templates["render"] = (...parameters) => {
    this.renders += 1;
    return templates.render(...parameters);
  };
}

describe("what was rendered before", () => {
  it("is not rendered again, nor is what could not be, until it has not been asked for", () => {
    const counted = new CountedTemplates();
    const cache = new TemplateCache(counted);
    for (let turn = 0; turn < 3; turn += 1) {
      expect(cache.render("a{{ node }}", context)).toBe("an");
      expect(() => cache.render("{{ missing }}", context)).toThrow(/missing/);
      expect(() => cache.render(BOMBS["an empty loop"] ?? "", context)).toThrow(/does too much/);
      expect(cache.listSecrets("{{ secrets.A }}")).toHaveLength(1);
      expect(cache.outline("{{ secrets.A }}", context, ["A"]).text).toContain("A");
      cache.sweep();
    }
    expect(counted.renders).toBe(5);
    cache.sweep();
    cache.render("a{{ node }}", context);
    expect(counted.renders).toBe(6);
    expect(cache.render("a{{ node }}", { ...context, node: "other" })).toBe("aother");
  });

  it("is charged all the same, so that a verdict never hangs on what came before", () => {
    const counted = new CountedTemplates();
    const cache = new TemplateCache(counted);
    const verdicts = (): string[] => {
      const budget = cache.beginBudget();
      return [1, 2, 3, 4].map((index) => {
        try {
          return cache.render(`${index}{% for i in (1..60000) %}{% endfor %}`, context, undefined, budget);
        } catch {
          return "refused";
        }
      });
    };
    const first = verdicts();
    expect(first).toEqual(["1", "2", "3", "refused"]);
    cache.sweep();
    expect(verdicts()).toEqual(first);
    expect(counted.renders).toBe(4);
  });

  it("is not kept where a secret's value is in it", () => {
    const counted = new CountedTemplates();
    const cache = new TemplateCache(counted);
    for (let turn = 0; turn < 2; turn += 1)
      expect(cache.render("{{ secrets.A }}", context, new Map([["A", "value"]]))).toBe("value");
    expect(counted.renders).toBe(2);
    expect(JSON.stringify(Object.values(cache))).not.toContain("value");
  });
});
