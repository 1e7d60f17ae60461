// What tells one release from another must not change by an upgrade of the agent: else every held release would be tried again,
// and a changed spec would make every container anew.

import { expect, test } from "vitest";

import { compileService } from "../../../agent/desired/build/compile.ts";
import { ParseCache } from "../../../agent/desired/repository/repository.ts";
import { buildStrictPolicy } from "../../../shared/policy/policy.ts";
import { templates } from "../../../shared/text/template.ts";

const MANIFEST = `
image = "app:1"
user = "postgres"
[resources]
memory = "64MiB"
[health]
tcp = { port = 80 }
[secrets.files]
"db.password" = "/prod/app/PASSWORD"
[secrets.env]
TOKEN = "/prod/app/TOKEN"
[[files]]
source = "files/a"
target = "/etc/a"
[[files]]
source = "files/b"
target = "/etc/b"
template = true
mode = "0440"
on_change = { signal = "SIGHUP" }
`;

test("fingerprint and spec are those of the version that first had these parts", async () => {
  const parsed = await new ParseCache().parse(MANIFEST, "app.toml");
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  const compiled = compileService("app", parsed.value, {
    settings: {
      node: "vm-a",
      policy: buildStrictPolicy(),
      standIns: undefined,
      address: undefined,
      ports: "as-written",
      budget: "enforce",
      hostNotes: [],
      assumeDataMounted: false,
      frontImage: undefined,
      agentPorts: [],
      templates,
    },
    fleet: undefined,
    services: [],
    readFile: () => Buffer.from("content of {{ node }}"),
    revision: "any",
    secrets: { versions: { "/prod/app/PASSWORD": "0011", "/prod/app/TOKEN": "2233" }, blocked: undefined, notes: [] },
  });
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.findings));
  const { fingerprint, specHash, files } = compiled.service;
  expect({ fingerprint, specHash }).toEqual({
    fingerprint: "f36e2877b6f0c29f",
    specHash: "v1:f3e82213079f47c53d86571dbb3b9f2ea7d883eebae0b527cf7380cf4078c30f",
  });
  expect(files.map(({ target, mode, owner }) => [target, mode, owner])).toEqual([
    ["/etc/a", "0444", undefined],
    ["/etc/b", "0440", undefined],
    ["/run/secrets/db.password", "private", "container"],
  ]);
});
