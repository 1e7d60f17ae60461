// A proxy opens late rather than not at all: its waits end before the time it promises to be back in.

import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { readRepository } from "../../../agent/cli/lint/lint-read.ts";
import { checkProxyWaits } from "../../../agent/desired/checks/proxy-wait.ts";

import { type Content, lintFiles, lintShort, service } from "../../builders/git/repository.ts";
import { listTopologies } from "../../../scripts/lab/cold/topology.ts";

const FILE = `[[files]]\nsource = "files/proxy.cfg"\ntarget = "/proxy.cfg"\ntemplate = true`;

function build(
  requires: string,
  slo = "",
  template = "{% for route in routes %}{{ route.host }}{% endfor %}",
): Record<string, Content> {
  return {
    "manifests/vm-a/proxy.toml": service(`requires = [${requires}]`, `${FILE}\n${slo}`),
    "manifests/vm-a/files/proxy.cfg": template,
    "manifests/vm-a/near.toml": service(),
    "manifests/vm-b/far.toml": service(),
  };
}

const RTO = '[slo]\nrto = "5m"';
const edge = (expires: string, then = "start"): string =>
  `{ on = "vm-b/far", expires = "${expires}", then = "${then}" }`;

test.each([
  ["an edge without an end", '"vm-b/far"', RTO],
  ["one that ends with a failure", edge("2m", "fail"), RTO],
  ["one that ends when it should be back", edge("5m"), RTO],
  ["one without an end, where no time is promised", '"vm-b/far"', ""],
  ["one on its own node", '"near"', RTO],
])("%s is warned of", async (_case, requires, slo) => {
  expect(await lintShort(build(requires, slo))).toEqual(["warning proxy-wait vm-a/proxy:1:13 requires[0]"]);
});

test.each([
  ["one that ends before that", edge("4m"), RTO],
  ["one that ends, where no time is promised", edge("20m"), ""],
])("%s is fine", async (_case, requires, slo) => {
  expect(await lintShort(build(requires, slo))).toEqual([]);
});

test("a service that is no proxy may wait without end: a database's data is worth it", async () => {
  expect(await lintShort(build('"vm-b/far"', RTO, "listen {{ node }}"))).toEqual([]);
});

test("the warning says how long, for whom, and what to write", async () => {
  const [problem] = await lintFiles(build('"vm-b/far"', RTO));
  expect(problem?.message).toBe(
    "this proxy waits without end for vm-b/far, should that never come, and promises to be back in 5m",
  );
  expect(problem?.hint).toContain('{ on = "vm-b/far", expires = "4m", then = "start" }');
});

test("every proxy that is shipped as an example keeps to it; without its expiry it would be warned of", async () => {
  for (const topology of await listTopologies()) {
    const directory = fileURLToPath(new URL(`../../topologies/${topology}`, import.meta.url));
    const { view } = await readRepository(directory);
    expect([topology, checkProxyWaits(view)]).toEqual([topology, []]);
    const endless = view.services.map((placed) => {
      const requires = placed.manifest.requires.map((entry) => ({ ...entry, expiresMs: undefined }));
      return { ...placed, manifest: { ...placed.manifest, requires } };
    });
    const found = checkProxyWaits({ ...view, services: endless });
    expect([topology, found.length > 0]).toEqual([topology, true]);
  }
});
