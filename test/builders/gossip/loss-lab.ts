// Two ends in network namespaces with a wire between them that loses packets: what the real kernel makes of the streams that the
// agents hold. For the test that ties the simulator's streams to it.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { makeIdentity } from "../../../agent/gossip/node-identity.ts";
import type { LossOrder, LossStart } from "./loss-member.ts";

let labs = 0;

const MEMBER = fileURLToPath(new URL("loss-member.ts", import.meta.url));

/** What is measured. */
export interface LossTrial extends LossOrder {
  /** Share of packets that are lost, in each direction. */
  loss: number;
  streams: number;
  isLinear: boolean;
}

/** What came of it: how long messages took, and how many never came. */
export interface LossTimes {
  delaysMs: number[];
  missing: number;
}

interface Answer {
  links: number;
  sent?: number;
  delaysMs?: number[];
}

/** Sends messages over real streams that lose packets. */
export async function measureLoss(trial: LossTrial): Promise<LossTimes> {
  const root = mkdtempSync(join(tmpdir(), "orca-loss-"));
  const lab = (labs += 1);
  const spaces = ["a", "b"].map((end) => `orca-l${process.pid}-${lab}${end}`);
  const children: ChildProcess[] = [];
  try {
    const ends = await Promise.all(
      spaces.map(async (space, index) => {
        const identityFile = join(root, space);
        const { publicKey } = await makeIdentity(identityFile);
        return { node: space, host: `10.97.0.${index + 1}`, identityFile, publicKey };
      }),
    );
    lay(spaces);
    const answers = ends.map((end, index) => {
      const { publicKey: _own, ...own } = end;
      const { node = "", host = "", publicKey = "" } = ends[1 - index] ?? {};
      const peer = { node, host, publicKey };
      const dials = index === 1 ? trial.streams : 0;
      const start: LossStart = { ...own, port: 7946, peer, dials, isLinear: trial.isLinear };
      const child = spawn("ip", ["netns", "exec", end.node, process.execPath, MEMBER, JSON.stringify(start)], {
        stdio: ["pipe", "pipe", "inherit"],
      });
      children.push(child);
      return createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    });
    await read(answers[1]);
    for (const space of spaces) lose(space, trial.loss);
    for (const { stdin } of children) stdin?.write(`${JSON.stringify(trial)}\n`);
    const outcome = [await read(answers[0]), await read(answers[1])];
    const delaysMs = outcome.flatMap((one) => one.delaysMs ?? []).toSorted((left, right) => left - right);
    const sent = outcome.reduce((sum, one) => sum + (one.sent ?? 0), 0);
    return { delaysMs, missing: sent - delaysMs.length };
  } finally {
    await Promise.all(children.map(stop));
    for (const space of spaces) execFileSync("ip", ["netns", "delete", space]);
    rmSync(root, { recursive: true, force: true });
  }
}

function lay(spaces: readonly string[]): void {
  const [one = "", other = ""] = spaces;
  for (const space of spaces) execFileSync("ip", ["netns", "add", space]);
  const peer = ["peer", "name", "wire", "netns", other];
  execFileSync("ip", ["link", "add", "wire", "netns", one, "type", "veth", ...peer]);
  for (const [index, space] of spaces.entries())
    for (const words of [
      ["addr", "add", `10.97.0.${index + 1}/24`, "dev", "wire"],
      ["link", "set", "wire", "up"],
    ])
      execFileSync("ip", ["-n", space, ...words]);
}

function lose(space: string, loss: number): void {
  const what = ["-A", "INPUT", "-p", "tcp", "-m", "statistic", "--mode", "random", "--probability", String(loss)];
  execFileSync("ip", ["netns", "exec", space, "iptables", ...what, "-j", "DROP"]);
}

async function read(lines: AsyncIterator<string> | undefined): Promise<Answer> {
  const next = await lines?.next();
  if (next === undefined || next.done === true) throw new Error("an end has died");
  return JSON.parse(next.value) as Answer;
}

async function stop(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  if (child.exitCode === null && child.signalCode === null) await new Promise((resolve) => child.once("exit", resolve));
}
