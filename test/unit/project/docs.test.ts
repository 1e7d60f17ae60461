// What people read against the program, README, topic pages and the maps for developers: examples pass lint, commands and options
// parse, exit codes and endpoints exist, and nothing that the program has is missing. Their paths and links: docs-places.test.ts.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Command } from "commander";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { bundleSpecSchema } from "../../../agent/bundle/core/bundle-spec.ts";
import { EXIT } from "../../../agent/cli/frame/exit-codes.ts";
import { checkView, type LintOptions } from "../../../agent/cli/lint/lint-command.ts";
import { readRepository } from "../../../agent/cli/lint/lint-read.ts";
import { buildProgram } from "../../../agent/cli/frame/program.ts";
import { agentConfigSchema } from "../../../shared/config/agent-config.ts";
import { parseToml } from "../../../shared/text/parse-toml.ts";
import { policySchema } from "../../../shared/policy/policy.ts";
import { describeProblem, type Problem } from "../../../shared/text/problem.ts";
import {
  joinDocuments,
  listShellLines,
  readDocuments,
  readOrcaWords,
  ROOT,
  selectFiles,
  writeFiles,
} from "../../builders/data/readme.ts";
import type { PruneChoice } from "../../../shared/state/prune.ts";
import { TestReport } from "../../builders/node/report.ts";
import { service } from "../../builders/git/repository.ts";
import { buildRelease, buildView } from "../../builders/node/turns.ts";

const documents = readDocuments();
const readme = joinDocuments(documents.values());

/** What the examples name and do not show. */
const UNSHOWN: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  platform: {},
  first: {},
  readme: {
    "orca/fleet.toml":
      '[nodes.vm-data]\naddress = "10.0.0.1"\nenv = "prod"\nmemory = "2GiB"\n' +
      '[nodes.vm-edge]\naddress = "10.0.0.2"\nenv = "prod"\nmemory = "2GiB"\n',
    "orca/manifests/vm-data/postgres.toml": service(),
    "orca/manifests/vm-edge/keycloak.toml": service(),
  },
  firewall: { "orca/manifests/vm-edge/proxy.toml": service(), "orca/manifests/vm-data/postgres.toml": service() },
  fleet: { "orca/manifests/vm-edge/keycloak.toml": service(), "orca/manifests/vm-control/gitea.toml": service() },
  backed: {
    "orca/fleet.toml": '[nodes.vm-data]\naddress = "10.0.0.1"\nenv = "prod"\nmemory = "2GiB"\n',
  },
  stored: {},
  streamed: {
    "orca/fleet.toml": '[nodes.vm-data]\naddress = "10.0.0.1"\nenv = "prod"\nmemory = "2GiB"\n',
  },
  update: { "orca/manifests/vm-edge/keycloak.toml": service() },
  stores: {
    "orca/fleet.toml": '[nodes.vm-data]\naddress = "10.0.0.1"\nenv = "prod"\nmemory = "10GiB"\n',
  },
  reference: {
    "orca/manifests/vm-edge/postgres.toml": service(),
    "orca/manifests/vm-edge/files/keycloak.conf": "spi-email-password={{ secrets.SMTP_PASSWORD }}\n",
  },
};

async function lintRepository(
  files: ReadonlyMap<string, string>,
  options: Partial<LintOptions> = {},
): Promise<Problem[]> {
  const directory = mkdtempSync(join(tmpdir(), "orca-docs-"));
  try {
    writeFiles(directory, files);
    const { view } = await readRepository(directory);
    return [...(await checkView(view, { format: "json", ...options })).problems];
  } finally {
    rmSync(directory, { recursive: true });
  }
}

