// Every VM of the five platforms gets user-data that passes the check and a firewall that lets people log in.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { buildHostFirewall } from "../../../agent/setup/host-firewall.ts";
import { buildAgentFile, buildPolicyFile } from "../../../agent/setup/node-files.ts";
import { buildUserData, checkUserData, USER_DATA_BYTES } from "../../../agent/setup/user-data.ts";
import { type Fleet, fleetSchema } from "../../../shared/fleet/fleet.ts";
import { parseToml } from "../../../shared/text/parse-toml.ts";

const TOPOLOGIES = join(import.meta.dirname, "../../topologies");
const NAMES = readdirSync(TOPOLOGIES, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
);

async function readFleet(name: string): Promise<Fleet> {
  const file = join(TOPOLOGIES, name, "orca/fleet.toml");
  const parsed = await parseToml(fleetSchema, readFileSync(file, "utf8"), file);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.value;
}

test.each(NAMES)("%s: user-data of every VM", async (name) => {
  const fleet = await readFleet(name);
  for (const [node, entry] of Object.entries(fleet.nodes)) {
    const agentFile = buildAgentFile(fleet, node);
    if (agentFile === undefined) throw new Error(node);
    const text = buildUserData({
      fleet,
      node,
      provider: "hetzner",
      volume: undefined,
      package: { url: "https://packages.example.com/orca_{arch}.deb", sha256: { amd64: "0".repeat(64) } },
      agentFile,
      policyFile: buildPolicyFile(entry, ["postgres:16"]),
      credentials: ["/etc/orca/git-token"],
    });
    expect([node, checkUserData(text)]).toEqual([node, []]);
    expect(Buffer.byteLength(text)).toBeLessThan(USER_DATA_BYTES);
  }
});

test.each(NAMES)(
  "%s: a firewall of every VM, which lets its own realm and its people in and nobody of another",
  async (name) => {
    const fleet = await readFleet(name);
    for (const [node, { env }] of Object.entries(fleet.nodes)) {
      const text = buildHostFirewall(fleet, node);
      if (typeof text !== "string") throw new Error(`${node}: ${text.what}`);
      expect(text).toMatch(/ tcp dport 22 accept comment "SSH"/);
      const realm = /set realm4 .*$/m.exec(text)?.[0] ?? "";
      for (const [other, { address, env: theirs }] of Object.entries(fleet.nodes))
        expect([node, other, new RegExp(`[ {]${address}[ ,]`).test(realm)]).toEqual([
          node,
          other,
          theirs === env && other !== node,
        ]);
    }
  },
);

test("without a network for SSH no firewall is made", async () => {
  const fleet = await readFleet("breakpilot");
  for (const host of [undefined, { ...fleet.host, ssh: [] }])
    expect(buildHostFirewall({ ...fleet, host: host as Fleet["host"] }, "vm-edge")).toMatchObject({
      what: expect.stringContaining("lock everybody out"),
    });
});
