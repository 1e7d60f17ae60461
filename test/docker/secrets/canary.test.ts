// That the search at the end of each node's life can fail: a value is planted in each place that it looks at, and found there.
// And what has places of its own: a real journal, core files of a real agent with and without what keeps its memory out.

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { CanaryFinder, MARKS } from "../../../scripts/lab/canary/canary.ts";
import { CanaryLane, openLane } from "../../../scripts/lab/canary/canary-lane.ts";
import { searchCores, searchDatabase, searchFiles, searchText } from "../../../scripts/lab/canary/canary-places.ts";
import { expectCleanLane, expectNoSecretLeft, sweepNode } from "../../../scripts/lab/canary/canary-sweep.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { Journal, openJournalStream, readJournal } from "../../../scripts/lab/canary/real-journal.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { buildHttpd, IMAGE } from "../../../scripts/lab/engine/real-node.ts";
import { eventually } from "../../contract/docker-port.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { nameIdentityFile, writeSecretTable } from "../../../agent/secrets/providers/secret-store-file.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";

const UNIT = fileURLToPath(new URL("../../../systemd/orca-agent.service", import.meta.url));
const NODE = nameForRun("canary");
const root = mkdtempSync(join(tmpdir(), "orca-canary-"));

/** Not the lane's own, since it is left on purpose; of each test another one, since the engine remembers what happened. */
let value = "";
let finder = new CanaryFinder({});

