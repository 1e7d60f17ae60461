// What `orca lint` prints and how it ends: text, JSON, workflow commands, exit codes, what is no repository.

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterEach, describe, expect, it, vi } from "vitest";

import { lint, type LintOptions } from "../../../agent/cli/lint/lint-command.ts";
import { describeReport } from "../../../agent/cli/lint/lint-output.ts";
import { listUnused } from "../../../agent/desired/repository/unused-parts.ts";
import type { Manifest } from "../../../shared/manifest/manifest.ts";
import type { Problem } from "../../../shared/text/problem.ts";
import { type Content, lintFiles, lintShort, service, withRepository } from "../../builders/git/repository.ts";

afterEach(() => vi.restoreAllMocks());

async function run(
  files: Record<string, Content | undefined>,
  options: Partial<LintOptions> = {},
  below = "",
): Promise<{ code: number; output: string }> {
  let output = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    output += text.toString();
    return true;
  });
  const code = await withRepository(files, (directory) => lint(join(directory, below), { format: "text", ...options }));
  return { code, output: output.trimEnd() };
}

const GOOD = {
  "manifests/vm-a/app.toml": service('schedule = "@once"', '[slo]\nfreeze = true\n[secrets.env]\nA = "/prod/a"'),
};
const BAD = {
  "manifests/vm-a/b.toml": service('requires = ["nope"]\nports = ["0.0.0.0:443:443"]'),
  "manifests/vm-a/a.toml": 'image = "app:1"\nhelth = 5\n',
};

describe("text", () => {
  it("of a valid repository ends with what was looked at, and sums up what is not acted on", async () => {
    expect(await run(GOOD)).toEqual({
      code: 0,
      output: [
        "info: the engine shows variables to whoever may inspect the container: prefer [secrets.files] to [secrets.env] where the program can read a file: vm-a/app",
        "info: of a job's slo only rpo is looked at: vm-a/app",
        "0 errors, 0 warnings in 1 manifest of 3 nodes: valid",
      ].join("\n"),
    });
  });

  it("has a line for each problem, sorted, and every problem of every file", async () => {
    const { code, output } = await run(BAD);
    expect(code).toBe(1);
    expect(output.split("\n")).toEqual([
      'orca/manifests/vm-a/a.toml:1:1: resources: the memory cap is missing (write [resources] with memory = "512MiB", or what it really needs)',
      'orca/manifests/vm-a/a.toml:2:1: helth: there is no such key (did you mean "health"?)',
      'orca/manifests/vm-a/b.toml:1:13: requires[0]: there is no service "nope" on vm-a (write its manifest, or take it out)',
      `orca/manifests/vm-a/b.toml:2:10: warning: ports[0]: port 443 is published on every address (write "443:443", which is published on the node's own address 10.0.0.1)`,
      "3 errors, 1 warning in 2 manifests of 3 nodes",
    ]);
  });

  it("names files from where the user pointed", async () => {
    const { output } = await run(BAD, {}, "orca");
    expect(output).toContain("\nmanifests/vm-a/b.toml:1:13: ");
  });

  it("fails for no warning", async () => {
    const { code, output } = await run({ "manifests/vm-a/b.toml": service('ports = ["0.0.0.0:443:443"]') });
    expect([code, output.split("\n").at(-1)]).toEqual([0, "0 errors, 1 warning in 1 manifest of 3 nodes: valid"]);
  });

  it("shows control characters instead of sending them to the terminal", () => {
    const problem = fakeProblem({ file: "orca/a\u001B[31m\u202E.toml", message: "x\ny" });
    const text = describeReport({ problems: [problem], manifests: 1, nodes: 1 }, "text", (file) => file);
    expect(text.split("\n")[0]).toBe("orca/a\\u001b[31m\\u202e.toml:1:1: k: x\\u000ay (h)");
  });
});

describe("one node", () => {
  it("is shown without what concerns others alone", async () => {
    const files = {
      ...BAD,
      "manifests/vm-b/c.toml": service('requires = ["vm-stage/d"]\nwants = ["vm-stage/d"]'),
      "manifests/vm-stage/d.toml": service('requires = ["vm-b/c"]').replace("64MiB", "5GiB"),
    };
    expect(await lintShort(files, { node: "vm-b" })).toEqual([
      "error across-realms vm-b/c:1:13 requires[0]",
      "error across-realms vm-b/c:2:10 wants[0]",
      "error cycle vm-stage/d:1:13 requires[0]",
    ]);
    const { output } = await run(files, { node: "vm-b" });
    expect(output).toMatch(/in 1 manifest of 1 node$/);
    expect(await lintShort(files, { node: "vm-stage" })).toContain(
      "error memory-budget fleet:13:1 nodes.vm-stage.memory",
    );
  });

  it("must exist", async () => {
    await expect(lintFiles(GOOD, { node: "vm-c" })).rejects.toThrow(
      "there is no node vm-c; there are vm-a, vm-b, vm-stage",
    );
  });
});

