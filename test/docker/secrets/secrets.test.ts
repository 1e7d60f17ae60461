// Secrets on the real engine, through the real program: delivered with the right owner in memory, rotated in place, and a
// canary that is looked for in everything the agent writes, shows or tells the engine.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { chooseSecretDirectory } from "../../../agent/host/os/memory-directory.ts";
import { CanaryFinder } from "../../../scripts/lab/canary/canary.ts";
import { expectNoSecretLeft, sweepNode } from "../../../scripts/lab/canary/canary-sweep.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { buildHttpd } from "../../../scripts/lab/engine/real-node.ts";
import { eventually } from "../../contract/docker-port.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";

const NODE = nameForRun("secrets");
const STATUS = `127.0.0.1:${await findPort()}`;
const root = mkdtempSync(join(tmpdir(), "orca-secrets-"));
const state = join(root, "state");
const file = join(root, "secrets.age");
const manifests = join(root, "platform", "orca", "manifests", NODE);
const bootstrap = join(root, "bootstrap.env");
const policy = join(root, "policy.toml");
let agent: OrcaProcess;

/** Marked values, with characters that change in JSON, URLs and shells. */
const CANARIES = {
  "/prod/app/PASSWORD": 'canary-3f1"one&two/three=four',
  "/prod/app/TOKEN": "canary-77c0ffee-token-of-the-app",
  "/prod/app/KEY": "-----BEGIN KEY-----\ncanaryMC4CAQAwBQYDK2VwBCIEIJDYvh6SEqVTm50DFtMD\n-----END KEY-----",
};
const BOOTSTRAP_CANARY = "canary-bootstrap-91aa";
const ROTATED_CANARY = "canary-a-new-value-5150";

function orca(words: readonly string[], input = ""): { status: number | null; output: string } {
  const run = spawnSync(process.execPath, [PROGRAM, ...words], {
    input,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", ORCA_SOCKET: join(state, "agent.sock") },
  });
  return { status: run.status, output: run.stdout + run.stderr };
}

function setSecret(path: string, value: string): void {
  const { status, output } = orca(["secrets", "set", path, "--file", file], value);
  if (status !== 0) throw new Error(output);
}

async function fetchText(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get(`http://${STATUS}${path}`, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.once("end", () => resolve(text));
      // The event stream has no end of its own.
      if (path === "/events") setTimeout(() => resolve(text), 500);
    });
    request.once("error", reject);
  });
}

const finder = new CanaryFinder({ ...CANARIES, bootstrap: BOOTSTRAP_CANARY, rotated: ROTATED_CANARY });

async function idOf(service: string): Promise<string> {
  return (
    await docker(
      "ps",
      "-aq",
      "--no-trunc",
      "--filter",
      `label=orca.node=${NODE}`,
      "--filter",
      `label=orca.service=${service}`,
    )
  ).trim();
}

const STARTED = 'command = ["/bin/sh", "-c", ';

