// `orca schema` against another validator, and the contract's own examples.

import { Ajv2020 } from "ajv/dist/2020.js";
import { assert, property } from "fast-check";
import { parse } from "smol-toml";
import { describe, expect, it } from "vitest";

import { buildJsonSchema, type SchemaName } from "../../../agent/cli/lint/schema-command.ts";
import { fleetSchema } from "../../../shared/fleet/fleet.ts";
import { manifestSchema } from "../../../shared/manifest/manifest.ts";
import { parseToml } from "../../../shared/text/parse-toml.ts";
import { describeProblem } from "../../../shared/text/problem.ts";
import { readFileSync } from "node:fs";
import { manifestInput } from "../../builders/data/manifest-arbitrary.ts";

interface JsonSchema {
  type?: string;
  title?: string;
  description?: string;
  properties?: Record<string, JsonSchema>;
  items?: JsonSchema;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  additionalProperties?: unknown;
  propertyNames?: unknown;
}

function compile(name: SchemaName): (value: unknown) => string[] {
  const validate = new Ajv2020({ strict: false, allErrors: true, validateFormats: false }).compile(
    buildJsonSchema(name),
  );
  return (value) =>
    validate(value) ? [] : (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message}`);
}

function example(name: string): string {
  return readFileSync(new URL(`../../fixtures/contract/${name}.toml`, import.meta.url), "utf8");
}

describe.each([
  ["manifest", manifestSchema],
  ["fleet", fleetSchema],
] as const)("the contract's %s", (name, schema) => {
  it("parses whole", async () => {
    const parsed = await parseToml<unknown>(schema, example(name), `${name}.toml`);
    expect(parsed.ok ? [] : parsed.problems.map(describeProblem)).toEqual([]);
  });

  it("is accepted by the JSON Schema", () => {
    expect(compile(name)(parse(example(name)))).toEqual([]);
  });
});

describe("the JSON Schema", () => {
  const names = ["manifest", "fleet", "agent", "policy"] as const;

  it.each(names)("of %s is draft 2020-12, strict and titled", (name) => {
    const schema = buildJsonSchema(name) as JsonSchema & { $schema: string };
    expect(schema.$schema).toBe("https://json-schema.org/draft/2020-12/schema");
    expect(schema.title).toMatch(/^Orca /);
    const open: string[] = [];
    walk(schema, "", (entry, path) => {
      const isRecord = entry.propertyNames !== undefined;
      if (entry.type === "object" && !isRecord && entry.additionalProperties !== false) open.push(path);
    });
    expect(open).toEqual([]);
  });

  it("of a manifest describes every key", () => {
    const silent: string[] = [];
    walk(buildJsonSchema("manifest"), "", (entry, path) => {
      if (path !== "" && !path.endsWith("[]") && !path.endsWith("|") && entry.description === undefined)
        silent.push(path);
    });
    expect(silent).toEqual([]);
  });

  it.each([
    ["an unknown key", { memroy: "1GiB" }],
    ["a duration without a unit", { stop_timeout: "10" }],
    ["a wrong word", { state: "on" }],
    ["a number for a text", { env: { A: 1 } }],
    ["a short cpus", { resources: { memory: "1GiB", cpus: -1 } }],
  ])("refuses %s", (_what, wrong) => {
    const good = { image: "app:1", resources: { memory: "64MiB" }, health: { tcp: { port: 1 } } };
    const check = compile("manifest");
    expect(check(good)).toEqual([]);
    expect(check({ ...good, ...wrong })).not.toEqual([]);
  });

  it("accepts every manifest that lint accepts", () => {
    const check = compile("manifest");
    assert(
      property(manifestInput, (input) => {
        const data = JSON.parse(JSON.stringify(input)) as unknown;
        expect(manifestSchema.safeParse(data).success).toBe(true);
        expect(check(data)).toEqual([]);
      }),
    );
  });
});

function walk(schema: JsonSchema, path: string, visit: (schema: JsonSchema, path: string) => void): void {
  visit(schema, path);
  for (const [key, inner] of Object.entries(schema.properties ?? {})) walk(inner, `${path}.${key}`, visit);
  if (schema.items !== undefined) walk(schema.items, `${path}[]`, visit);
  for (const branch of [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]) walk(branch, `${path}|`, visit);
}
