// What the isolation drill tries on a node: every secret and port of other realms, less what both realms take, what is only the other
// host's own, and what the node's own manifests name.

import { expect, test } from "vitest";

import { readRepository } from "../../agent/cli/lint-read.ts";
import { type IsolationTargets, listIsolationTargets } from "../../agent/desired/isolation.ts";
import { service, withRepository } from "../builders/repository.ts";

const FLEET = ["prod", "stage"]
  .map((realm, index) => `[nodes.vm-${realm}]\naddress = "10.0.0.${index + 1}"\nenv = "${realm}"\nmemory = "8GiB"`)
  .join("\n");

function list(files: Record<string, string>, node = "vm-stage"): Promise<IsolationTargets | undefined> {
  return withRepository({ "fleet.toml": FLEET, ...files }, async (directory) =>
    listIsolationTargets((await readRepository(directory)).view, node),
  );
}

test("secrets of others, each once and sorted, less those that this realm takes too", async () => {
  const targets = await list({
    "manifests/vm-prod/app.toml": service("", '[secrets.env]\nB = "/prod/B"\nA = "/prod/A"\nS = "/shared/KEY"'),
    "manifests/vm-prod/web.toml": service("", '[secrets.files]\na = "/prod/A"'),
    "manifests/vm-stage/app.toml": service("", '[secrets.env]\nS = "/shared/KEY"\nT = "/stage/T"'),
  });
  expect(targets?.secrets).toEqual(["/prod/A", "/prod/B"]);
});

test("published TCP ports on the address where they are, and the port of a TCP check; never what only its own host reaches", async () => {
  const targets = await list({
    "manifests/vm-prod/app.toml": service('ports = ["9000:8080", "127.0.0.1:9001:81", "0.0.0.0:9002:82", "53:53/udp"]'),
    "manifests/vm-stage/app.toml": service('ports = ["9000:8080"]'),
  });
  expect(targets?.listeners.map(({ service: of, host, port }) => `${of} ${host}:${port}`)).toEqual([
    "vm-prod/app 10.0.0.1:9000",
    "vm-prod/app 10.0.0.1:9002",
    "vm-prod/app 10.0.0.1:8080",
  ]);
});

test("databases first; a proxy is an entrance for everybody; what the own manifests name is allowed, on that port alone", async () => {
  const targets = await list({
    "manifests/vm-prod/app.toml": service(
      'ports = ["8443:8443"]',
      '[[routes]]\nhost = "auth.example.com"\nport = 8443',
    ),
    "manifests/vm-prod/db.toml": service('ports = ["5432:5432"]').replace("app:1", "postgres:16"),
    "manifests/vm-prod/proxy.toml": service(
      'ports = ["80:80", "443:443"]',
      '[[files]]\nsource = "files/proxy.conf"\ntarget = "/etc/proxy.conf"\ntemplate = true',
    ),
    "manifests/vm-prod/files/proxy.conf": "x",
    "manifests/vm-stage/app.toml": service("", '[env]\nISSUER = "https://auth.example.com/realms/x"'),
  });
  expect(targets?.allowed).toEqual([{ service: "vm-prod/app", host: "auth.example.com", port: 443 }]);
  expect(targets?.listeners.map(({ service: of, port }) => `${of}:${port}`)).toEqual([
    ...["vm-prod/db:5432", "vm-prod/db:8080", "vm-prod/app:8443", "vm-prod/app:8080"],
  ]);
});

test("a node that fleet.toml does not know has no realm, and nothing is guessed", async () => {
  expect(await list({ "manifests/vm-prod/app.toml": service() }, "vm-none")).toBeUndefined();
});
