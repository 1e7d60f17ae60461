// One-shot containers on the real engine: what a program has written, how it ended, and that nothing is left of it.

import { execFileSync } from "node:child_process";

import { afterAll, expect, test } from "vitest";

import { openEngine } from "../../../agent/docker/engine.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";

const engine = openEngine("/var/run/docker.sock");
const NODE = nameForRun("one-shots");
const IMAGE = "orca-test/busybox:1";

afterAll(() => engine.close());

function run(script: string, memoryBytes = 32 * 2 ** 20): ReturnType<typeof engine.oneShots.run> {
  return engine.oneShots.run({
    job: "test:one/shot",
    node: NODE,
    image: IMAGE,
    argv: ["sh", "-c", script],
    env: { SAID: "hello" },
    user: undefined,
    network: "none",
    memoryBytes,
    binds: [],
  });
}

async function readAll(output: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of output) chunks.push(chunk);
  return Buffer.concat(chunks).toString("latin1");
}

function listLeft(): string {
  return execFileSync("docker", ["ps", "-aq", "--filter", `label=orca.job.node=${NODE}`], { encoding: "utf8" }).trim();
}

test.each([0, 1, 3, 137])("a program that ends with %i is known to have, however quick it was", async (code) => {
  for (let turn = 0; turn < 5; turn += 1) {
    const running = await run(`echo "$SAID"; echo aside >&2; exit ${code}`);
    expect(await readAll(running.output)).toBe("hello\n");
    expect(await running.ended).toMatchObject({ exitCode: code, stderr: "aside\n", outOfMemory: false });
  }
  expect(listLeft()).toBe("");
});

test("what is written comes whole, byte by byte, and in order", async () => {
  const running = await run("i=0; while [ $i -lt 3000 ]; do printf '%08d\\r\\n\\000' $i; i=$((i+1)); done");
  const expected = Array.from({ length: 3_000 }, (_, at) => `${String(at).padStart(8, "0")}\r\n\0`).join("");
  expect(await readAll(running.output)).toBe(expected);
  expect(await running.ended).toMatchObject({ exitCode: 0 });
});

test("one that is killed by its signal, and one that takes too much memory, have not ended well", async () => {
  const killed = await run("sleep 60 & kill -9 $!; wait $!");
  await readAll(killed.output);
  expect((await killed.ended).exitCode).not.toBe(0);
  const greedy = await run("x=$(cat /dev/zero | tr '\\0' x | head -c 200000000); echo $x", 8 * 2 ** 20);
  await readAll(greedy.output);
  expect((await greedy.ended).exitCode).not.toBe(0);
  expect(listLeft()).toBe("");
});

test("one that is given up is ended, and sweeping takes away what was left", async () => {
  const running = await run("sleep 600");
  await running.cancel();
  await running.cancel();
  expect(listLeft()).toBe("");
  await run("sleep 600");
  expect(listLeft()).not.toBe("");
  expect(await engine.oneShots.sweep(NODE)).toBe(1);
  expect(listLeft()).toBe("");
});

test("a container whose image brings these labels is not taken for one of them", async () => {
  const image = "orca-test/labelled-as-job:1";
  execFileSync("docker", ["build", "-q", "-t", image, "-"], {
    input: `FROM ${IMAGE}\nLABEL orca.job=x orca.job.node=${NODE}\n`,
    env: { ...process.env, DOCKER_BUILDKIT: "0" },
  });
  const id = execFileSync("docker", ["run", "-d", image, "sleep", "600"], { encoding: "utf8" }).trim();
  try {
    expect(await engine.oneShots.sweep(NODE)).toBe(0);
    expect(execFileSync("docker", ["inspect", "-f", "{{.State.Running}}", id], { encoding: "utf8" }).trim()).toBe(
      "true",
    );
  } finally {
    execFileSync("docker", ["rm", "-f", id]);
    execFileSync("docker", ["rmi", image]);
  }
});

test("it has no network, cannot write, and cannot gain a privilege", async () => {
  const running = await run(
    "ip -o addr | grep -v ' lo ' | wc -l; touch /x 2>/dev/null || echo read-only; grep -E 'CapEff|NoNewPrivs' /proc/self/status",
  );
  const said = await readAll(running.output);
  expect(said).toMatch(/^0\nread-only\n/);
  expect(said).toMatch(/CapEff:\s*0{16}/);
  expect(said).toMatch(/NoNewPrivs:\s*1/);
  await running.ended;
});
