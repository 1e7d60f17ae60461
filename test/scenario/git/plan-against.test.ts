// `orca plan --against` on real Git repositories: what it says of each kind of change, which revisions it understands, and
// what it never prints.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { plan } from "../../../agent/cli/plan/plan-command.ts";
import type { NodeChange } from "../../../agent/cli/plan/plan-compare.ts";
import type { ComparisonReport } from "../../../agent/cli/plan/plan-output.ts";
import { buildManifest } from "../../builders/node/manifest.ts";

let root: string;

beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), "orca-plan-")));
  git("init", "--quiet", "--initial-branch=main", ".");
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function git(...parameters: string[]): string {
  const identity = ["-c", "user.name=Jane", "-c", "user.email=jane@example.com", "-c", "commit.gpgsign=false"];
  return execFileSync("git", [...identity, ...parameters], { cwd: root, encoding: "utf8", stdio: "pipe" }).trim();
}

const FLEET = ["vm1", "vm2"]
  .map((node, index) => `[nodes.${node}]\naddress = "10.0.0.${index + 1}"\nenv = "prod"\nmemory = "2GiB"\n`)
  .join("\n");

/** Writes files; null removes one. Manifests by `node/service`. */
function write(files: Readonly<Record<string, string | null>>): void {
  for (const [name, text] of Object.entries(files)) {
    const path = join(root, name.includes(".") ? `orca/${name}` : `orca/manifests/${name}.toml`);
    mkdirSync(dirname(path), { recursive: true });
    if (text === null) rmSync(path);
    else writeFileSync(path, text);
  }
}

function commit(files: Readonly<Record<string, string | null>>, message = "change"): string {
  write(files);
  git("add", "--all");
  git("commit", "--quiet", "--allow-empty", "--message", message);
  return git("rev-parse", "HEAD");
}

type Report = Omit<ComparisonReport, "nodes" | "changes"> & {
  revision: string;
  counts: { nodes: number; changed: number };
  nodes: NodeChange[];
};

async function run(against: string, choices: { format?: "text" | "markdown"; node?: string; at?: string } = {}) {
  const { format, node, at = root } = choices;
  let output = "";
  const spy = vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    output += text.toString();
    return true;
  });
  try {
    const options = {
      docker: "/nowhere",
      ports: "as-written" as const,
      against,
      ...(node === undefined ? {} : { node }),
    };
    const code = await plan(at, { ...options, ...(format === undefined ? { json: true } : { format }) });
    const report = (format === undefined ? JSON.parse(output) : { nodes: [] }) as Report;
    return { code, output, report, node: report.nodes[0] };
  } finally {
    spy.mockRestore();
  }
}

function actions(node: NodeChange | undefined): Record<string, string> {
  return Object.fromEntries((node?.services ?? []).map(({ service, action }) => [service, action]));
}

const base = { "fleet.toml": FLEET, "vm1/a": buildManifest(), "vm1/b": buildManifest(), "vm2/c": buildManifest() };