describe("examples", () => {
  const marked = readme.blocks.flatMap(({ file, text }) => (file === undefined ? [] : [{ file, text }]));

  test("every TOML block says which file it is, and every such file is one that is checked", () => {
    const unmarked = readme.blocks.filter(({ language, file }) => language === "toml" && file === undefined);
    expect(unmarked.map(({ text }) => text)).toEqual([]);
    const known = [...Object.keys(UNSHOWN).map((name) => `${name}/orca/`), ...Object.keys(HOST_SCHEMAS)];
    expect(marked.filter(({ file }) => !known.some((start) => file.startsWith(start)))).toEqual([]);
    expect(marked.length).toBeGreaterThan(6);
  });

  test.each(Object.keys(UNSHOWN))("the repository %s passes lint without a warning", async (repository) => {
    const files = new Map([...selectFiles(readme, repository), ...Object.entries(UNSHOWN[repository] ?? {})]);
    const problems = await lintRepository(files);
    expect(problems.filter(({ severity }) => severity !== "info").map(describeProblem)).toEqual([]);
    expect(problems.filter(({ code }) => code.startsWith("unused-")).map(describeProblem)).toEqual([]);
  });

  const HOST_SCHEMAS = {
    "/etc/orca/agent.toml": agentConfigSchema,
    "/etc/orca/policy.toml": policySchema,
    "bundle.toml": bundleSpecSchema,
  } as const;

  test.each(Object.entries(HOST_SCHEMAS))("%s parses", async (file, schema) => {
    const texts = marked.filter((entry) => entry.file === file).map(({ text }) => text);
    expect(texts).not.toEqual([]);
    for (const text of texts) {
      const parsed = await parseToml<unknown>(schema, text, file);
      expect(parsed.ok ? [] : parsed.problems.map(describeProblem)).toEqual([]);
    }
  });

  test("the reference keeps to the policy that stands beside it", async () => {
    const directory = mkdtempSync(join(tmpdir(), "orca-docs-"));
    writeFiles(directory, new Map(marked.map(({ file, text }) => [file, text])));
    const files = new Map([...selectFiles(readme, "reference"), ...Object.entries(UNSHOWN["reference"] ?? {})]);
    const problems = await lintRepository(files, { policy: join(directory, "/etc/orca/policy.toml"), node: "vm-edge" });
    rmSync(directory, { recursive: true });
    expect(problems.filter(({ severity }) => severity !== "info").map(describeProblem)).toEqual([]);
  });

  test("host files that the text names are the ones the shipped configuration names", () => {
    const named = [...readme.text.matchAll(/\/etc\/orca\/[\w.-]+/g)].map(([path]) => path);
    const units = ["systemd/orca-firewall.service", "systemd/orca-host-firewall.service"];
    const files = ["host-config/agent.toml", "host-config/policy.toml", ...units];
    const shipped = files.map((file) => readFileSync(join(ROOT, file), "utf8")).join("\n");
    expect([...new Set(named)].filter((path) => !shipped.includes(path))).toEqual([]);
  });
});

/** The program with actions that do nothing: what it accepts, it parses, and what it does not, it throws. */
function buildMute(): Command {
  const mute = (command: Command): void => {
    command.exitOverride().configureOutput({ writeErr: () => undefined, writeOut: () => undefined });
    if (!isGroup(command)) command.action(() => undefined);
    for (const inner of command.commands) mute(inner);
  };
  const program = buildProgram();
  mute(program);
  return program;
}

function parseWords(words: readonly string[]): string {
  try {
    buildMute().parse(["node", "orca", ...words]);
    return "";
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return code === "commander.help" || code === "commander.version" ? "" : `orca ${words.join(" ")}: ${message}`;
  }
}

/** Every command, with the words that call it. */
function listCommands(): { name: string; command: Command }[] {
  const list = (command: Command, name: string): { name: string; command: Command }[] =>
    // Hidden ones are the agent's own.
    command
      .createHelp()
      .visibleCommands(command)
      .filter((inner) => inner.name() !== "help" || name === "orca")
      .flatMap((inner) => {
        const full = `${name} ${inner.name()}`;
        const below = list(inner, full);
        // A word that only groups commands is none itself.
        return isGroup(inner) ? below : [{ name: full, command: inner }, ...below];
      });
  return list(buildProgram(), "orca").filter(({ command }) => !isGroup(command));
}

