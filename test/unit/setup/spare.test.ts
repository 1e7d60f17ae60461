// What a recovery computes: the spare's agent.toml, who the spare is, and the table of steps with budgets.

import { expect, test } from "vitest";

import { RecoveryTable } from "../../../agent/cli/recover/recover-table.ts";
import { recover } from "../../../agent/cli/recover/recover-command.ts";
import { refuseTerm } from "../../../agent/cli/recover/refuse-escrow.ts";
import { chooseSpare } from "../../../agent/cli/recover/spare-host.ts";
import { buildSpareAgent } from "../../../agent/setup/spare-agent.ts";
import { agentConfigSchema } from "../../../shared/config/agent-config.ts";
import { manifestSchema } from "../../../shared/manifest/manifest.ts";
import { chooseStored } from "../../../agent/cli/recover/stored-services.ts";
import { fleetSchema } from "../../../shared/fleet/fleet.ts";
import { judgeTenure } from "../../../shared/fleet/takeover.ts";
import { parseToml } from "../../../shared/text/parse-toml.ts";

const AGENT = `node = "vm-edge"
[source]
status_token_file = "/etc/orca/status"
[source.git]
url = "https://git.example/p.git"
[secrets.infisical]
url = "https://secrets.example"
project = "p"
environment = "prod"
client_id_file = "/etc/orca/id"
client_secret_file = "/etc/orca/secret"
[gossip]
listen = "10.0.0.10:7946"
identity_file = "/var/lib/orca/identity.key"
`;

test("the spare's agent.toml is the node's, at its own address, with a directory in place of the lost Git", async () => {
  const text = buildSpareAgent(AGENT, { address: "10.0.0.19", sourceDir: "/srv/orca" });
  const parsed = await parseToml(agentConfigSchema, text, "agent.toml");
  expect(parsed.ok && parsed.value).toMatchObject({
    node: "vm-edge",
    source: { dir: "/srv/orca" },
    secrets: { infisical: { url: "https://secrets.example", client_id_file: "/etc/orca/id" } },
    gossip: { listen: "10.0.0.19:7946", identity_file: "/var/lib/orca/identity.key" },
  });
  expect(text).not.toContain("git.example");
  expect(buildSpareAgent(AGENT, { address: "fd00::9", sourceDir: "/srv/orca" })).toContain('"[fd00::9]:7946"');
});

function fleetOf(spares: readonly string[]) {
  const node = (address: string, more: object = {}): object => ({ address, env: "prod", memory: "1GiB", ...more });
  const nodes = Object.fromEntries(spares.map((name, at) => [name, node(`10.0.0.2${at}`, { standby_for: "vm-edge" })]));
  const fleet = fleetSchema.parse({ nodes: { "vm-edge": node("10.0.0.10"), "vm-data": node("10.0.0.30"), ...nodes } });
  const own = fleet.nodes["vm-edge"];
  if (own === undefined) throw new Error("it is there");
  return { fleet, node: own, path: "", shown: "fleet.toml", text: "" };
}

test("the spare is the one of fleet.toml, or this machine by its address; nobody else's", () => {
  const one = { node: "vm-edge", realm: "prod", name: "edge-2", address: "10.0.0.20" };
  expect(chooseSpare(fleetOf(["edge-2"]), "vm-edge", undefined)).toEqual(one);
  expect(chooseSpare(fleetOf([]), "vm-edge", "10.0.0.99")).toEqual({
    ...one,
    name: "vm-edge-spare",
    address: "10.0.0.99",
  });
  expect(chooseSpare(fleetOf(["edge-2", "edge-3"]), "vm-edge", "10.0.0.21").name).toBe("edge-3");
  expect(() => chooseSpare(fleetOf([]), "vm-edge", undefined)).toThrow(/has no spare of vm-edge .*--address/);
  expect(() => chooseSpare(fleetOf(["edge-2", "edge-3"]), "vm-edge", undefined)).toThrow(/several spares/);
  expect(() => chooseSpare(fleetOf([]), "vm-edge", "10.0.0.30")).toThrow("10.0.0.30 is the address of vm-data");
});