describe("what it says", () => {
  test("no change is 0; words, other files and their order are no change", async () => {
    commit(base);
    commit({ "manifests/vm1/notes.txt": "x", "vm1/a": `# words\n${buildManifest()}` });
    expect(await run("HEAD~1")).toMatchObject({ code: 0, report: { counts: { nodes: 2, changed: 0 } } });
    expect((await run("HEAD~1", { format: "text" })).output).toMatch(/^against HEAD~1 \(\w{12}\): no change\n$/);
  });

  test("each kind of change of a service by its name, with what starts and in which order", async () => {
    const file = (source: string, then: string): string =>
      `[[files]]\nsource = "files/${source}"\ntarget = "/etc/${source}"\non_change = ${then}`;
    const signalled = buildManifest({ tables: file("s.conf", '{ signal = "SIGHUP" }') });
    const restarted = buildManifest({ tables: file("r.conf", '"restart"') });
    commit({
      "fleet.toml": FLEET,
      "vm1/image": buildManifest({ top: 'requires = ["restarted"]' }),
      "vm1/caps": buildManifest(),
      "vm1/agent": buildManifest(),
      "vm1/gone": buildManifest(),
      "vm1/stops": buildManifest(),
      "vm1/signalled": signalled,
      "vm1/restarted": restarted,
      "vm1/starts": buildManifest({ top: 'state = "stopped"' }),
      "manifests/vm1/files/s.conf": "1",
      "manifests/vm1/files/r.conf": "1",
      "vm1/same": buildManifest(),
    });
    write({
      "vm1/image": buildManifest({ top: 'requires = ["restarted"]', image: "app:2" }),
      "vm1/caps": buildManifest({ memory: "128MiB" }),
      "vm1/agent": buildManifest({ top: 'owner = "jane"' }),
      "vm1/gone": null,
      "vm1/stops": buildManifest({ top: 'state = "stopped"' }),
      "vm1/starts": buildManifest(),
      "manifests/vm1/files/s.conf": "2",
      "manifests/vm1/files/r.conf": "2",
      "vm1/new": buildManifest(),
      "vm1/job": buildManifest({ top: 'schedule = "0 3 * * *"' }),
    });
    const { code, node } = await run("HEAD");
    expect([code, actions(node)]).toEqual([
      2,
      {
        agent: "agent",
        caps: "update",
        gone: "remove",
        image: "recreate",
        job: "create",
        new: "create",
        restarted: "deliver",
        signalled: "deliver",
        starts: "start",
        stops: "stop",
      },
    ]);
    expect(node?.starts).toEqual([["new", "restarted", "starts"], ["image"]]);
    expect(node?.held).toBe(undefined);
    const effects = Object.fromEntries(
      (node?.services ?? []).map((entry) => [entry.service, entry.effects.join("; ")]),
    );
    expect(effects).toMatchObject({
      image: "image: app:1 → app:2",
      signalled: "/etc/s.conf has new content: it gets SIGHUP",
      restarted: "/etc/r.conf has new content: it restarts",
      caps: "64 MiB, 512 pids → 128 MiB, 512 pids",
      job: expect.stringContaining("it runs at its times (0 3 * * *)"),
    });
    expect(node?.services.find(({ service }) => service === "caps")?.fields).toEqual([
      { key: "resources.memory", kind: "changed", from: '"64MiB"', to: '"128MiB"' },
    ]);
    expect(node?.budget).toEqual({ before: 8 * 64 * 2 ** 20, after: 10 * 64 * 2 ** 20, limit: 1.5 * 2 ** 30 });
  });

  test("a start-first service brings its front, and the budget has room for both and a second copy", async () => {
    commit(base);
    write({ "vm1/a": buildManifest({ top: 'ports = ["80:80"]', tables: '[update]\norder = "start-first"' }) });
    const { code, node } = await run("HEAD");
    expect([code, Object.values(actions(node)).toSorted()]).toEqual([2, ["create", "recreate"]]);
    expect(node?.budget).toMatchObject({ before: 128 * 2 ** 20, after: (128 + 32 + 64) * 2 ** 20 });
  });

  test("the deletion brake says its word, and what is removed once it is lifted; a trailer lifts it", async () => {
    const all = Object.fromEntries(["a", "b", "c", "d"].map((name) => [`vm1/${name}`, buildManifest()]));
    commit({ "fleet.toml": FLEET, ...all });
    commit({ "vm1/a": null, "vm1/b": null, "vm1/c": null });
    const { code, node } = await run("HEAD~1");
    expect([code, actions(node)]).toEqual([2, { a: "remove", b: "remove", c: "remove" }]);
    expect(node?.held).toMatch(/would remove 3 of 4 services .* Orca-Allow-Removal: 3 into the commit/);
    git("commit", "--quiet", "--amend", "--message", "clean up\n\nOrca-Allow-Removal: 3");
    expect((await run("HEAD~1")).node?.held).toBe(undefined);
  });

  test("what the agent would not follow is 1: invalid, over the budget, a cycle, a fleet.toml that cannot be read", async () => {
    commit(base);
    write({ "vm1/a": "image = 5\n" });
    expect(await run("HEAD")).toMatchObject({ code: 1, node: { services: [{ service: "a", action: "invalid" }] } });
    write({ "vm1/a": buildManifest({ memory: "3GiB" }) });
    const over = await run("HEAD");
    expect(over).toMatchObject({ code: 1, node: { services: [{ service: "a", action: "held" }] } });
    expect(over.output).toMatch(/the caps come to 3\.06 GiB, and the node has 1\.5 GiB/);
    write({ "vm1/a": buildManifest({ top: 'requires = ["b"]' }), "vm1/b": buildManifest({ top: 'requires = ["a"]' }) });
    expect(actions((await run("HEAD")).node)).toEqual({ a: "held", b: "held" });
    write({ "vm1/a": buildManifest(), "vm1/b": buildManifest(), "fleet.toml": "nodes = 5" });
    expect(await run("HEAD")).toMatchObject({
      code: 1,
      node: { refused: expect.stringMatching(/fleet\.toml cannot be read/) },
    });
    // An invalid one is told each time, also where the change did not bring it.
    git("checkout", "--quiet", ".");
    commit({ "vm1/a": "image = 5\n" });
    expect(await run("HEAD")).toMatchObject({ code: 1, node: { services: [{ service: "a", action: "invalid" }] } });
    write({ "vm1/b": buildManifest({ image: "app:2" }) });
    const both = await run("HEAD");
    expect([both.code, actions(both.node)]).toEqual([1, { a: "invalid", b: "recreate" }]);
  });

  test("a file with secrets in it: another text is new content, another path of a secret too, and no value is asked for", async () => {
    const app = (path: string): string =>
      buildManifest({
        tables:
          `[secrets.templates]\nDB = "${path}"\n` +
          '[[files]]\nsource = "files/t.conf"\ntarget = "/t"\ntemplate = true\non_change = { signal = "SIGHUP" }',
      });
    commit({ ...base, "vm1/app": app("/prod/a"), "manifests/vm1/files/t.conf": "one {{ secrets.DB }}" });
    write({ "manifests/vm1/files/t.conf": "two {{ secrets.DB | json }}" });
    const effects = ["/t has new content: it gets SIGHUP"];
    expect((await run("HEAD")).node?.services).toMatchObject([{ service: "app", action: "deliver", effects }]);
    git("checkout", "--quiet", ".");
    write({ "vm1/app": app("/prod/b") });
    const fields = [{ key: "secrets.templates.DB", kind: "changed" }];
    expect((await run("HEAD")).node?.services).toMatchObject([{ service: "app", action: "deliver", effects, fields }]);
    write({ "manifests/vm1/files/t.conf": "two {{ secrets.DV }}" });
    const [invalid] = (await run("HEAD")).node?.services ?? [];
    expect(invalid).toMatchObject({ service: "app", action: "invalid" });
    expect(invalid?.effects[0]).toContain('files/t.conf:1:8: the manifest names no secret "DV"');
  });

  test("a node that is new, one that is gone, and what fleet.toml says of one", async () => {
    commit(base);
    const third = '[nodes.vm3]\naddress = "10.0.0.3"\nenv = "prod"\nmemory = "1GiB"\napproval = "tag"\n';
    write({ "fleet.toml": `${FLEET}\n${third}`, "vm3/x": buildManifest() });
    const added = await run("HEAD", { node: "vm3" });
    expect(added).toMatchObject({ code: 2, node: { presence: "new", services: [{ service: "x", action: "create" }] } });
    expect(added.node?.notes).toEqual(["it waits for an approval tag orca/approve/vm3/…"]);
    rmSync(join(root, "orca/manifests/vm2"), { recursive: true });
    const gone = await run("HEAD", { node: "vm2" });
    expect(gone).toMatchObject({ code: 2, node: { presence: "gone", services: [] } });
    expect(gone.node?.notes[0]).toMatch(/nothing is removed/);
    write({ "fleet.toml": FLEET.replace('memory = "2GiB"', 'memory = "4GiB"'), "vm3/x": null });
    expect((await run("HEAD", { node: "vm1" })).node?.fleet).toEqual([
      { key: "memory", kind: "changed", from: '"2GiB"', to: '"4GiB"' },
    ]);
    await expect(run("HEAD", { node: "vm9" })).rejects.toThrow(/no node vm9; there are vm1, vm2/);
  });

  test("a route of another node reaches the proxy that renders it", async () => {
    const proxy = buildManifest({ tables: '[[files]]\nsource = "files/p.tmpl"\ntarget = "/p"\ntemplate = true' });
    const routed = (host: string): string => buildManifest({ tables: `[[routes]]\nhost = "${host}"\nport = 80` });
    const template = "{% for route in routes %}{{ route.host }}\n{% endfor %}";
    commit({ ...base, "vm1/proxy": proxy, "manifests/vm1/files/p.tmpl": template, "vm2/c": routed("a.example") });
    write({ "vm2/c": routed("b.example") });
    const { report } = await run("HEAD");
    expect(report.nodes.map((node) => [node.node, actions(node)])).toEqual([
      ["vm1", { proxy: "deliver" }],
      ["vm2", { c: "agent" }],
    ]);
  });
});

