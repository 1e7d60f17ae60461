// The five seed systems of test/topologies/: what must hold in each of them, whatever its figures. The figures are in
// topology-<name>.test.ts.

import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { checkView } from "../../../agent/cli/lint/lint-command.ts";
import { readRepository } from "../../../agent/cli/lint/lint-read.ts";
import { checkBudget, findDependencyCycles, findPortClashes } from "../../../agent/desired/build/constraints.ts";
import { checkPolicy } from "../../../agent/desired/policy/policy-check.ts";
import { buildRoutes } from "../../../agent/desired/repository/routes.ts";
import { readStandIns } from "../../../agent/host/files/host-files.ts";
import { buildStrictPolicy } from "../../../shared/policy/policy.ts";
import { isEveryAddress, parsePublishedPort, type PublishedPort } from "../../../shared/manifest/published-port.ts";
import { describeProblem } from "../../../shared/text/problem.ts";
import { templates } from "../../../shared/text/template.ts";
import {
  findBadFiles,
  findBadReferences,
  findEmptyPromises,
  findLooseSecrets,
  findLostRecoveryPoints,
  findUnknownRepositories,
  findUnmarkedCaps,
  longestGapMs,
} from "../../builders/data/topology-laws.ts";
import { DAY, HOUR, MINUTE } from "../../builders/data/topology-figures.ts";
import { listServices, listTopologies, placeOf, readTopology } from "../../../scripts/lab/cold/topology.ts";

const TOPOLOGIES = join(import.meta.dirname, "..", "..", "topologies");
const names = await listTopologies();
const topologies = await Promise.all(names.map(readTopology));
const agentPorts = ["127.0.0.1:7070:7070", "127.0.0.1:80:80"].map((text) => parsePublishedPort(text) as PublishedPort);

test("the five seed systems are there", () => {
  expect(names).toEqual(["agenticverz", "basecommerce", "breakpilot", "busflow", "frostbyte"]);
});

test("one mapping lets every image be stood in for", async () => {
  expect(await readStandIns(join(TOPOLOGIES, "stand-ins.toml"))).toEqual({ "*": "orca-stand-in:1" });
  const databases = await readStandIns(join(TOPOLOGIES, "stand-ins-databases.toml"));
  const images = new Set(topologies.flatMap(({ services }) => services.map(({ manifest }) => manifest.image)));
  expect(Object.keys(databases ?? {}).filter((image) => image !== "*" && !images.has(image))).toEqual([]);
});

/** Warnings that a platform's own description asks for: the bundle that is carried there pins the image by its digest. */
const MEANT: Readonly<Record<string, readonly string[]>> = { "floating-tag": ["orca/manifests/offline/minio.toml"] };

