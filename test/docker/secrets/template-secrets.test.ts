// Files with secrets in them on the real engine, through the real program: read by the container's own user, changed in place,
// behind a front, and nowhere on a disk or in what the engine shows.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { CanaryFinder } from "../../../scripts/lab/canary/canary.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { buildHttpd } from "../../../scripts/lab/engine/real-node.ts";
import { buildUserImage, USER_IMAGE } from "../../builders/engine/user-image.ts";
import { eventually } from "../../contract/docker-port.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";

const NODE = nameForRun("templates");
const root = mkdtempSync(join(tmpdir(), "orca-templates-"));
const state = join(root, "state");
const file = join(root, "secrets.age");
const manifests = join(root, "platform", "orca", "manifests", NODE);
const STATUS = `127.0.0.1:${await findPort()}`;
let agent: OrcaProcess;

const PASSWORD = 'canary-91"x&y/z=q';
const TOKEN = "canary-token-44f1";
const NEW = "canary-new-value-5150";

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

async function idOf(service: string): Promise<string> {
  const filters = [`label=orca.node=${NODE}`, `label=orca.service=${service}`].flatMap((text) => ["--filter", text]);
  return (await docker("ps", "-aq", "--no-trunc", ...filters)).trim();
}

const finder = new CanaryFinder({ PASSWORD, TOKEN, NEW });

/** Files below a directory that hold a value in any form. */
function search(directory: string): string[] {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => {
      return finder.find(readFileSync(path)).length > 0;
    });
}

const status = (): string => orca(["status", "--json"]).output;
const isHealthy = (service: string): boolean => {
  const text = status();
  // The socket of an agent that was killed is still there.
  if (!text.startsWith("{")) return false;
  const { services } = JSON.parse(text) as { services: { name: string; state: string }[] };
  return services.some((entry) => entry.name === service && entry.state === "healthy");
};

function startAgent(): OrcaProcess {
  return new OrcaProcess(["up", join(root, "platform"), "--secrets", file, "--state", state, "--listen", STATUS]);
}

beforeAll(async () => {
  buildUserImage();
  mkdirSync(join(manifests, "files"), { recursive: true });
  setSecret("/prod/app/PASSWORD", PASSWORD);
  setSecret("/prod/app/TOKEN", TOKEN);
  setSecret("/prod/stranger/TOKEN", TOKEN);
  writeFileSync(
    join(manifests, "files/app.json"),
    '{ "password": {{ secrets["db.password"] | json }}, "token": "{{ secrets.TOKEN }}" }\n',
  );
  // Writes down what it sees at each SIGHUP; runs as the image's own user, who has a name.
  const script =
    "trap 'cat /etc/app/app.json /run/secrets/db.password > /scratch/seen' HUP; httpd -f -p 8080 -h /etc & while :; do wait; done";
  writeFileSync(
    join(manifests, "app.toml"),
    buildHttpd({
      image: USER_IMAGE.image,
      top: 'tmpfs = ["/scratch:mode=1777"]',
      command: `["/bin/sh", "-c", "${script}"]`,
      tables:
        '[secrets]\non_rotate = { signal = "SIGHUP" }\n[secrets.templates]\nTOKEN = "/prod/app/TOKEN"\n' +
        '[secrets.files]\n"db.password" = "/prod/app/PASSWORD"\n' +
        '[[files]]\nsource = "files/app.json"\ntarget = "/etc/app/app.json"\ntemplate = true\n',
    }),
  );
  // A user whom the image does not know, with a secret of its own: what never settles lets nobody else take a newer value.
  writeFileSync(
    join(manifests, "stranger.toml"),
    buildHttpd({
      image: USER_IMAGE.image,
      top: 'user = "stranger"',
      tables: '[secrets.files]\ntoken = "/prod/stranger/TOKEN"',
    }),
  );
  agent = startAgent();
  await eventually(() => existsSync(join(state, "agent.sock")) && isHealthy("app"), 30_000).catch((error: unknown) => {
    throw new Error(`${agent.output}\n${status()}`, { cause: error });
  });
});

afterAll(async () => {
  await agent.stop();
  orca(["up", join(root, "platform"), "--state", state, "--down"]);
  rmSync(root, { recursive: true, force: true });
});