describe("which revisions it understands", () => {
  test("branches, remote branches, tags, HEAD, short ids, parents and merges", async () => {
    const first = commit(base);
    git("tag", "--annotate", "v1", "--message", "one");
    git("tag", "light");
    git("update-ref", "refs/remotes/origin/main", first);
    git("branch", "feature/x");
    const second = commit({ "vm1/a": buildManifest({ image: "app:2" }) });
    git("merge", "--quiet", "--no-ff", "-s", "ours", "--allow-unrelated-histories", "--no-edit", "feature/x");
    for (const name of [
      "v1",
      "light",
      "origin/main",
      "feature/x",
      first,
      first.slice(0, 8),
      "HEAD~1",
      "HEAD^",
      "main~1",
      "@~1",
    ]) {
      const { report, code } = await run(name);
      expect([name, report.revision, code]).toEqual([
        name,
        git("rev-parse", `${name}^{commit}`),
        report.revision === second ? 0 : 2,
      ]);
    }
  });

  test("packed refs and packs, a linked work tree, a borrowed store, a subdirectory, and orca/ itself", async () => {
    commit(base);
    commit({ "vm1/a": buildManifest({ image: "app:2" }) });
    git("gc", "--quiet");
    git("pack-refs", "--all");
    const other = join(root, "..", `${root.split("/").at(-1)}-linked`);
    const borrowed = `${other}-shared`;
    git("worktree", "add", "--quiet", "--detach", other, "HEAD");
    execFileSync("git", ["clone", "--quiet", "--shared", root, borrowed]);
    try {
      for (const at of [root, join(root, "orca"), other, borrowed]) {
        const { report } = await run("HEAD~1", { at });
        expect([at, report.nodes.map(actions)]).toEqual([at, [{ a: "recreate" }]]);
      }
    } finally {
      rmSync(other, { recursive: true });
      rmSync(borrowed, { recursive: true });
    }
  });

  test.each([
    ["nope", /no revision "nope" in this clone: fetch it first \(git fetch\)/],
    ["origin/main", /fetch it first \(git fetch origin main\)/],
    ["HEAD~7", /no HEAD~7: commit \w{12} has 0 parents/],
    ["HEAD^2", /has 0 parents/],
    ["../../etc/passwd", /no revision/],
    ["--upload-pack=x", /no revision/],
    ["", /no revision/],
    ["f".repeat(40), /no revision/],
  ])("%j is refused in words", async (name, words) => {
    commit(base);
    await expect(run(name)).rejects.toThrow(words);
  });

  test("a shallow clone says what to fetch; a directory that is no repository says that", async () => {
    commit(base);
    commit({ "vm1/a": buildManifest({ image: "app:2" }) });
    const shallow = `${root}-shallow`;
    execFileSync("git", ["clone", "--quiet", "--depth", "1", `file://${root}`, shallow]);
    try {
      await expect(run("HEAD~1", { at: shallow })).rejects.toThrow(/shallow or not whole; fetch more of it/);
      rmSync(join(shallow, ".git"), { recursive: true });
      await expect(run("HEAD", { at: shallow })).rejects.toThrow(/is not in a Git work tree/);
    } finally {
      rmSync(shallow, { recursive: true });
    }
  });
});