describe.each(topologies)("$name", (topology) => {
  const { fleet, services } = topology;
  const nodes = Object.entries(fleet.nodes);

  test("every file parses", () => {
    expect(topology.problems).toEqual([]);
    expect(services.length).toBe(topology.texts.size);
  });

  test("lint finds no error, and nothing to warn of but what its description asks for", async () => {
    const { view } = await readRepository(join(TOPOLOGIES, topology.name));
    const report = await checkView(view, { format: "text" });
    expect(report.manifests).toBe(services.length);
    const told = report.problems.filter((problem) => problem.severity !== "info");
    const unmeant = told.filter(({ code, file }) => MEANT[code]?.includes(file) !== true);
    expect(unmeant.map(describeProblem)).toEqual([]);
  });

  test("every node has manifests, and every manifest's directory is a node", () => {
    expect([...new Set(services.map((entry) => entry.node))].toSorted()).toEqual(Object.keys(fleet.nodes).toSorted());
    expect(Object.keys(listServices(topology)).length).toBe(nodes.length);
  });

  test("every node has an identity of the right form, and no two share one", () => {
    const keys = nodes.map(([, node]) => node.public_key ?? "");
    for (const key of keys) expect(key).toMatch(/^ed25519:[A-Za-z0-9_-]{43}$/);
    expect(new Set(keys).size).toBe(keys.length);
  });

  test("every reference leads to a service of the same realm", () => {
    expect(findBadReferences(topology)).toEqual([]);
  });

  test("a proxy that is reloaded ends no kept connection before its next answer", () => {
    for (const [path, text] of topology.files) {
      for (const web of text.split(/^(?=frontend|backend)/m).filter((part) => part.startsWith("frontend web")))
        expect([path, web]).toEqual([path, expect.stringContaining("  option idle-close-on-response\n")]);
      if (text.includes("proxy_pass"))
        expect([path, text]).toEqual([path, expect.stringMatching(/^  keepalive_min_timeout /m)]);
    }
  });

  test("nothing waits for itself, wishes counted", () => {
    expect(findDependencyCycles(services)).toEqual([]);
  });

  test.each(nodes)("the caps of %s fit its memory less its reserve", (name, node) => {
    const own = services.filter((entry) => entry.node === name);
    expect(checkBudget(own, node)).toEqual([]);
  });

  test.each(nodes)("no two listeners of %s share a port, the agent's included", (name, node) => {
    const own = services.filter((entry) => entry.node === name);
    expect(findPortClashes(own, node.address, agentPorts)).toEqual([]);
    const everywhere = own.filter((entry) => entry.manifest.ports.some((port) => isEveryAddress(port.address)));
    expect(everywhere.map(placeOf)).toEqual([]);
  });

  test("no service promises more than what it requires", () => {
    expect(findEmptyPromises(topology)).toEqual([]);
  });

  test("the backups can hold the recovery points", () => {
    expect(findLostRecoveryPoints(topology)).toEqual([]);
    expect(findUnknownRepositories(topology)).toEqual([]);
  });

  test("repositories are encrypted, in the EU or on the fleet's own machines, and over TLS", () => {
    for (const repository of Object.values(fleet.repositories)) {
      expect(repository.recipients.length).toBeGreaterThan(0);
      expect(repository.kind === "s3" ? repository.endpoint : repository.kind).toMatch(
        /^https:\/\/(s3\.dus2\.|fsn1\.|nbg1\.|fra1\.|[0-9a-f]{32}\.eu\.|10\.0\.0\.4:)/,
      );
    }
  });

  test("no secret is written out, and every secret's path is the realm's own", () => {
    expect(findLooseSecrets(topology)).toEqual([]);
  });

  test("files exist, are mounted once, and none lies about", () => {
    expect(findBadFiles(topology)).toEqual([]);
  });

  test("everything has an owner, and a check that needs no tool in the image", () => {
    expect(services.filter((entry) => entry.manifest.owner === undefined).map(placeOf)).toEqual([]);
    expect(services.filter((entry) => entry.manifest.health?.exec !== undefined).map(placeOf)).toEqual([]);
    expect(services.filter((entry) => entry.manifest.health === undefined).map(placeOf)).toEqual([]);
  });

  test("every cap says where it comes from", () => {
    expect(findUnmarkedCaps(topology)).toEqual([]);
  });

  test("every template renders with the fleet's routes, and each route is in it", () => {
    for (const { node, service, manifest } of services) {
      for (const file of manifest.files.filter((entry) => entry.template)) {
        const routes = buildRoutes(services, node, fleet);
        const peers = nodes.map(([name, entry]) => ({ name, address: entry.address, realm: entry.env }));
        const realm = fleet.nodes[node]?.env;
        const text = templates.render(topology.files.get(`${node}/${file.source}`) ?? "", {
          node,
          service,
          realm,
          nodes: peers,
          routes,
        });
        // PowerDNS publishes port 53 itself; a proxy has no part in it.
        for (const route of routes.filter((entry) => entry.port !== 53)) expect(text).toContain(route.upstream);
      }
    }
  });

  test("a host without a policy file runs all of it with stand-ins, which take no bootstrap file", () => {
    const refusals = services.flatMap(({ service, manifest: { bootstrap: _bootstrap, ...manifest } }) =>
      checkPolicy({ service, manifest, realPaths: {} }, buildStrictPolicy()),
    );
    expect(refusals).toEqual([]);
  });

  test("what is from the seed and what is chosen stands beside it", async () => {
    const text = await readFile(join(TOPOLOGIES, topology.name, "DECISIONS.md"), "utf8");
    expect(text).toMatch(/^## Chosen/m);
    expect(text).toMatch(/^## No home/m);
  });
});

test("a volume belongs to one node, whichever topologies a machine plays", () => {
  const holders = new Map<string, Set<string>>();
  for (const topology of topologies) {
    for (const { node, manifest } of topology.services) {
      for (const { name } of manifest.volumes) {
        if (name !== undefined) holders.set(name, (holders.get(name) ?? new Set()).add(`${topology.name}/${node}`));
      }
    }
  }
  expect(holders.size).toBeGreaterThan(25);
  expect([...holders].filter(([, nodes]) => nodes.size > 1)).toEqual([]);
});

test.each([
  ["every 5h", 5 * HOUR],
  ["0 2 * * *", DAY],
  ["30 5 * * 0", 7 * DAY],
  ["*/20 * * * *", 20 * MINUTE],
])("the longest gap of %s", (schedule, gapMs) => {
  expect(longestGapMs(schedule)).toBe(gapMs);
});