const placed = (service: string, text: object) => ({
  service,
  manifest: manifestSchema.parse({
    image: "app:1",
    resources: { memory: "64MiB" },
    health: { tcp: { port: 80 } },
    ...text,
  }),
});
const store = (engine: string, more: object = {}) => ({ name: "db", engine, schedule: "every 5h", ...more });
const volumes = [{ name: "data", target: "/data" }];
const command = store("command", { command: ["dump"] });

test("data that goes back into place is restored first, with what it needs; what only a person restores is named, or refused", () => {
  const manifests = [
    placed("pg", {
      volumes,
      requires: ["net", "vm-data/far"],
      backups: [store("postgres"), { ...command, name: "own" }],
    }),
    placed("net", {}),
    placed("realm", { requires: ["pg"], backups: [command] }),
    placed("proxy", { requires: ["realm"] }),
  ];
  expect(chooseStored(manifests, "vm-edge", [])).toEqual({
    services: ["pg"],
    mayStart: ["pg", "net"],
    byHand: ["pg/own", "realm/db"],
  });
  const gitea = placed("gitea", { volumes, backups: [command] });
  expect(() => chooseStored([...manifests, gitea], "vm-edge", [])).toThrow(
    /restore gitea .*--without gitea.*nothing was written/,
  );
  expect(chooseStored([...manifests, gitea], "vm-edge", ["gitea", "pg"]).services).toEqual([]);
});

test("each step is shown with its budget and what it took, a late one as late, one that was not done as not measured", async () => {
  let nowMs = 0;
  const table = new RecoveryTable(() => nowMs);
  const pass = (ms: number) => async () => void (nowMs += await Promise.resolve(ms));
  await table.time("provision", pass(61_200));
  await expect(
    table.time("data", async () => {
      nowMs += await Promise.resolve(301_000);
      throw new Error("no backup");
    }),
  ).rejects.toThrow("no backup");
  const rows = table
    .print()
    .split("\n")
    .map((line) => line.split(/ {2,}/));
  expect(rows.map(([, budget, measured]) => [budget, measured])).toEqual([
    ["budget", "measured"],
    ["3m", "1m 2s"],
    ["5m", "5m 1s, LATE"],
    ["2m", "not measured"],
    ["3m", "not measured"],
    ["15m", "6m 3s"],
  ]);
});

test("while data is restored only what holds it may start; one that was replaced meanwhile stops all the same", () => {
  const facts = {
    publicKey: "k",
    takeover: undefined,
    hasStandby: true,
    hasHeard: true,
    sinceStartMs: 0,
    patienceMs: 1,
  };
  expect(judgeTenure({ ...facts, restoring: ["db"] })).toEqual({ kind: "restoring", services: ["db"] });
  const takeover = { key: "other", spare: "vm9", term: 2 };
  expect(judgeTenure({ ...facts, restoring: ["db"], takeover }).kind).toBe("replaced");
});

test("a term that nobody would believe is refused, one that is no term before anything is read", async () => {
  const spare = { node: "vm-edge", realm: "prod", name: "edge-2", address: "10.0.0.20" };
  expect(() => refuseTerm(3, 3, spare)).toThrow(
    "--term 3 is not above takeover 3 of vm-edge, which is known here: write 4",
  );
  expect(() => [refuseTerm(4, 3, spare), refuseTerm(undefined, 3, spare)]).not.toThrow();
  const options = { escrow: "/nowhere", key: "/nowhere", source: "/nowhere", without: [], timeout: "1m" };
  for (const term of ["1000001", "0", "1.5", "first"])
    await expect(recover("vm-edge", { ...options, term })).rejects.toThrow(`--term ${term} is no term`);
});
