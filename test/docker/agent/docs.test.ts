// The first node of the page start, run as a newcomer runs it: its files, its commands in their order, on the real engine with
// the local image. Only the node's name, the ports and the state directory are the test's own.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { listShellLines, readOrcaWords, readPage, selectFiles, writeFiles } from "../../builders/data/readme.ts";
import { eventually } from "../../contract/docker-port.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { findPort } from "../../builders/engine/free-port.ts";

const NODE = nameForRun("docs");
const STATUS = `127.0.0.1:${await findPort()}`;
/** Where the port that web publishes is shifted to. */
const PORT = await findPort();
const WEB = `http://127.0.0.1:${PORT}/`;
const SHIFT = 20_000;

const page = readPage("start");
const directory = mkdtempSync(join(tmpdir(), "orca-docs-"));
const repository = join(directory, "platform");
const state = join(directory, "state");
const web = join(repository, "orca", "manifests", NODE, "web.toml");
let agent: OrcaProcess | undefined;

/** The arguments of a line, for this place. */
function adapt(words: readonly string[]): string[] {
  const own = words.map((word) => (word === "platform" ? repository : word));
  if (own[0] === "plan") return [...own, "--ports", "shift", "--address", "127.0.0.1"];
  return own[0] === "up" ? [...own, "--ports", "shift", "--state", state, "--listen", STATUS] : own;
}

async function run(words: readonly string[]): Promise<{ code: number | null; output: string }> {
  const process = new OrcaProcess(adapt(words), { environment: { ORCA_SOCKET: join(state, "agent.sock") } });
  return { code: await process.exited, output: process.output };
}

function fetchText(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => resolve(text));
    }).on("error", reject);
  });
}

beforeAll(() => {
  const files = [...selectFiles(page, "platform")].map(
    ([path, text]) =>
      [
        path.replace("/demo/", `/${NODE}/`),
        text.replace("[nodes.demo]", `[nodes.${NODE}]`).replace('"8080:8080"', `"${PORT - SHIFT}:8080"`),
      ] as const,
  );
  writeFiles(repository, new Map(files));
});

afterAll(async () => {
  const texts = { "its output": agent?.output ?? "" };
  const unread = "the first node takes no secret";
  const places = { node: NODE, stateDir: state, listen: STATUS, socketPath: join(state, "agent.sock"), texts, unread };
  await expectNoSecretLeft(places, clear);
});

async function clear(): Promise<void> {
  await agent?.stop();
  await run(["up", "platform", "--down"]);
  rmSync(directory, { recursive: true, force: true });
}

test("the commands of the first manifest end as the page says, and web answers", async () => {
  const codes: Record<string, number | null> = {};
  const outputs: Record<string, string> = {};
  for (const line of listShellLines(page)) {
    const words = readOrcaWords(line);
    if (words === undefined) continue;
    const [name = ""] = words;
    if (name === "up") {
      agent = new OrcaProcess(adapt(words));
      await eventually(async () => (await run(["status"])).code === 0, 20_000);
      continue;
    }
    const { code, output } = await run(words);
    [codes[name], outputs[name]] = [code, output];
  }
  expect(codes).toEqual({ lint: 0, plan: 2, status: 0, why: 0 });
  expect(outputs["lint"]).toBe("0 errors, 0 warnings in 2 manifests of 1 node: valid\n");
  expect(page.text).toContain(`# ${outputs["lint"]?.trim()}\n`);
  expect(outputs["plan"]).toMatch(/\+ store +create[^]*\+ web +create[^]*wave 1: store\n[^]*wave 2: web\n/);
  for (const title of ["cause", "last actions", "last probe"]) expect(outputs["why"]).toContain(title);
  expect((await fetchText(WEB)).trim()).toBe(`<h1>web on ${NODE}</h1>`);
  expect(await fetchText(`http://${STATUS}/`)).toContain("2 services: 2 healthy");
  expect(await fetchText(`http://${STATUS}/why/web`)).toContain("web on");
});

test("what the page says of changes: in place, anew, and a mistake that changes nothing", async () => {
  const container = (): Promise<string> =>
    docker("ps", "-q", "--no-trunc", "--filter", `label=orca.node=${NODE}`, "--filter", "label=orca.service=web");
  const text = readFileSync(web, "utf8");
  const first = await container();
  writeFileSync(web, text.replace("16MiB", "24MiB"));
  await eventually(async () => (await docker("inspect", "-f", "{{.HostConfig.Memory}}", first)) === `${24 * 2 ** 20}`);
  expect(await container()).toBe(first);

  writeFileSync(web, text.replace("memory", "memroy"));
  await eventually(async () => (await run(["status"])).code === 3);
  expect((await run(["why", "web"])).output).toMatch(
    new RegExp(`web on ${NODE} is invalid[^]*web\\.toml:\\d+:\\d+: [^]*its release`),
  );
  expect(await container()).toBe(first);

  writeFileSync(web, `${text}\n[env]\nGREETING = "hello"\n`);
  await eventually(async () => {
    const now = await container();
    return now !== "" && now !== first;
  }, 15_000);
  await eventually(async () => (await run(["status"])).code === 0, 15_000);
});