beforeAll(async () => {
  mkdirSync(manifests, { recursive: true });
  for (const [path, value] of Object.entries(CANARIES)) setSecret(path, value);
  writeFileSync(bootstrap, `BOOT_PASSWORD=${BOOTSTRAP_CANARY}\n`, { mode: 0o600 });
  writeFileSync(policy, `[bootstrap]\nallowed_files = ["${bootstrap}"]\n`);
  const files =
    '[secrets]\non_rotate = { signal = "SIGHUP" }\n[secrets.files]\n"db.password" = "/prod/app/PASSWORD"\n"tls.key" = "/prod/app/KEY"';
  // Writes down each SIGHUP with the file as it sees it then; prints what it was given, as careless programs do.
  const script =
    "cat /run/secrets/*; base64 /run/secrets/db.password; trap 'cat $DB_PASSWORD_FILE > /scratch/seen' HUP; httpd -f -p 8080 -h /etc & while :; do wait; done";
  writeFileSync(
    join(manifests, "files.toml"),
    buildHttpd({
      top: 'user = "1234:4321"\ntmpfs = ["/scratch:mode=1777"]',
      command: `["/bin/sh", "-c", "${script}"]`,
      tables: files,
    }),
  );
  // Prints its variables and ends, again and again, before so many probes have failed: its last lines are kept and shown.
  writeFileSync(
    join(manifests, "careless.toml"),
    `image = "orca-test/busybox:1"\n${STARTED}"echo token $TOKEN; env | base64; echo $BOOT_PASSWORD >&2; sleep 1; exit 3"]\n` +
      '[resources]\nmemory = "16MiB"\n[health]\nexec = ["/bin/sh", "-c", "echo probe $TOKEN; exit 1"]\ninterval = "1s"\nretries = 9\n' +
      `[secrets.env]\nTOKEN = "/prod/app/TOKEN"\n[bootstrap]\nenv_file = "${bootstrap}"\n`,
  );
  // Prints lines that the engine cuts in two in the middle of a value, on both streams, then lines for as long as it lives.
  const long = "printf '%16376s' ''; echo $(cat /run/secrets/token) end";
  const halves = `${long}; { ${long}; } >&2; while :; do sleep 1; echo tick; done`;
  writeFileSync(
    join(manifests, "halves.toml"),
    `image = "orca-test/busybox:1"\n${STARTED}"${halves}"]\n[resources]\nmemory = "16MiB"\n` +
      '[health]\nexec = ["/bin/true"]\n[secrets.files]\ntoken = "/prod/app/TOKEN"\n',
  );
  const options = ["--secrets", file, "--state", state, "--listen", STATUS, "--policy", policy];
  agent = new OrcaProcess(["up", join(root, "platform"), ...options]);
  const status = (): Promise<string> => fetchText("/v1/status").catch(() => "");
  await eventually(async () => /"state": ?"healthy"/.test(await status()), 30_000).catch(async (error: unknown) => {
    throw new Error(`${agent.output}\n${await status()}`, { cause: error });
  });
});

afterAll(async () => {
  await agent.stop();
  orca(["up", join(root, "platform"), "--state", state, "--down"]);
  rmSync(root, { recursive: true, force: true });
});

describe("files", () => {
  test("lie in memory, read-only, with the owner and mode that the container's user needs", async () => {
    const id = await idOf("files");
    const inside = (...command: string[]): Promise<string> => docker("exec", id, ...command);
    expect(await inside("stat", "-c", "%a %u:%g", "/run/secrets/db.password")).toBe("400 1234:4321");
    expect(await inside("cat", "/run/secrets/tls.key")).toBe(CANARIES["/prod/app/KEY"]);
    expect(await inside("sh", "-c", "echo $DB_PASSWORD_FILE $TLS_KEY_FILE")).toBe(
      "/run/secrets/db.password /run/secrets/tls.key",
    );
    expect(await inside("sh", "-c", "grep ' /run/secrets ' /proc/mounts | cut -d' ' -f1,4")).toMatch(/^tmpfs ro\b/);
    await expect(inside("sh", "-c", "echo x > /run/secrets/db.password")).rejects.toThrow(/Read-only|denied/);
  });

  test("a new value is put in place and the service is signalled: the same container sees it", async () => {
    const id = await idOf("files");
    setSecret("/prod/app/PASSWORD", ROTATED_CANARY);
    const seen = (): Promise<string> => docker("exec", id, "cat", "/scratch/seen").catch(() => "");
    await eventually(async () => (await seen()) === ROTATED_CANARY, 20_000);
    setSecret("/prod/app/PASSWORD", CANARIES["/prod/app/PASSWORD"]);
    await eventually(async () => (await seen()) === CANARIES["/prod/app/PASSWORD"], 20_000);
    expect(await idOf("files")).toBe(id);
  });
});

