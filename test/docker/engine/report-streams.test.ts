// Logs and exec of real containers through the agent's socket: streams apart, exit codes, input, a terminal.

import { spawn } from "node:child_process";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { buildHttpd } from "../../../scripts/lab/engine/real-node.ts";
import { end, RealReport } from "../../builders/engine/real-report.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";

const TALK = '["sh", "-c", "echo first; echo oops >&2; i=0; while true; do i=$((i+1)); echo line $i; sleep 0.2; done"]';
/** 12 MB, more than the agent ever holds for a reader. */
const LOUD =
  "[\"sh\", \"-c\", \"l=$(printf '%1190s' '' | tr ' ' q); i=0; while [ $i -lt 10000 ]; do i=$((i+1)); echo line $i $l; done; sleep 600\"]";
const BRIEF = '["sh", "-c", "echo hello; sleep 2"]';

let agent: RealReport;

beforeAll(async () => {
  agent = new RealReport("streams");
  const health = 'exec = ["true"]';
  agent.node.set({
    talk: buildHttpd({ command: TALK, health }),
    loud: buildHttpd({ command: LOUD, health }),
    brief: buildHttpd({ command: BRIEF, health, tables: '[restart]\npolicy = "never"' }),
  });
  await agent.start();
  await agent.node.untilSettled(["talk"]);
});
afterAll(() => agent.dispose());

describe("logs", () => {
  test("of what was printed, stdout and stderr apart, the last so many lines", async () => {
    const all = await agent.orca(["logs", "talk", "--tail", "1000"]);
    expect(all.stdout).toMatch(/^first\nline 1\nline 2\n/);
    expect(all).toMatchObject({ code: 0, stderr: "oops\n" });
    const last = await agent.orca(["logs", "talk", "-n", "2"]);
    expect(last.stdout).toMatch(/^line \d+\nline \d+\n$/);
  });

  test("-f goes on with what comes, and ends when it is told to", async () => {
    const child = agent.begin(["logs", "talk", "-f", "--tail", "1"]);
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString()));
    await expect.poll(() => text.split("\n").length, { timeout: 40_000 }).toBeGreaterThan(5);
    const numbers = [...text.matchAll(/^line (\d+)$/gm)].map((match) => Number(match[1]));
    expect(numbers).toEqual(numbers.map((_number, index) => (numbers[0] ?? 0) + index));
    child.kill("SIGINT");
    await end(child);
  });

  test("however much it is, all of it comes, as fast as it is taken", async () => {
    await expect
      .poll(async () => (await agent.orca(["logs", "loud", "-n", "1"])).stdout, { timeout: 30_000 })
      .toMatch(/^line 10000 /);
    for (const follow of [[], ["-f"]]) {
      const child = agent.begin(["logs", "loud", "--tail", "10000", ...follow]);
      let [lines, bytes] = [0, 0];
      for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        for (const byte of chunk) if (byte === 10) lines += 1;
        // A reader that is slow at first is waited for, and gets nothing less.
        if (bytes < 200_000) await new Promise((resolve) => setTimeout(resolve, 100));
        if (lines === 10_000) child.kill("SIGINT");
      }
      expect(lines).toBe(10_000);
      expect(bytes).toBeGreaterThan(11_000_000);
    }
  });

  test("-f ends with the container", async () => {
    await agent.node.until("brief has ended", () => agent.node.view("brief")?.state === "completed");
    expect(await agent.orca(["logs", "brief", "-f"])).toEqual({ code: 0, stdout: "hello\n", stderr: "" });
  });
});

describe("exec", () => {
  test.each([0, 1, 42, 255])("ends with the command's own exit code %d", async (code) => {
    expect((await agent.orca(["exec", "talk", "--", "sh", "-c", `exit ${code}`])).code).toBe(code);
  });

  test("keeps stdout and stderr apart, and arguments whole", async () => {
    const script = 'printf "%s|" "$@"; echo >&2 err';
    const ended = await agent.orca(["exec", "talk", "--", "sh", "-c", script, "-", "a b", "", "$HOME", "--json", "-f"]);
    expect(ended).toEqual({ code: 0, stdout: "a b||$HOME|--json|-f|", stderr: "err\n" });
  });

  test("hands input on to its end, byte for byte", async () => {
    const input = Buffer.alloc(3 * 2 ** 20, "0123456789abcdef\n\0\r\n\u0004");
    const ended = await agent.orca(["exec", "-i", "talk", "--", "sh", "-c", "wc -c; echo done"], { input });
    expect(ended).toMatchObject({ code: 0, stdout: expect.stringMatching(/^ *3145728\ndone\n$/) as string });
  });

  test("without -i the command has no input to wait for", async () => {
    expect(await agent.orca(["exec", "talk", "--", "cat"], { input: "never read" })).toEqual({
      code: 0,
      stdout: "",
      stderr: "",
    });
  });

  test("much output comes whole", async () => {
    const { code, stdout } = await agent.orca([
      "exec",
      "talk",
      "--",
      "sh",
      "-c",
      "head -c 5000000 /dev/zero | tr '\\0' x",
    ]);
    expect([code, stdout.length]).toEqual([0, 5_000_000]);
  });

  test("a program that is not there is an error as Docker's", async () => {
    const ended = await agent.orca(["exec", "talk", "--", "no-such-program"]);
    expect([ended.code, `${ended.stdout}${ended.stderr}`]).toEqual([126, expect.stringContaining("no-such-program")]);
  });

  test("a command goes on at most as long as its caller: when that leaves, its terminal does", async () => {
    const child = agent.begin(["exec", "-i", "talk", "--", "sh", "-c", "echo ready; cat"]);
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString()));
    await expect.poll(() => text, { timeout: 40_000 }).toContain("ready");
    child.kill("SIGKILL");
    await end(child);
    await expect
      .poll(async () => (await agent.orca(["exec", "talk", "--", "sh", "-c", "ps | grep -c ' [c]at$'"])).stdout, {
        timeout: 15_000,
      })
      .toBe("0\n");
  });

  test("-t gives a terminal of our size, which follows ours", async () => {
    // An engine of this age makes the terminal first and sizes it a moment later. script(1) makes a terminal around the whole command line, as a person's is.
    const command = `stty rows 33 cols 111; ${process.execPath} ${PROGRAM} exec -it talk -- sh -c 'sleep 1; tty; stty size; read line; echo "got $line"; exit 6'`;
    const child = spawn("script", ["-qec", command, "/dev/null"], {
      env: { ...process.env, ORCA_SOCKET: agent.socketPath, SHELL: "/bin/sh" },
    });
    const closed = new Promise((resolve) => child.once("close", resolve));
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    await expect.poll(() => text, { timeout: 60_000 }).toContain("33 111");
    expect(text).toContain("/dev/pts/");
    child.stdin.write("typed\n");
    await expect.poll(() => text, { timeout: 60_000 }).toContain("got typed");
    expect(await closed).toBe(6);
  });
});