describe("json", () => {
  it("is one document with every problem, infos too, each with its place", async () => {
    const { code, output } = await run({ ...GOOD, ...BAD }, { format: "json" });
    expect(code).toBe(1);
    const document = JSON.parse(output) as { problems: Problem[] };
    expect(document).toMatchObject({
      version: 1,
      valid: false,
      counts: { errors: 3, warnings: 1, infos: 2, manifests: 3, nodes: 3 },
    });
    expect(document.problems).toHaveLength(6);
    expect(Object.keys(document.problems[0] ?? {})).toEqual([
      "severity",
      "code",
      "file",
      "line",
      "column",
      "key",
      "message",
      "hint",
    ]);
    expect(document.problems.filter(({ severity }) => severity === "info")).toMatchObject([
      { code: "unused-slo", line: 5, column: 2, key: "slo" },
      { code: "secret-env", line: 7, column: 10, key: "secrets.env" },
    ]);
  });

  it("is the same on every run", async () => {
    const first = await run({ ...GOOD, ...BAD }, { format: "json" });
    expect(await run({ ...BAD, ...GOOD }, { format: "json" })).toEqual(first);
  });
});

describe("github", () => {
  it("prints workflow commands with files as seen from the working directory", async () => {
    const { output } = await run(BAD, { format: "github" });
    const [, , third = "", fourth = ""] = output.split("\n");
    expect(third).toMatch(
      /^::error file=\.\..*\/orca\/manifests\/vm-a\/b\.toml,line=1,col=13,title=unknown-service::requires\[0\]: there is/,
    );
    expect(fourth).toMatch(/^::warning file=.*,line=2,col=10,title=public-port::ports\[0\]: port 443/);
    expect(output.split("\n").at(-1)).toBe("3 errors, 1 warning in 2 manifests of 3 nodes");
  });

  it("escapes as GitHub does", () => {
    const problem = fakeProblem({ file: "a,b:c%.toml", message: "50 %\r\nx: y, z", key: "" });
    const text = describeReport({ problems: [problem], manifests: 1, nodes: 1 }, "github", (file) => file);
    expect(text.split("\n")[0]).toBe("::error file=a%2Cb%3Ac%25.toml,line=1,col=1,title=code::50 %25%0D%0Ax: y, z (h)");
  });

  it("sums up infos in one notice for each kind", async () => {
    const { output } = await run(GOOD, { format: "github" });
    expect(output.split("\n").slice(0, 2)).toEqual([
      "::notice title=lint::the engine shows variables to whoever may inspect the container: prefer [secrets.files] to [secrets.env] where the program can read a file: vm-a/app",
      "::notice title=lint::of a job's slo only rpo is looked at: vm-a/app",
    ]);
  });
});

describe("files that cannot be read as manifests", () => {
  it("are problems of their own", async () => {
    const files = {
      "manifests/vm-a/binary.toml": Buffer.concat([Buffer.from('image = "é"\n# '), Buffer.from([0xff, 0xfe])]),
      "manifests/vm-a/dangling.toml": { link: "nowhere" },
      "manifests/vm-a/huge.toml": `# ${"x".repeat(2 ** 20)}`,
      "manifests/vm-a/mark.toml": `\uFEFF${service()}`,
      "manifests/vm-a/windows.toml": service("requires = []").replaceAll("\n", "\r\n"),
    };
    expect(await lintShort(files)).toEqual([
      "error encoding vm-a/binary:2:3",
      "error file-kind vm-a/dangling:1:1",
      "error file-size vm-a/huge:1:1",
    ]);
  });

  it("and a fleet.toml that is no TOML is one problem, not hundreds", async () => {
    expect(await lintShort({ ...GOOD, "fleet.toml": "[nodes" })).toEqual(["error syntax fleet:1:2"]);
    expect(await lintShort({ ...GOOD, "fleet.toml": Uint8Array.of(0xff) })).toEqual(["error encoding fleet:1:1"]);
  });
});

describe("the command", () => {
  const orca = fileURLToPath(new URL("../../../scripts/orca", import.meta.url));
  const start = (...parameters: string[]): Promise<{ code: number; stdout: string; stderr: string }> =>
    new Promise((resolve) => {
      execFile(orca, parameters, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
      );
    });

  it("ends with 1 for what is no repository, and says what was expected", async () => {
    const directory = mkdtempSync(join(tmpdir(), "orca-none-"));
    try {
      expect(await start("lint", directory)).toEqual({
        code: 1,
        stdout: "",
        stderr: `orca: ${directory} holds no manifests: expected orca/manifests/<node>/<service>.toml in it\n`,
      });
      const missing = join(directory, "nope");
      expect(await start("lint", missing)).toMatchObject({ code: 1, stderr: `orca: ${missing} does not exist\n` });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("lints from a checkout", async () => {
    const ended = await withRepository(BAD, (directory) => start("lint", directory, "--format", "json"));
    expect([ended.code, ended.stderr]).toEqual([1, ""]);
    expect(JSON.parse(ended.stdout)).toMatchObject({ counts: { errors: 3 } });
    expect(await withRepository(GOOD, (directory) => start("lint", directory))).toMatchObject({ code: 0, stderr: "" });
  });

  it("prints a schema", async () => {
    const { code, stdout } = await start("schema", "fleet");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ title: "Orca fleet", additionalProperties: false });
    expect((await start("schema", "nonsense")).code).toBe(1);
  });
});

function fakeProblem(parts: Partial<Problem>): Problem {
  return {
    severity: "error",
    code: "code",
    file: "f",
    line: 1,
    column: 1,
    key: "k",
    message: "m",
    hint: "h",
    ...parts,
  };
}

it("promises are acted on, and are no unused part", () => {
  const count = (slo: Manifest["slo"], schedule?: string): number => listUnused({ slo, schedule } as Manifest).length;
  const all = { rpo: 1, rto: 1, availability: 99, freeze: true };
  expect([count(all), count(all, "@once"), count({ rpo: 1 }, "@once"), count(undefined)]).toEqual([0, 1, 0, 0]);
});