/** A word that only commands stand behind, such as `orca fleet`. */
function isGroup(command: Command): boolean {
  return command.commands.length > 0 && Reflect.get(command, "_actionHandler") === null;
}

/** Short options written as one. */
const COMBINED = ["-it"];

function readHelp(command: Command): string {
  let help = "";
  command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
  return help;
}

describe("commands", () => {
  const inBlocks = listShellLines(readme);

  test("each line and each mention of one parses; a bare name is a command's", () => {
    const names = new Set(listCommands().map(({ name }) => name));
    const calls = [...inBlocks, ...readme.codes.filter((code) => !names.has(code))].flatMap((line) => {
      const words = readOrcaWords(line);
      return words === undefined ? [] : [words];
    });
    expect(calls.length).toBeGreaterThan(25);
    expect(calls.map(parseWords).filter((fault) => fault !== "")).toEqual([]);
  });

  test("each command has its row, and each row is a command", () => {
    const rows = readme.rows.map(([first = ""]) => /^`(orca [^`]+)`$/.exec(first)?.[1]).filter(isText);
    const names = rows.map((row) => row.replaceAll(/ (--|[A-Z]+)/g, "").trim());
    const commands = listCommands().map(({ name }) => name);
    expect(commands.filter((name) => !names.includes(name))).toEqual([]);
    expect(names.filter((name) => !commands.includes(name))).toEqual([]);
  });

  test("each option on its own in the text is one of a command or of a script", () => {
    const all = listCommands().flatMap(({ command }) => command.options);
    const options = new Set(all.flatMap(({ long, short }) => [long, short, ...COMBINED]));
    const scripts = ["quickstart", "test", "bench", "install"].map((name) =>
      readFileSync(join(ROOT, "scripts", name), "utf8"),
    );
    const named = readme.codes.flatMap((code) => /^(--?[a-z][a-z-]*)( |$)/.exec(code)?.[1] ?? []);
    expect(named.length).toBeGreaterThan(10);
    const unknown = named.filter((name) => !options.has(name) && !scripts.some((text) => text.includes(`${name})`)));
    expect(unknown).toEqual([]);
  });

  test("flags of the scripts in shell blocks are theirs", () => {
    const calls = inBlocks
      .map((line) => /^\.\/scripts\/(\w+)(?: (--\w+))?$/.exec(line))
      .filter((call) => call !== null);
    expect(calls.length).toBeGreaterThan(4);
    for (const [line, name = "", flag] of calls) {
      const text = readFileSync(join(ROOT, "scripts", name), "utf8");
      expect([line, flag === undefined || text.includes(flag)]).toEqual([line, true]);
    }
  });

  test("exit codes are ones the program has, and those that a command's help says are in its row", () => {
    const known = new Set<number>(Object.values(EXIT));
    const helps = new Map(listCommands().map(({ name, command }) => [name, readHelp(command)]));
    const rows = readme.rows.filter(([first = "", , codes]) => first.startsWith("`orca ") && codes !== undefined);
    expect(rows.length).toBeGreaterThan(12);
    for (const [first = "", , codes = ""] of rows) {
      const name = first.replaceAll(/`| (--|[A-Z]+)/g, "").trim();
      const said = [...codes.matchAll(/(?<![\w.])\d+/g)].map(([code]) => Number(code));
      expect([first, said.filter((code) => !known.has(code))]).toEqual([first, []]);
      expect([first, said.length > 0]).toEqual([first, true]);
      const sentence = /(?:Exits|Ends) with [^\n]*\./.exec(helps.get(name) ?? "")?.[0] ?? "";
      const inHelp = [...sentence.matchAll(/\d+/g)].map(([code]) => Number(code));
      expect([first, inHelp.filter((code) => !said.includes(code))]).toEqual([first, []]);
    }
  });

  test("npm scripts that it names exist", () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { scripts: object };
    const named = [...readme.text.matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name ?? "");
    expect(named.length).toBeGreaterThan(3);
    expect(named.filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
  });
});

function isText(value: string | undefined): value is string {
  return value !== undefined;
}

describe("endpoints", () => {
  let report: TestReport;
  const rows = readme.rows.flatMap(([where = "", method = "", paths = ""]) =>
    method === "GET" || method === "POST"
      ? [...paths.matchAll(/`([^`]+)`/g)].map(([, path = ""]) => ({
          where,
          method,
          path: path.replace("SERVICE", "web").replace("TOPIC", "runbook"),
        }))
      : [],
  );

  beforeAll(async () => {
    const planned = { node: "vm1", revision: "abc", operations: [], services: [], notes: [] };
    const releases = [buildRelease("4f1c2d9")];
    report = await new TestReport({
      releases,
      parts: { planNow: () => Promise.resolve(planned), printWorlds: () => "{}" },
    }).start();
    const status = { nextMs: 0, runningSinceMs: undefined, lastRun: undefined };
    const preview = (): Promise<PruneChoice> => Promise.resolve({ remove: [], keep: [] });
    report.serving.offerPrunes({ ask: () => undefined, preview, status });
    report.turn({ views: [buildView("web", { container: undefined })] });
  });
  afterAll(() => report.dispose());

  test("there are some", () => {
    expect(rows.length).toBeGreaterThan(14);
  });

  test.each(rows)("$method $path on the $where", async ({ where, method, path }) => {
    // The service has no container here, so its output is refused for that and not for the path.
    const good = method === "POST" ? 202 : path.endsWith("/logs") ? 409 : 200;
    const question = { path, method, withinMs: 300 };
    expect((await report.onSocket(question)).status).toBe(good);
    const onLoopback = (await report.get(question)).status;
    expect(onLoopback).toBe(where.includes("loopback") ? good : method === "POST" ? 405 : 404);
  });

  test("what a curl line asks for is served on loopback, at the default addresses", async () => {
    const { status } = agentConfigSchema.parse({ node: "a", source: { dir: "/a" } });
    const ports = new Set(status.listen.map((address) => address.replace(/.*:/, "")));
    const lines = listShellLines(readme).filter((line) => line.startsWith("curl localhost"));
    expect(lines.length).toBeGreaterThan(3);
    const unknown: string[] = [];
    for (const line of lines) {
      const [, port = "80", path = "/"] = /^curl localhost(?::(\d+))?(\/\S*)?$/.exec(line) ?? [];
      // A service of the tutorial publishes this one.
      if (port === "8080") continue;
      if (!ports.has(port) || (await report.get(path)).status !== 200) unknown.push(line);
    }
    expect(unknown).toEqual([]);
  });
});
describe("limits", () => {
  /** What lint calls a part that is not acted on → how people know it. */
  const NAMES: Readonly<Record<string, string>> = {
    slo: "`[slo]`",
  };

  test("are those that lint says of a manifest that has everything", async () => {
    const fixture = (name: string): string => readFileSync(join(ROOT, "test/fixtures/contract", name), "utf8");
    const manifest = fixture("manifest.toml");
    const files = new Map([
      ["orca/fleet.toml", fixture("fleet.toml")],
      ["orca/manifests/vm-edge/keycloak.toml", manifest],
      [
        "orca/manifests/vm-edge/job.toml",
        service(
          'schedule = "@once"\nmoved_from = "old"',
          '[secrets]\non_rotate = { signal = "SIGHUP" }\n[slo]\nfreeze = true',
        ),
      ],
    ]);
    const problems = await lintRepository(files);
    const unused = problems.flatMap(({ code }) => /^unused-(.*)$/.exec(code)?.[1] ?? []);
    expect([...new Set(unused)].toSorted()).toEqual(Object.keys(NAMES).toSorted());
    const section = readme.text.split("## Limits\n")[1]?.split("\n## ")[0] ?? "";
    expect(Object.values(NAMES).filter((name) => !section.includes(name))).toEqual([]);
  });
});
