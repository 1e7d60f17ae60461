// The firewall of `orca firewall`: whether what a boot loads is what fleet.toml would make now. A person loads it, and no commit, so it grows
// old with each change of the fleet. Pure.

import { describeCount } from "../../shared/text/count.ts";
import type { HostFirewallFact, HostView } from "./doctor-facts.ts";
import { type Finding, fine } from "./finding.ts";

const CHECK = "firewall of the host";
const LONGEST_LINE = 120;

/** Judges it; says nothing where no firewall of Orca's is kept: other checks say whether the host filters at all. */
export function checkHostFirewall({ hostFirewall }: HostView): Finding[] {
  if (hostFirewall === undefined) return [];
  const { file, now, text } = hostFirewall;
  const why =
    "a VM that has left the fleet is still let in, and one that has come is not: no commit changes a firewall";
  if (typeof now !== "string") {
    const what = `${file} is kept, and fleet.toml makes none any more: ${now.what}`;
    return [{ check: CHECK, severity: "warn", what, why, fix: now.fix }];
  }
  const [missing, surplus] = [compare(now, text), compare(text, now)];
  if (missing.length === 0 && surplus.length === 0) return [fine(CHECK, `${file} is what fleet.toml makes now`)];
  const parts = [
    ...(missing.length === 0 ? [] : [`${describeCount(missing.length, "line")} of now not in it${show(missing)}`]),
    ...(surplus.length === 0 ? [] : [`${describeCount(surplus.length, "line")} of before still in it${show(surplus)}`]),
  ];
  const what = `${file} is older than what fleet.toml makes now: ${parts.join("; ")}`;
  return [{ check: CHECK, severity: "fail", what, why, fix: describeFix(hostFirewall) }];
}

function describeFix({ node, sshPort }: HostFirewallFact): string {
  const port = sshPort === 22 ? "" : ` --ssh-port ${sshPort}`;
  return (
    `in a checkout of the manifests: orca firewall render ${node}${port} > ${node}.nft; on this VM: orca firewall apply ${node}.nft, ` +
    "then orca firewall confirm from a new connection"
  );
}

/** Lines of the one that the other does not have; what a person has remarked is nobody's rule. */
function compare(one: string, other: string): string[] {
  const there = new Set(listRules(other));
  return listRules(one).filter((line) => !there.has(line));
}

function listRules(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim().replaceAll(/\s+/g, " "))
    .filter((line) => line !== "" && !line.startsWith("#"));
}

function show([first = ""]: readonly string[]): string {
  return ` (${first.length > LONGEST_LINE ? `${first.slice(0, LONGEST_LINE)}…` : first})`;
}
