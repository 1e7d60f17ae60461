// A fleet of members that only gossip, each a process in a network namespace of its own, joined by a switch. For fleet-bench.ts.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

import { makeIdentity } from "../../agent/gossip/node-identity.ts";
import type { FleetMember } from "../../shared/state/desired-state.ts";
import { MEASURE_DIAL, type MemberStart, type Notice } from "./member-words.ts";
import { readUnitFlags } from "./lab.ts";

const MEMBER = fileURLToPath(new URL("gossip-member.ts", import.meta.url));
const TICKS_PER_SECOND = 100;

/** One member. */
export interface Member {
  start: MemberStart;
  namespace: string;
  wire: string;
  process: ChildProcess | undefined;
  notices: Notice[];
}

/** A fleet of members in namespaces. */
export class MemberFleet {
  readonly members: Member[] = [];
  readonly #root = mkdtempSync(join(tmpdir(), "orca-members-"));
  readonly #program = join(this.#root, "member.mjs");
  readonly #name = `orca-m${process.pid}`;

  async create(count: number): Promise<void> {
    await buildMember(this.#program);
    execFileSync("ip", ["netns", "add", `${this.#name}-sw`]);
    this.#inSwitch("link", "add", "br0", "type", "bridge");
    this.#inSwitch("link", "set", "br0", "up");
    const fleet: FleetMember[] = [];
    for (let index = 1; index <= count; index += 1) {
      const node = `m${String(index).padStart(2, "0")}`;
      const identityFile = join(this.#root, node);
      const { publicKey } = await makeIdentity(identityFile);
      const address = `10.98.0.${index}`;
      fleet.push({ node, realm: "prod", address, publicKey });
      const start = { node, listen: `${address}:7946`, identityFile, stateDir: join(this.#root, `${node}-state`) };
      const member = {
        start: { ...start, source: { fleet, interests: [] } },
        namespace: `${this.#name}-${index}`,
        wire: `w${index}`,
      };
      this.#connect(member.namespace, member.wire, address);
      this.members.push({ ...member, process: undefined, notices: [] });
    }
  }

  /** Starts a member; answers when, on the machine's monotonic clock. */
  start(member: Member): number {
    const { flags } = readUnitFlags();
    const atMs = now();
    const child = spawn(
      "ip",
      ["netns", "exec", member.namespace, process.execPath, ...flags, this.#program, JSON.stringify(member.start)],
      { stdio: ["pipe", "pipe", "inherit"] },
    );
    createInterface({ input: child.stdout }).on("line", (line) => member.notices.push(JSON.parse(line) as Notice));
    member.process = child;
    return atMs;
  }

  /** All but one. */
  except(member: Member): Member[] {
    return this.members.filter((other) => other !== member);
  }

  /** Takes a member's wire out of the switch, or puts it back: the member's own end notices nothing, as of a cut further away. */
  cut({ wire }: Member, isCut = true): void {
    this.#inSwitch("link", "set", wire, ...(isCut ? ["nomaster"] : ["master", "br0"]));
  }

  /** Waits until members have noticed something since a moment; answers when each did first, on the monotonic clock. */
  async times(
    what: (notice: Notice) => boolean,
    { sinceMs, of = this.members }: { sinceMs: number; of?: readonly Member[] },
  ): Promise<number[]> {
    for (let left = 600; left > 0; left -= 1) {
      const found = of.map(({ notices }) => findFirst(notices, what, sinceMs));
      if (found.every((atMs) => atMs !== undefined)) return found;
      await sleep(50);
    }
    throw new Error("the members did not come to know within 30 s");
  }

  /** Bytes and packets that each member has sent, by the switch's side of its wire. */
  readSent(): { bytes: number; packets: number }[] {
    return this.members.map(({ wire }) => {
      const text = execFileSync("ip", ["netns", "exec", `${this.#name}-sw`, "ip", "-s", "-j", "link", "show", wire], {
        encoding: "utf8",
      });
      const [link] = JSON.parse(text) as { stats64: { rx: { bytes: number; packets: number } } }[];
      return link?.stats64.rx ?? { bytes: 0, packets: 0 };
    });
  }

  /** What each member's one thread of work has spent on a core so far: finer than the ticks of `readCosts`. */
  readCpuMs(): number[] {
    return this.members.map(({ process: child }) => {
      const [spentNs = "0"] = readFileSync(`/proc/${child?.pid}/schedstat`, "utf8").split(" ");
      return Number(spentNs) / 1e6;
    });
  }

  /** What one dial to a closed port takes a member of a core. */
  async measureDialMs(): Promise<number> {
    const [member] = this.members;
    if (member === undefined) throw new Error("there is no member");
    const sinceMs = now();
    member.process?.stdin?.write(`${MEASURE_DIAL}\n`);
    await this.times(({ what }) => what === "cost", { sinceMs, of: [member] });
    return Number(member.notices.findLast(({ what }) => what === "cost")?.value);
  }

  /** CPU seconds and resident bytes of each member. */
  readCosts(): { cpuSeconds: number; residentBytes: number }[] {
    return this.members.map(({ process: child }) => {
      // Its process is what `ip netns exec` became.
      const stat = readFileSync(`/proc/${child?.pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
      const status = readFileSync(`/proc/${child?.pid}/status`, "utf8");
      const resident = Number(/^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
      return { cpuSeconds: (Number(stat[11]) + Number(stat[12])) / TICKS_PER_SECOND, residentBytes: resident };
    });
  }

  async destroy(): Promise<void> {
    for (const { process: child, namespace } of this.members) {
      child?.kill("SIGKILL");
      if (child !== undefined && child.exitCode === null && child.signalCode === null)
        await new Promise((resolve) => child.once("exit", resolve));
      execFileSync("ip", ["netns", "delete", namespace]);
    }
    execFileSync("ip", ["netns", "delete", `${this.#name}-sw`]);
    rmSync(this.#root, { recursive: true, force: true });
  }

  #connect(namespace: string, wire: string, address: string): void {
    execFileSync("ip", ["netns", "add", namespace]);
    const peer = ["peer", "name", "lan0", "netns", namespace];
    execFileSync("ip", ["link", "add", wire, "netns", `${this.#name}-sw`, "type", "veth", ...peer]);
    this.#inSwitch("link", "set", wire, "master", "br0", "up");
    for (const words of [
      ["addr", "add", `${address}/24`, "dev", "lan0"],
      ["link", "set", "lan0", "up"],
      ["link", "set", "lo", "up"],
    ])
      execFileSync("ip", ["-n", namespace, ...words]);
  }

  #inSwitch(...words: string[]): void {
    execFileSync("ip", ["-n", `${this.#name}-sw`, ...words]);
  }
}

/** When something was noticed first since a moment. Notices are in order; what is before the moment is not looked at. */
function findFirst(notices: readonly Notice[], what: (notice: Notice) => boolean, sinceMs: number): number | undefined {
  let atMs: number | undefined;
  for (let index = notices.length - 1; index >= 0; index -= 1) {
    const notice = notices[index];
    if (notice === undefined || notice.atMs < sinceMs) break;
    if (what(notice)) ({ atMs } = notice);
  }
  return atMs;
}

/** Bundles the program of a member: V8's lite mode has no WebAssembly, which reading TypeScript as it is needs. */
export async function buildMember(outfile: string): Promise<void> {
  await build({
    entryPoints: [MEMBER],
    outfile,
    bundle: true,
    minify: true,
    platform: "node",
    target: "node24",
    format: "esm",
    logLevel: "warning",
    banner: { js: 'import { createRequire as r } from "node:module"; const require = r(import.meta.url);' },
  });
}

/** The machine's monotonic clock, which every process shares. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
