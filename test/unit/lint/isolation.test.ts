// What the isolation drill tries on a node: every secret and port of other realms, less what both realms take, what is only the other
// host's own, and what the node's own manifests name.

import { expect, test } from "vitest";

import { readRepository } from "../../../agent/cli/lint/lint-read.ts";
import { type IsolationTargets, listIsolationTargets } from "../../../agent/desired/checks/isolation.ts";
import { service, withRepository } from "../../builders/git/repository.ts";

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

/** `service host:port`, of the services alone. */
function print(targets: IsolationTargets | undefined): string[] {
  const services = targets?.listeners.filter(({ service: of }) => of.includes("/")) ?? [];
  return services.map(({ service: of, host, port, protocol }) => `${of} ${host}:${port}/${protocol}`);
}

test("published ports on the address where they are, and the port of a TCP check; never what only its own host reaches", async () => {
  const targets = await list({
    "manifests/vm-prod/app.toml": service('ports = ["9000:8080", "127.0.0.1:9001:81", "0.0.0.0:9002:82", "53:53/udp"]'),
    "manifests/vm-stage/app.toml": service('ports = ["9000:8080"]'),
  });
  expect(print(targets).toSorted()).toEqual([
    "vm-prod/app 10.0.0.1:53/udp",
    "vm-prod/app 10.0.0.1:8080/tcp",
    "vm-prod/app 10.0.0.1:9000/tcp",
    "vm-prod/app 10.0.0.1:9002/tcp",
  ]);
});

test("what no manifest names, on each node of another realm and on none of the own", async () => {
  const targets = await list({ "manifests/vm-prod/app.toml": service() });
  const hosts = targets?.listeners.filter(({ service: of }) => !of.includes("/"));
  expect(hosts?.map(({ host, port }) => `${host}:${port}`)).toEqual([
    "10.0.0.1:7946",
    "10.0.0.1:22",
    "10.0.0.1:2375",
    "10.0.0.1:2376",
  ]);
});

test("databases first; a proxy is a door for what it lets through; what own manifests name is allowed where it leads, and nowhere else", async () => {
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
  const tried = print(targets).map((at) => at.replace(" 10.0.0.1", "").replace("/tcp", ""));
  expect(tried[0]).toBe("vm-prod/db:5432");
  expect(tried.filter((at) => !at.endsWith(":8080")).toSorted()).toEqual(["vm-prod/app:8443", "vm-prod/db:5432"]);
});

test("a node that fleet.toml does not know has no realm, and nothing is guessed", async () => {
  expect(await list({ "manifests/vm-prod/app.toml": service() }, "vm-none")).toBeUndefined();
});
