// Asks nft what the table of host-config/firewall/ knows, for `orca doctor`. Needs root; no shell, and nothing is changed.

import { existsSync } from "node:fs";

import * as z from "zod";

import type { FirewallFact } from "../../doctor/doctor-facts.ts";
import { listNftTable } from "../../host/os/nft.ts";

const TABLE = "orca_isolation";
export const FIREWALL_FILE = "/etc/orca/firewall.nft";
const ENABLED = "/etc/systemd/system/sysinit.target.wants/orca-firewall.service";

/** An element of a set as `nft -j` writes it: one address, a network, or a range. */
const element = z.union([
  z.string(),
  z.object({ prefix: z.object({ addr: z.string(), len: z.number() }) }).transform(({ prefix }) => prefix),
  z.object({ range: z.tuple([z.string(), z.string()]) }).transform(({ range: [from, to] }) => ({ from, to })),
]);
const listing = z.object({
  nftables: z.array(
    z.object({ set: z.object({ name: z.string(), elem: z.array(z.unknown()).default([]) }).optional() }),
  ),
});

/** What is loaded, and whether it will be after a boot. */
export async function readFirewall(): Promise<Pick<FirewallFact, "loaded" | "atBoot" | "file">> {
  const atBoot = existsSync(FIREWALL_FILE) && existsSync(ENABLED);
  return { file: FIREWALL_FILE, atBoot, loaded: await readTable() };
}

async function readTable(): Promise<FirewallFact["loaded"]> {
  try {
    const text = await listNftTable("inet", TABLE);
    const sets = listing.parse(JSON.parse(text)).nftables.flatMap(({ set }) => set ?? []);
    // The sets of doors hold pairs, which are no addresses of machines.
    const named = sets.filter(({ name }) => /^others[46]$/.test(name));
    return { kind: "yes", others: named.flatMap(({ elem }) => elem.map((entry) => element.parse(entry))) };
  } catch (error) {
    return judgeFailure(error as NodeJS.ErrnoException & { stderr?: string });
  }
}

function judgeFailure(error: NodeJS.ErrnoException & { stderr?: string }): FirewallFact["loaded"] {
  if (error.code === "ENOENT") return { kind: "no-program" };
  const [words = ""] = (error.stderr ?? error.message).split("\n");
  if (words.includes("No such file or directory")) return { kind: "no" };
  return { kind: "unknown", trouble: words === "" ? error.message : words };
}