describe("what it prints", () => {
  const secret = "hunter2hunter2";

  test("no form shows a secret's path, a password in an environment, or what a link leads to", async () => {
    const taking = (path: string, password: string): string =>
      buildManifest({ tables: `[env]\nADMIN_PASSWORD = "${password}"\n[secrets.env]\nTOKEN = "/prod/${path}"` });
    commit({ ...base, "vm1/a": taking("one", `${secret}1`) });
    write({ "vm1/a": taking("two", `${secret}2`) });
    writeFileSync(join(root, "outside"), secret);
    rmSync(join(root, "orca/manifests/vm1/b.toml"));
    symlinkSync(join(root, "outside"), join(root, "orca/manifests/vm1/b.toml"));
    for (const format of [undefined, "text", "markdown"] as const) {
      const { output } = await run("HEAD", format === undefined ? {} : { format });
      expect(output).not.toContain(secret);
      expect(output).not.toMatch(/prod\/(one|two)/);
      expect(output).toContain("secrets.env.TOKEN");
    }
    expect(actions((await run("HEAD")).node)).toEqual({ a: "recreate", b: "invalid" });
  });

  test("in Markdown nothing of the manifests is more than text", async () => {
    commit(base);
    const evil = "x`|</details><img src=x>@jane [a](b) <!-- -->";
    write({ "vm1/a": buildManifest({ tables: `[env]\nA = ${JSON.stringify(evil)}\n` }) });
    write({ "manifests/vm1/x`|<b>.toml": "image = 1" });
    const { output, code } = await run("HEAD", { format: "markdown" });
    expect(code).toBe(1);
    expect(output).toMatch(/^<!-- orca-plan -->\n### Orca plan: 1 of 2 nodes changes\n/);
    const outside = output
      .replace("<!-- orca-plan -->", "")
      .replaceAll(/(?<!`)(`+)(?!`)[^\n]*?(?<!`)\1(?!`)/g, "")
      .replaceAll(/<\/?(details|summary)>|<br>/g, "");
    expect(outside).not.toMatch(/[<@[]/);
    // A row has as many cells as its table, whatever is in them.
    const rows = output.split("\n").filter((line) => line.startsWith("|"));
    for (const row of rows) expect(row.replaceAll("\\|", "").split("|")).toHaveLength(6);
  });

  test("a large change is cut where a forge would refuse the comment", async () => {
    const many = Object.fromEntries(
      Array.from({ length: 60 }, (_none, node) => node).flatMap((node) =>
        Array.from({ length: 20 }, (_more, name) => [`n${node}/s${name}`, buildManifest()] as const),
      ),
    );
    const fleet = Array.from(
      { length: 60 },
      (_none, node) => `[nodes.n${node}]\naddress = "10.0.1.${node}"\nenv = "prod"\nmemory = "8GiB"\n`,
    );
    commit({ "fleet.toml": fleet.join("\n"), ...many });
    write(Object.fromEntries(Object.keys(many).map((name) => [name, buildManifest({ image: "app:2" })])));
    const { output, code } = await run("HEAD", { format: "markdown" });
    expect(code).toBe(2);
    expect(output.length).toBeLessThan(65_000);
    expect(output).toMatch(/… and \d+ more nodes: see `orca plan` in the job's log\.\n$/);
  });

  test("text for people", async () => {
    commit(base);
    write({ "vm1/a": buildManifest({ image: "app:2" }) });
    expect((await run("HEAD", { format: "text" })).output.split("\n")).toEqual([
      expect.stringMatching(/^against HEAD \(\w{12}\): 1 of 2 nodes changes$/),
      "",
      "node vm1: caps of 128 MiB in 1.5 GiB",
      "  ± a         recreated: image: app:1 → app:2",
      '      image: "app:1" → "app:2"',
      "  starts in wave 1: a",
      "",
    ]);
  });
});
