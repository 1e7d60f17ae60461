// Asks iptables, nft and sshd how they are set, and looks which keys let somebody in. Reads only.

import { statSync } from "node:fs";

import type { FilterFact, Said } from "../../../doctor/baseline/baseline-facts.ts";
import { askProgram, type ProgramAnswer } from "../../../host/os/ask-program.ts";
import { HOST_TABLE } from "../../../setup/host-firewall.ts";
import { listNames, readText } from "./read-text.ts";

const METADATA = "169.254.169.254";

/** What asks a program; only a test has another one. */
export type Ask = typeof askProgram;

/** Reads the filters. */
export async function readFilter(ask: Ask = askProgram, root = ""): Promise<FilterFact> {
  // 1: there is no such chain, or no such table.
  const published = await ask("iptables", ["-S", "DOCKER-USER"], { codes: [1] });
  const ruleset = await ask("nft", ["-j", "list", "ruleset"]);
  const input4 = await ask("iptables", ["-S", "INPUT"]);
  const input6 = await ask("ip6tables", ["-S", "INPUT"]);
  const chains = ruleset.kind === "said" ? parseChains(ruleset.value) : [];
  const nftDenies = (family: "ip" | "ip6"): boolean =>
    chains.some(
      (chain) => chain.hook === "input" && chain.policy === "drop" && [family, "inet"].includes(chain.family),
    );
  const texts = [published, ruleset].flatMap((said) => (said.kind === "said" ? [said.value] : []));
  return {
    published: mapSaid(published, (text) => text.split("\n").filter((line) => line.startsWith("-A"))),
    hasHostTable: chains.some(({ table, hook }) => table === HOST_TABLE && hook === "prerouting"),
    denies4: nftDenies("ip") ? { kind: "said", value: true } : mapSaid(input4, denies),
    denies6: nftDenies("ip6") ? { kind: "said", value: true } : mapSaid(input6, denies),
    hasGlobal6: hasGlobal6(root),
    namesMetadata:
      texts.length > 0
        ? { kind: "said", value: texts.some((text) => text.includes(METADATA)) }
        : mapSaid(published, () => false),
  };
}

function mapSaid<T>(answer: ProgramAnswer, map: (text: string) => T): Said<T> {
  return answer.kind === "said" ? { kind: "said", value: map(answer.value) } : answer;
}

/** The policy of the chain, or a rule for everything that drops. */
function denies(text: string): boolean {
  return text.split("\n").some((line) => line === "-P INPUT DROP" || /^-A INPUT -j (DROP|REJECT)\b/.test(line));
}

function parseChains(text: string): { family: string; table?: string; hook?: string; policy?: string }[] {
  try {
    const { nftables } = JSON.parse(text) as {
      nftables: { chain?: { family: string; table?: string; hook?: string; policy?: string } }[];
    };
    return nftables.flatMap(({ chain }) => chain ?? []);
  } catch {
    return [];
  }
}

/** /proc/net/if_inet6: address, index, length of the prefix, scope (00: global), flags, device. fc00::/7 is private. */
function hasGlobal6(root: string): boolean {
  const lines = (readText(`${root}/proc/net/if_inet6`) ?? "").split("\n").map((line) => line.trim().split(/\s+/));
  return lines.some(
    ([address = "", , , scope]) => scope === "00" && !/^f[cd]/.test(address) && !/^0{31}1$/.test(address),
  );
}

/** The settings of sshd that are in force. */
export async function readSshd(ask: Ask = askProgram): Promise<Said<Record<string, string>>> {
  return mapSaid(await ask("sshd", ["-T"]), (text) =>
    Object.fromEntries(
      text.split("\n").flatMap((line) => {
        const at = line.indexOf(" ");
        return at === -1 ? [] : [[line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()] as const];
      }),
    ),
  );
}

/** Files with a key in them, of root and of everybody with a home. */
export function listSshKeyFiles(root = ""): string[] {
  const homes = ["/root", ...listNames(`${root}/home`).map((name) => `/home/${name}`)];
  const files = homes.flatMap((home) => [`${home}/.ssh/authorized_keys`, `${home}/.ssh/authorized_keys2`]);
  return files.filter((file) => /^(?![ \t]*#).*(?:ssh-|ecdsa-|sk-)/m.test(readText(`${root}${file}`) ?? ""));
}

/** True where fail2ban's server listens. */
export function hasFail2ban(root = ""): boolean {
  try {
    return statSync(`${root}/run/fail2ban/fail2ban.sock`) !== undefined;
  } catch {
    return false;
  }
}