describe("a container whose user has a name", () => {
  test("reads both files as that user, from memory and read-only; nobody else in it may", async () => {
    const id = await idOf("app");
    const inside = (...command: string[]): Promise<string> => docker("exec", id, ...command);
    expect(await inside("cat", "/etc/app/app.json")).toBe(
      `{ "password": ${JSON.stringify(PASSWORD)}, "token": "${TOKEN}" }`,
    );
    expect(await inside("cat", "/run/secrets/db.password")).toBe(PASSWORD);
    const owner = `400 ${USER_IMAGE.uid}:${USER_IMAGE.gid}`;
    for (const path of ["/etc/app/app.json", "/run/secrets/db.password"]) {
      expect(await inside("stat", "-c", "%a %u:%g", path)).toBe(owner);
      await expect(docker("exec", "--user", "other", id, "cat", path)).rejects.toThrow(/Permission denied/);
      await expect(docker("exec", "--user", "0", id, "sh", "-c", `echo x > ${path}`)).rejects.toThrow(/Read-only/);
    }
    const mounts = await inside(
      "sh",
      "-c",
      "grep -E ' (/etc/app/app.json|/run/secrets) ' /proc/mounts | cut -d' ' -f1,4",
    );
    for (const line of mounts.split("\n")) expect(line).toMatch(/^tmpfs ro\b/);
  });

  test("sees a new value in place, and is signalled: the same container, the same process", async () => {
    const id = await idOf("app");
    const pid = await docker("inspect", "--format", "{{.State.Pid}}", id);
    setSecret("/prod/app/TOKEN", NEW);
    const seen = (): Promise<string> => docker("exec", id, "cat", "/scratch/seen").catch(() => "");
    await eventually(async () => (await seen()).includes(`"token": "${NEW}"`), 20_000);
    expect(await docker("exec", id, "stat", "-c", "%a %u", "/etc/app/app.json")).toBe(`400 ${USER_IMAGE.uid}`);
    expect(await docker("inspect", "--format", "{{.State.Pid}}", await idOf("app"))).toBe(pid);
  });

  test("a value that would break out of the file is not taken, and status says what to write", async () => {
    const id = await idOf("app");
    setSecret("/prod/app/TOKEN", 'x", "admin": "true');
    await eventually(() => orca(["why", "app"]).output.includes("{{ secrets.TOKEN | json }}"), 20_000);
    expect(orca(["why", "app"]).output).not.toContain("admin");
    expect(await docker("exec", id, "cat", "/etc/app/app.json")).toContain(NEW);
    setSecret("/prod/app/TOKEN", TOKEN);
    await eventually(async () => (await docker("exec", id, "cat", "/etc/app/app.json")).includes(TOKEN), 20_000);
  });

  test("kill -9 of the agent in the middle of a rotation: its successor ends it", async () => {
    const id = await idOf("app");
    setSecret("/prod/app/TOKEN", NEW);
    await agent.kill();
    agent = startAgent();
    await eventually(async () => (await docker("exec", id, "cat", "/etc/app/app.json")).includes(NEW), 30_000);
    await eventually(() => isHealthy("app"), 20_000);
    expect(await idOf("app")).toBe(id);
  });
});

test("a user whom the image does not know: the engine refuses the start, and status says so", async () => {
  await eventually(() => orca(["why", "stranger"]).output.includes("unable to find user stranger"), 20_000);
});

describe("the values", () => {
  test("are on no disk: not in the state, not in the engine's own files, while the file itself is found", async () => {
    const id = await idOf("app");
    const source = await docker(
      "inspect",
      "--format",
      '{{range .Mounts}}{{if eq .Destination "/etc/app/app.json"}}{{.Source}}{{end}}{{end}}',
      id,
    );
    // The search finds what is there.
    expect(search(join(source, ".."))).toEqual([source]);
    expect(source.startsWith(state)).toBe(false);
    expect(readdirSync(state)).toEqual(expect.arrayContaining(["orca.db", "orca.db-wal", "secrets.sealed"]));
    expect(search(state)).toEqual([]);
    const engineRoot = await docker("info", "--format", "{{.DockerRootDir}}");
    expect(search(join(engineRoot, "containers", id))).toEqual([]);
    // The recipe is what is kept.
    const database = ["orca.db", "orca.db-wal"].map((name) => readFileSync(join(state, name), "latin1")).join("");
    expect(database).toContain("{{ secrets.TOKEN }}");
  });

  test("are in nothing that the engine, the agent or its commands show", async () => {
    expect(finder.find(await docker("inspect", await idOf("app")))).toEqual([]);
    expect(finder.find(agent.output)).toEqual([]);
    for (const words of [
      ["status", "--json"],
      ["why", "app"],
      ["plan", "--json"],
      ["audit", "--state", state],
      ["lint", join(root, "platform")],
    ]) {
      const { output } = orca(words);
      expect(output.length).toBeGreaterThan(0);
      expect([words, finder.find(output)]).toEqual([words, []]);
    }
    expect(orca(["audit", "--state", state]).output).toContain("/etc/app/app.json");
  });

  test("are nowhere where anybody could look", async () => {
    const places = { node: NODE, stateDir: state, listen: STATUS, socketPath: join(state, "agent.sock"), finder };
    await expectNoSecretLeft({ ...places, texts: { "its output": agent.output } });
  });

  test("are gone with the service", async () => {
    const source = await docker("inspect", "--format", "{{json .Mounts}}", await idOf("app"));
    const [, directory = ""] = /"Source":"([^"]*)\/[^"/]*","Destination":"\/etc\/app\/app.json"/.exec(source) ?? [];
    expect(readdirSync(directory)).toHaveLength(1);
    await agent.stop();
    orca(["up", join(root, "platform"), "--state", state, "--down"]);
    expect(existsSync(directory)).toBe(false);
  });
});
