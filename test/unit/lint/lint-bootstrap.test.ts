// What the fleet's own secrets server and forge need to start: found by lint for every node, and refused by the agent.

import { expect, test } from "vitest";

import { findClosureFaults } from "../../../agent/desired/secrets/bootstrap-closure.ts";
import type { PlacedService } from "../../../agent/desired/build/constraints.ts";
import { type Manifest, manifestSchema } from "../../../shared/manifest/manifest.ts";
import { parseToml } from "../../../shared/text/parse-toml.ts";
import { buildManifest } from "../../builders/node/manifest.ts";

async function place(node: string, service: string, text: string): Promise<PlacedService> {
  const parsed = await parseToml<Manifest>(manifestSchema, text, `${service}.toml`);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return { node, service, manifest: parsed.value };
}

const SECRETS = '[secrets.files]\na = "/prod/a"';

async function judge(services: Record<string, string>, fromServer?: boolean): Promise<string[]> {
  const placed = await Promise.all(
    Object.entries(services).map(([name, text]) => place(name.split("/")[0] ?? "", name.split("/")[1] ?? "", text)),
  );
  return findClosureFaults(placed, fromServer)
    .map(({ node, service, path }) => `${node}/${service} ${path.join(".")}`)
    .toSorted();
}

const INFISICAL = "infisical/infisical:v1";

test("what they require may take no secret from the server, however far down, nor need another VM", async () => {
  const services = {
    "a/infisical": buildManifest({ image: INFISICAL, top: 'requires = ["db"]\nwants = ["b/far"]' }),
    "a/db": buildManifest({ top: 'requires = ["store", "b/far"]' }),
    "a/store": buildManifest({ tables: SECRETS }),
    "a/gitea": buildManifest({ image: "registry.example/mirror/gitea:1", tables: SECRETS }),
    "a/other": buildManifest({ tables: SECRETS, top: 'requires = ["infisical", "b/far"]' }),
    "b/far": buildManifest({ tables: SECRETS }),
  };
  expect(await judge(services)).toEqual(["a/db requires.1", "a/gitea secrets", "a/store secrets"]);
});

test("the exception is a file of the host", async () => {
  const boot = '[bootstrap]\nenv_file = "/etc/orca/bootstrap/x.env"';
  expect(await judge({ "a/infisical": buildManifest({ image: INFISICAL, tables: boot }) })).toEqual([]);
});

test("secrets that come from a file of the host need no server", async () => {
  const services = { "a/gitea": buildManifest({ image: "gitea/gitea:1", tables: SECRETS }) };
  expect(await judge(services)).toEqual([]);
  expect(await judge(services, false)).toEqual([]);
  expect(await judge(services, true)).toEqual(["a/gitea secrets"]);
});

test("a circle ends", async () => {
  const services = {
    "a/infisical": buildManifest({ image: INFISICAL, top: 'requires = ["db"]' }),
    "a/db": buildManifest({ top: 'requires = ["infisical"]', tables: SECRETS }),
  };
  expect(await judge(services)).toEqual(["a/db secrets"]);
});
