// A source that passes through a service of the fleet is found: a cold start would wait for what it has to start.

import { expect, test } from "vitest";

import { findDetour, type WayService } from "../../../agent/setup/source-way.ts";
import { fleetSchema } from "../../../shared/fleet/fleet.ts";
import { manifestSchema } from "../../../shared/manifest/manifest.ts";

const CAP = { resources: { memory: "64MiB" }, health: { tcp: { port: 3000 } } };

function service(node: string, name: string, more: object): WayService {
  return { node, service: name, manifest: manifestSchema.parse({ image: "x:1", ...CAP, ...more }) };
}

const GITEA = service("vm-edge", "gitea", { ports: ["3000:3000"], routes: [{ host: "git.example.com", port: 3000 }] });
const PROXY = service("vm-edge", "proxy", { ports: ["443:443", "4443:443"] });
const WILD = service("vm-data", "site", { routes: [{ host: "*.example.com", port: 80 }] });

function find(url: string, names: Record<string, string> = {}): unknown {
  const nodes = {
    "vm-edge": { address: "10.0.0.10", env: "prod", memory: "8GiB" },
    "vm-data": { address: "10.0.0.30", env: "prod", memory: "8GiB" },
  };
  return findDetour(url, fleetSchema.parse({ nodes, host: { names } }), [GITEA, PROXY, WILD]);
}

const EDGE = { "git.example.com": "10.0.0.10" };

test.each([
  [
    "by its route, where no address is named",
    find("https://git.example.com/a.git"),
    { through: "vm-edge/gitea", by: "route" },
  ],
  ["by a route with a star", find("https://other.example.com/a.git"), { through: "vm-data/site", by: "route" }],
  [
    "by the proxy's port at its private address",
    find("https://git.example.com/a.git", EDGE),
    { through: "vm-edge/proxy", by: "port" },
  ],
  ["by its second door", find("https://git.example.com:4443/a.git", EDGE), { through: "vm-edge/proxy", by: "port" }],
  ["not at its own port", find("http://git.example.com:3000/a.git", EDGE), undefined],
  ["not by an address", find("http://10.0.0.10:3000/a.git"), undefined],
  ["not elsewhere", find("https://github.com/a/b.git"), undefined],
  [
    "not at a host that is no VM of the fleet",
    find("https://git.example.com/a.git", { "git.example.com": "192.0.2.1" }),
    undefined,
  ],
])("%s", (_what, found, expected) => {
  expect(found).toEqual(expected);
});
