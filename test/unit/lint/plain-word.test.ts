// What goes from a manifest into another program's configuration has no sign of that program's language in it: refused where
// it is parsed, left out where it is rendered, whoever parsed it.

import { describe, expect, it } from "vitest";

import type { RemoteService } from "../../../agent/desired/build/constraints.ts";
import { buildTemplateContext } from "../../../agent/desired/build/delivered-files.ts";
import { buildRoutes } from "../../../agent/desired/repository/routes.ts";
import { fleetSchema } from "../../../shared/fleet/fleet.ts";
import { manifestSchema } from "../../../shared/manifest/manifest.ts";
import { parseToml } from "../../../shared/text/parse-toml.ts";
import { templates } from "../../../shared/text/template.ts";
import { FLEET, service } from "../../builders/git/repository.ts";

/** Signs that begin, end or escape something in HAProxy, nginx, Traefik, YAML or a shell. */
const SIGNS = [
  "\n",
  "\r",
  "\t",
  " ",
  '"',
  "'",
  "`",
  "\\",
  "#",
  "$",
  "%",
  ";",
  "{",
  "}",
  "(",
  ")",
  "[",
  "|",
  "&",
  "<",
  "*",
  "\u0000",
  "\u2028",
  "é",
];
const DIRECTIVE = "\n  http-request return file /etc/haproxy/wildcard.pem if { path /x }";

async function accepts(route: Record<string, unknown>): Promise<boolean> {
  const fields = Object.entries({ host: "a.example", port: 80, ...route });
  const text = service(
    "",
    `[[routes]]\n${fields.map(([key, value]) => `${key} = ${JSON.stringify(value)}`).join("\n")}`,
  );
  return (await parseToml(manifestSchema, text, "x.toml")).ok;
}

describe("a route", () => {
  it("is accepted with the words that people write", async () => {
    const good = [
      {},
      { host: "*.example.com" },
      { path: "/api/v1/a_b-c.d~e@f:g+h" },
      { rate: "60/s" },
      { allow: ["10.0.0.0/8", "fd00::/8"] },
    ];
    for (const route of good) expect(await accepts(route), JSON.stringify(route)).toBe(true);
  });

  it.each(["path", "host", "rate", "allow"])("is refused for any other sign in its %s", async (key) => {
    const base = { path: "/api", host: "a.example", rate: "60/s", allow: "10.0.0.0/8" }[key] ?? "";
    const wrap = (text: string): unknown => (key === "allow" ? [text] : text);
    const taken: string[] = [];
    for (const sign of [...SIGNS, DIRECTIVE])
      for (const text of [base + sign, sign + base, base.slice(0, 2) + sign + base.slice(2)]) {
        // A host may begin with "*." alone.
        if (await accepts({ [key]: wrap(text) })) taken.push(JSON.stringify(text));
      }
    expect(taken).toEqual([]);
  });

  it("that somebody else has parsed is left out of what a proxy is given", async () => {
    const parsed = await parseToml(fleetSchema, FLEET, "fleet.toml");
    if (!parsed.ok) throw new Error("the fleet is valid");
    const fleet = parsed.value;
    const route = { host: "a.example", port: 80, path: "/api", allow: ["10.0.0.0/8"], rate: "60/s", timeout: 5_000 };
    const place = (change: object, name = "web"): RemoteService => ({
      node: "vm-b",
      service: name,
      manifest: { ...EMPTY, routes: [{ ...route, ...change }] } as RemoteService["manifest"],
    });
    const hostile = [
      place({ path: `/api${DIRECTIVE}` }),
      place({ host: `a.example${DIRECTIVE}` }),
      place({ rate: `60/s${DIRECTIVE}` }),
      place({ allow: [`10.0.0.0/8${DIRECTIVE}`] }),
      place({ port: "80 check" }),
      place({}, `web${DIRECTIVE}`),
    ];
    expect(buildRoutes([...hostile, place({})], "vm-a", fleet)).toMatchObject([
      { host: "a.example", path: "/api", service: "web" },
    ]);
    const [node] = Object.values(fleet.nodes);
    const nodes = { ...fleet.nodes, [`evil${DIRECTIVE}`]: node, odd: { ...node, address: `10.0.0.9${DIRECTIVE}` } };
    const seen = buildTemplateContext(
      { node: "vm-a", service: "proxy", fleet: { ...fleet, nodes } as typeof fleet },
      [],
    );
    const text = templates.render("{% for n in nodes %}{{ n.name }} {{ n.address }};{% endfor %}", seen);
    expect(text).toBe("vm-a 10.0.0.1;vm-b 10.0.0.2;vm-stage 10.0.1.1;");
  });
});

const EMPTY = { requires: [], wants: [], ports: [], state: "running", volumes: [] };

describe("the path of a probe", () => {
  it("is what a request line takes", async () => {
    const accept = async (path: string): Promise<boolean> => {
      const text = service().replace("tcp = { port = 8080 }", `http = { port = 80, path = ${JSON.stringify(path)} }`);
      return (await parseToml(manifestSchema, text, "x.toml")).ok;
    };
    expect(await accept("/health?deep=1&x=%20")).toBe(true);
    for (const path of ["/a b", "/a\nHost: x", "/é", "a", "/\u0000"]) expect(await accept(path), path).toBe(false);
  });
});