beforeEach(() => {
  value = `planted-${randomBytes(4).toString("hex")}"of&the/canary=test`;
  finder = new CanaryFinder({ planted: value });
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

describe("a planted value is found", () => {
  const state = join(root, "planted");
  const name = nameForRun("canary-planted");

  const label = ["--label", `orca.node=${NODE}-planted`];

  beforeAll(() => clear());

  beforeEach(() => mkdirSync(state, { recursive: true }));

  afterEach(() => clear());

  async function clear(): Promise<void> {
    rmSync(state, { recursive: true, force: true });
    const remove = (...words: string[]): Promise<unknown> => docker(...words).catch(() => undefined);
    await remove("rm", "-f", name);
    for (const kind of ["network", "volume"]) await remove(kind, "rm", name);
    await remove("rmi", name);
  }

  async function findAt(places: Partial<Parameters<typeof sweepNode>[0]> = {}): Promise<string> {
    const { hits } = await sweepNode({ node: `${NODE}-planted`, stateDir: state, finder, ...places });
    return hits.map(({ where }) => where).join("\n");
  }

  test("nowhere before anything is planted", async () => {
    expect(await findAt()).toBe("");
  });

  test("in a file of the state directory, its name, and one that is packed", async () => {
    writeFileSync(join(state, "audit.jsonl"), JSON.stringify({ message: value }));
    writeFileSync(join(state, Buffer.from(value).toString("hex")), "");
    expect(await findAt()).toMatch(/the name .*\n.*audit\.jsonl$/);
  });

  test("in a row that lies over several pages of SQLite, where the file's bytes do not show it; in the log before it is merged", () => {
    const path = join(state, "orca.db");
    const database = new DatabaseSync(path);
    database.exec("pragma journal_mode = wal; create table kept (body text)");
    const insert = database.prepare("insert into kept values (?)");
    insert.run(value);
    expect(searchFiles(finder, `${path}-wal`).hits).not.toEqual([]);
    expect(searchDatabase(finder, path).hits).toHaveLength(1);
    database.exec("delete from kept; pragma wal_checkpoint(truncate); vacuum");
    insert.run(fillRow(findSplit(path, insert, database)));
    database.exec("pragma wal_checkpoint(truncate)");
    expect(searchText(finder, path, readFileSync(path)).hits).toEqual([]);
    expect(searchFiles(finder, path).hits).toEqual([{ where: `${path}: kept.body`, what: "planted as plain text" }]);
    database.close();
  });

  test("in what the agent printed, planned, told or a forge was told", async () => {
    const texts = { "the plan": JSON.stringify([{ kind: "create", env: value }]), "commit statuses": value };
    expect(await findAt({ texts })).toBe("the plan\ncommit statuses");
  });

  test("in an answer, on loopback and on the socket", async () => {
    const socketPath = join(state, "agent.sock");
    const [http, socket] = [0, socketPath].map((place) => {
      const server = createServer((request, response) => {
        response.end(request.url === "/metrics" || request.url === "/v1/plan" ? value : '{"name": "web"}');
      });
      server.listen(place === 0 ? { port: 0, host: "127.0.0.1" } : { path: socketPath });
      return server;
    });
    await eventually(() => http?.listening === true && socket?.listening === true);
    const address = http?.address();
    const listen = `127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
    expect(await findAt({ listen, socketPath })).toBe(
      `${listen}/metrics\n${socketPath}/metrics\n${socketPath}/v1/plan`,
    );
    http?.close();
    socket?.close();
  });

  test("in the arguments and the environment of an Orca process", async () => {
    const [inArguments, inEnvironment] = [[value], []].map((more) =>
      spawn(process.execPath, ["-e", "setTimeout(() => undefined, 60000)", "agent/main.ts", ...more], {
        env: more.length === 0 ? { VALUE: Buffer.from(value).toString("base64") } : {},
      }),
    );
    await eventually(async () => /arguments[^]*environment/.test(await findAt()));
    inArguments?.kill();
    inEnvironment?.kill();
  });

  test("in everything that an engine shows and keeps of a container, its image, network, volume and commands", async () => {
    const planted = ["--label", `planted=${value}`];
    await docker("network", "create", ...label, ...planted, name);
    await docker("volume", "create", ...label, ...planted, name);
    const made = await docker("create", IMAGE, "true");
    await docker("commit", "--change", `LABEL planted="${value.replaceAll('"', String.raw`\"`)}"`, made, name);
    await docker("rm", made);
    const run = ["run", "-d", "--name", name, "--network", name, "-v", `${name}:/data`, ...label];
    await docker(...run, "-e", `PLANTED=${value}`, name, "sleep", "1000");
    await docker("exec", "-d", name, "sh", "-c", "sleep 1000", value);
    await docker("exec", name, "sh", "-c", 'echo "$PLANTED" > /left; echo "$PLANTED" > /proc/1/fd/1');
    const found = await findAt();
    for (const place of [
      /^docker inspect /m,
      /^docker exec in /m,
      /^docker image inspect /m,
      /^the engine's \/networks/m,
      /^the engine's \/volumes/m,
      /^the engine's \/images/m,
      /^docker events/m,
      /config\.v2\.json$/m,
      /moby\/[0-9a-f]{64}\/config\.json$/m,
      /-json\.log$/m,
      /overlay2\/.*\/left$/m,
    ])
      expect(found).toMatch(place);
  });

  test("in a file that is read in pieces, over the end of one", () => {
    const path = join(state, "large");
    const bytes = Buffer.alloc(64 * 2 ** 20 + 4_096, "x");
    bytes.write(value, 64 * 2 ** 20 - 10);
    writeFileSync(path, bytes);
    expect(searchFiles(finder, path).hits).toEqual([{ where: path, what: "planted as plain text" }]);
  });

  test("a lane in which an agent ended without a search is not called clean, nor one that left something behind", async () => {
    const own = new CanaryLane(mkdtempSync(join(tmpdir(), "orca-canary-lane-")));
    const sinceMs = Date.now() + 60_000;
    own.note({ kind: "born", stateDir: "/one" });
    own.note({ kind: "searched", stateDir: "/one" });
    expect((await expectCleanLane(own, sinceMs)).hits).toEqual([]);
    own.note({ kind: "born", stateDir: "/another" });
    await expect(expectCleanLane(own, sinceMs)).rejects.toThrow(/without a search .*: \/another$/);
    writeFileSync(join(own.directory, "left"), MARKS["/canary/lane/TOKEN"] ?? "");
    await expect(expectCleanLane(own, statSync(own.directory).mtimeMs)).rejects.toThrow(
      `the lane left secrets behind:\n  ${own.directory}/left: /canary/lane/TOKEN as plain text`,
    );
    own.remove();
  });

  test("an agent that never held a marked secret is not called clean", async () => {
    const places = { node: `${NODE}-planted`, stateDir: state, finder };
    await expect(expectNoSecretLeft(places)).rejects.toThrow(/never read a marked secret/);
    const texts = { "its output": value };
    await expect(expectNoSecretLeft({ ...places, texts })).rejects.toThrow(
      "left secrets behind:\n  its output: planted as plain text",
    );
  });
});

/** Of 6,000 bytes a part lies on the row's own page, the rest on another. */
function fillRow(before: number): string {
  return "x".repeat(before) + value.padEnd(6_000 - before, "x");
}

/** How many bytes stand before the value so that the end of a page cuts it. */
function findSplit(path: string, insert: { run(text: string): unknown }, database: DatabaseSync): number {
  for (let before = 1_500; before < 2_500; before += 8) {
    insert.run(fillRow(before));
    database.exec("pragma wal_checkpoint(truncate)");
    const isSplit = !readFileSync(path).includes(value);
    database.exec("delete from kept; pragma wal_checkpoint(truncate); vacuum; pragma wal_checkpoint(truncate)");
    if (isSplit) return before;
  }
  throw new Error("no place was found where a page ends inside the value");
}

describe("a real journal", () => {
  test("holds what a program prints through systemd-cat, and a value in it is found, long lines among them", async () => {
    const journal = await Journal.start(join(root, "journal"));
    const { pid } = journal.place;
    const long = `${"x".repeat(5_000)}${value}`;
    const script = "console.log(process.argv[1])";
    const cat = [`--mount=/proc/${pid}/ns/mnt`, "systemd-cat", "-t", "orca", process.execPath, "-e", script];
    execFileSync("nsenter", [...cat, "a line"]);
    await eventually(() => readJournal(journal.place).includes("MESSAGE=a line"));
    expect(finder.find(readJournal(journal.place))).toEqual([]);
    execFileSync("nsenter", [...cat, long]);
    const stream = openJournalStream(journal.place, "orca");
    stream.end(`${Buffer.from(value).toString("base64")}\n`);
    for (const form of ["plain text", "base64"])
      await eventually(() => finder.find(readJournal(journal.place)).includes(`planted as ${form}`));
    await journal.stop();
  });

  test("receives what the lane's agents print", async () => {
    const { journal } = openLane();
    const run = new OrcaProcess(["status", "--socket", join(root, "none.sock")]);
    await run.exited;
    if (journal === undefined) throw new Error("the lane has no journal");
    await eventually(() => readJournal(journal).includes(`no agent answers at ${join(root, "none.sock")}`));
  });
});

describe("a core file of a real agent that has delivered marked secrets", () => {
  const repository = join(root, "platform");
  const manifests = join(repository, "orca", "manifests", NODE);
  const state = join(root, "state");
  // Values of its own: whoever searches after another agent meanwhile finds none of the lane's in the core that is left here.
  const values = Object.fromEntries(
    Object.entries(MARKS).map(([path, text]) => [path, Array.from(text).toReversed().join("")]),
  );
  const own = new CanaryFinder(values);
  const secretPath = join(root, "own.age");
  const OWN = { file: secretPath, identityFile: nameIdentityFile(secretPath), plain: false };
  let agent: OrcaProcess;

  beforeAll(async () => {
    await writeSecretTable(OWN, new Map(Object.entries(values)));
    mkdirSync(manifests, { recursive: true });
    writeFileSync(join(manifests, "web.toml"), buildHttpd());
  });

  afterAll(async () => {
    const takeDown = async (): Promise<unknown> =>
      spawnSync(process.execPath, [PROGRAM, "up", repository, "--state", state, "--down"]);
    await expectNoSecretLeft(
      { node: NODE, stateDir: state, texts: { "its output": agent.output }, finder: own },
      takeDown,
    );
  });

  /** An agent whose core may be as large as it likes, in a directory of its own, as far as this limit goes. */
  async function crash(limit: string, before = (_pid: number): void => undefined): Promise<string> {
    const directory = mkdtempSync(join(root, "cores-"));
    const listen = `127.0.0.1:${await findPort()}`;
    agent = new OrcaProcess(["up", repository, "--state", state, "--listen", listen, "--secrets", OWN.file], {
      directory,
    });
    const { pid = 0 } = agent.child;
    execFileSync("prlimit", ["--pid", String(pid), `--core=${limit}`]);
    const container = (): Promise<string> => docker("ps", "-q", "--filter", `label=orca.node=${NODE}`);
    await eventually(async () => (await container()) !== "" && agent.output.includes("healthy"), 30_000).catch(
      (error: unknown) => {
        throw new Error(agent.output, { cause: error });
      },
    );
    // What the search looks for is really what a service is given.
    const read = await docker(
      "exec",
      await container(),
      "cat",
      "/run/secrets/mark.password",
      "/run/secrets/mark.token",
    );
    expect(read).toBe(`${values["/canary/lane/PASSWORD"]}${values["/canary/lane/TOKEN"]}`);
    before(pid);
    agent.child.kill("SIGSEGV");
    await agent.exited;
    expect(agent.child.signalCode).toBe("SIGSEGV");
    return directory;
  }

  const listCores = (directory: string): string[] => readdirSync(directory).filter((entry) => entry.startsWith("core"));

  test("is not written at all under the unit's LimitCORE", async () => {
    const limit = /^LimitCORE=(.*)$/m.exec(readFileSync(UNIT, "utf8"))?.[1] ?? "";
    expect(listCores(await crash(`${limit}:${limit}`))).toEqual([]);
  });

  test("holds no value where the host writes one all the same: the agent has taken its memory out", async () => {
    const directory = await crash("unlimited:unlimited");
    const [core = ""] = listCores(directory);
    expect(statSync(join(directory, core)).size).toBeGreaterThan(0);
    expect(searchCores(own, directory)).toMatchObject({ hits: [] });
  });

  test("would hold them without that, and the search finds them", async () => {
    const directory = await crash("unlimited:unlimited", (pid) =>
      writeFileSync(`/proc/${pid}/coredump_filter`, "0x33"),
    );
    const found = searchCores(own, directory).hits.map(({ what }) => what);
    for (const path of Object.keys(values)) expect(found).toContain(`${path} as plain text`);
    rmSync(directory, { recursive: true });
  });
});