describe("the canary", () => {
  beforeAll(async () => {
    // Until the careless one has crashed a few times and its last lines have been taken.
    await eventually(() => /exit code 3/.test(orca(["why", "careless"]).output), 20_000);
    await eventually(async () => (await fetchText("/why/careless")).includes("restart"), 20_000);
  });

  test("what it printed is kept without the values, so that the search means something", async () => {
    // The last lines of a run that the agent ended are not kept: sooner or later one ends by itself.
    await eventually(() => orca(["why", "careless"]).output.includes("token [REDACTED]"), 30_000);
  });

  test("is not in what orca logs shows, neither of a service that prints it in many forms nor of one that prints it in pieces", async () => {
    for (const [service, shown] of [
      ["files", "[REDACTED]"],
      ["careless", "token [REDACTED]"],
      ["halves", "   [REDACTED] end"],
    ] as const) {
      const { status, output } = orca(["logs", service]);
      expect(status).toBe(0);
      expect(output).toContain(shown);
      expect(finder.find(output)).toEqual([]);
    }
    // The engine itself has them, so that the search means something.
    expect(finder.find(await docker("logs", await idOf("files")))).not.toEqual([]);
  });

  test("followed, it is taken out too, and whole lines come as they are printed", async () => {
    const environment = { ORCA_SOCKET: join(state, "agent.sock") };
    const follow = new OrcaProcess(["logs", "halves", "-f"], { environment });
    await eventually(() => follow.output.split("tick").length > 2, 20_000);
    const { length } = follow.output;
    await eventually(() => follow.output.length >= length + "tick\n".length, 5_000);
    await follow.stop();
    expect(finder.find(follow.output)).toEqual([]);
    // The engine loses the newline of a line that it has cut.
    expect(follow.output.split("   [REDACTED] end")).toHaveLength(3);
  });

  test.each(["/", "/v1/status", "/why/files", "/why/careless", "/v1/why/careless", "/metrics", "/events", "/readyz"])(
    "is not at %s",
    async (path) => {
      const text = await fetchText(path);
      expect(text.length).toBeGreaterThan(0);
      expect(finder.find(text)).toEqual([]);
    },
  );

  test.each([
    ["status", "--json"],
    ["why", "files"],
    ["why", "careless"],
    ["plan", "--json"],
    ["audit", "--state", state],
    ["secrets", "list", "--file", file],
  ])("is not in the output of orca %s %s", (...words) => {
    const { output } = orca(words);
    expect(output.length).toBeGreaterThan(0);
    expect(finder.find(output)).toEqual([]);
  });

  test("is nowhere in what the agent has written, printed and told, nor in what the engine shows and keeps", async () => {
    const names = readdirSync(state);
    expect(names).toEqual(expect.arrayContaining(["orca.db", "orca.db-wal", "secrets.sealed", "host.key"]));
    // What is in a variable is shown by the engine: that is what [secrets.env] and bootstrap files are.
    const visible = ["TOKEN", "BOOT_PASSWORD"].map((name) => ({ service: "careless", name }));
    const { looked } = await expectNoSecretLeft({
      node: NODE,
      stateDir: state,
      listen: STATUS,
      socketPath: join(state, "agent.sock"),
      finder,
      visible,
      // They print what they were given; their own log at the engine is theirs.
      talkative: ["files", "careless"],
      texts: { "its output": agent.output },
    });
    for (const place of ["engine", "processes", "files", "output", "loopback", "socket"])
      expect(looked[place], place).toBeGreaterThan(0);
  });

  test("would be found in the engine's answers: a variable whose value is shown there is, unless it is named", async () => {
    const places = { node: NODE, stateDir: state, finder, talkative: ["files", "careless"] };
    const { hits } = await sweepNode(places);
    expect(new Set(hits.map(({ what }) => what.replace(/ as .*/, "")))).toEqual(
      new Set(["/prod/app/TOKEN", "bootstrap"]),
    );
    expect(hits.map(({ where }) => where)).toContain("docker inspect careless");
    // The engine writes them to its disk as well.
    expect(hits.map(({ where }) => where).join("\n")).toMatch(/config\.v2\.json/);
    const chatty = await sweepNode({ ...places, talkative: [] });
    expect(chatty.hits.length).toBeGreaterThan(hits.length);
  });

  test("is gone from memory when the service is", async () => {
    rmSync(join(manifests, "files.toml"));
    // The reason is wrapped where the line ends.
    const says = (): string => orca(["status"]).output.replaceAll(/\s+/g, " ");
    await eventually(() => says().includes("it is no longer in Git"), 20_000);
    const memory = chooseSecretDirectory(`/run/orca/${NODE}`);
    expect(readdirSync(memory, { recursive: true }).join()).toContain("db.password");
    await agent.stop();
    const down = orca(["up", join(root, "platform"), "--state", state, "--down"]);
    expect(down.output).not.toContain("canary");
    expect(existsSync(memory)).toBe(false);
  });
});
