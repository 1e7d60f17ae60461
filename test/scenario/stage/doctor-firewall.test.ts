// `orca doctor` about the firewall, as its own process on the state of a real agent, with the shipped file loaded by the real nft in
// a network namespace.

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import type { Finding } from "../../../agent/doctor/finding.ts";
import { NODE } from "../../builders/node/node.ts";
import { openSecretNode, WITH_FILE } from "../../builders/node/secret-node.ts";
import { readFirewall, WallLab, type WallPeer } from "../../builders/fleet/wall-lab.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";

const root = mkdtempSync(join(tmpdir(), "orca-doctor-wall-"));
const config = join(root, "agent.toml");
const lab = new WallLab();
let host: WallPeer;

beforeAll(async () => {
  host = lab.addHost("10.0.1.10/16");
  const { node } = openSecretNode();
  const nodes = {
    [NODE]: ["10.0.1.10", "stage"],
    "vm-edge": ["10.0.0.10", "prod"],
    "vm-far": ["10.7.0.1", "prod"],
  };
  const fleet = Object.entries(nodes).map(
    ([name, [address, env]]) => `[nodes.${name}]\naddress = "${address}"\nenv = "${env}"\nmemory = "8GiB"\n`,
  );
  node.source.setFleet(fleet.join(""));
  node.source.set({ worker: WITH_FILE });
  await node.start();
  await node.untilSettled(["worker"]);
  await node.stop();
  cpSync(node.stateDir, join(root, "state"), { recursive: true });
  writeFileSync(
    config,
    [`node = "${NODE}"`, `source = { dir = "${root}" }`, `state = { dir = "${root}/state" }`].join("\n"),
  );
  await node.dispose();
});

afterAll(async () => {
  await lab.destroy();
  rmSync(root, { recursive: true, force: true });
});

function complain(...before: string[]): Finding[] {
  const words = [
    `--net=${host.namespace}`,
    ...before,
    process.execPath,
    PROGRAM,
    "doctor",
    "--json",
    "--config",
    config,
  ];
  const { stdout, stderr } = spawnSync("nsenter", words, { encoding: "utf8" });
  if (stdout === "") throw new Error(stderr);
  const { findings } = JSON.parse(stdout) as { findings: Finding[] };
  return findings.filter(({ check }) => check === "firewall between realms");
}

test("none is loaded", () => {
  expect(complain()).toMatchObject([{ severity: "fail", what: "no table inet orca_isolation is loaded" }]);
});

test("one that is loaded is read: which machines it does not know, and that no boot would load it", () => {
  host.load(readFirewall("stage"));
  expect(complain().map(({ severity, what }) => `${severity}: ${what}`)).toEqual([
    "fail: it does not know vm-far of prod (10.7.0.1)",
    "warn: it is loaded, and nothing will load /etc/orca/firewall.nft at the next boot",
  ]);
  // As the fix says.
  host.load(readFirewall("stage").replace("= 10.0.0.0/24", "= { 10.0.0.0/24, 10.7.0.1-10.7.0.9 }"));
  expect(complain().filter(({ severity }) => severity === "fail")).toEqual([]);
});

test("the other side's file is found out", () => {
  host.load(readFirewall("production"));
  expect(complain().filter(({ severity }) => severity === "fail")).toHaveLength(2);
});

test("who may not look is told so, and is not told that there is none", () => {
  const found = complain("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=0");
  expect(found).toMatchObject([{ severity: "warn", what: expect.stringMatching(/cannot be looked at: .*permitted/) }]);
});
