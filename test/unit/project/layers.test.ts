// Every file keeps to the table of rooms (test/builders/data/rooms.ts), types too; and the table is tried against violations planted in
// each room, so that it is known to see them.

import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

import { describe, expect, test } from "vitest";

import { findRoom, FLOORS, judgeImports, listImports, PURE, type SourceFile } from "../../builders/data/rooms.ts";

const ROOT = join(import.meta.dirname, "../../..");

function readFiles(top: string): SourceFile[] {
  return readdirSync(join(ROOT, top), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => ({ path: `${top}/${name}`, text: readFileSync(join(ROOT, top, name), "utf8") }));
}

const FILES = ["agent", "shared", "scripts"].flatMap(readFiles);

describe("the table of rooms", () => {
  test("holds every import of agent/, shared/ and scripts/", () => {
    expect(FILES.length).toBeGreaterThan(350);
    expect(FILES.flatMap(judgeImports)).toEqual([]);
  });

  test("has a floor for every room that there is", () => {
    const rooms = new Set(FILES.filter(({ path }) => path.startsWith("agent/")).map(({ path }) => findRoom(path)));
    expect([...rooms].filter((room) => !FLOORS.flat().includes(room))).toEqual([]);
  });

  test("no two files have one name", () => {
    const names = FILES.map(({ path }) => basename(path));
    expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([]);
  });

  test("no folder holds more files than a reader can look through", () => {
    const folders = Map.groupBy([...FILES, ...readFiles("test")], ({ path }) => path.slice(0, path.lastIndexOf("/")));
    const full = [...folders]
      .filter(([, files]) => files.length > 24)
      .map(([folder, { length }]) => `${folder}: ${length}`);
    expect(full).toEqual([]);
  });

  test("sees every form of an import", () => {
    const text = `
      import a from "./a.ts"; import type { B } from "./b.ts"; export * from "./c.ts"; export { type D } from "./d.ts";
      const e = await import("./e.ts"); import "./f.ts"; let g: typeof import("./g.ts");
      // import nothing from "./comment.ts"
    `;
    expect(listImports(text)).toEqual(["./a.ts", "./b.ts", "./c.ts", "./d.ts", "./e.ts", "./f.ts", "./g.ts"]);
  });
});

describe("planted violations", () => {
  const imports = (name: string): string => `import type { Planted } from "${name}";\n`;

  test.each([
    // Law 1: arrows never go back; report/ is a sink.
    ["agent/sources/planted.ts", imports("../report/report.ts")],
    ["agent/gossip/planted.ts", imports("../report/report.ts")],
    ["agent/observed/planted.ts", imports("../cli/frame/terminal.ts")],
    ["agent/daemon/planted.ts", imports("../cli/frame/exit-codes.ts")],
    ["agent/report/planted.ts", imports("../serve/loopback.ts")],
    ["agent/report/planted.ts", imports("../loop/requests.ts")],
    ["agent/serve/planted.ts", `await import("../../loop/agent.ts");`],
    ["agent/host/planted.ts", imports("../docker/reader.ts")],
    ["agent/health/planted.ts", imports("../observed/observer.ts")],
    ["agent/desired/planted.ts", imports("../plan/world.ts")],
    ["shared/text/planted.ts", imports("../../agent/plan/world.ts")],
    // Law 2: one writer, and one file that speaks to dockerode.
    ["agent/host/os/planted.ts", imports("dockerode")],
    ["agent/docker/planted.ts", `const { default: Docker } = await import("dockerode");`],
    ["agent/observed/planted.ts", imports("../docker/writer.ts")],
    ["agent/report/planted.ts", imports("../docker/writer.ts")],
    ["agent/loop/reconciler.ts", imports("../docker/writer.ts")],
    ["agent/serve/planted.ts", imports("../docker/one-shot.ts")],
    // Law 4: the core is pure.
    ["agent/plan/rules/planted.ts", imports("node:fs")],
    ["agent/plan/planted.ts", imports("../host/os/clock.ts")],
    ["agent/desired/build/planted.ts", "const now = Date.now();"],
    ["agent/gossip/core/planted.ts", "const sample = Math.random();"],
    ["agent/gossip/core/planted.ts", imports("../mesh/transport.ts")],
    ["agent/plan/memory/planted.ts", "setTimeout(() => undefined, 5);"],
    ["shared/state/planted.ts", `const home = process.env["HOME"];`],
    // No process but by host/, nothing of the tests in the product, nothing loose.
    ["agent/apply/planted.ts", imports("node:child_process")],
    ["agent/cli/doctor/planted.ts", imports("child_process")],
    ["agent/host/planted.ts", imports("../../test/builders/node/node.ts")],
    ["scripts/benchmarks/planted.ts", imports("../../test/builders/node/node.ts")],
    ["agent/planted.ts", "export const planted = true;"],
    ["agent/utils/planted.ts", imports("../host/os/clock.ts")],
  ])("in %s: %s", (path, text) => {
    expect(judgeImports({ path, text })).not.toEqual([]);
  });

  test("and what keeps to the table passes", () => {
    const good: SourceFile[] = [
      { path: "agent/cli/plan/good.ts", text: imports("../../plan/plan.ts") },
      { path: "agent/apply/good.ts", text: imports("../docker/writer.ts") },
      { path: "agent/plan/good.ts", text: `${imports("../desired/build/build.ts")}// Date.now() is nobody's here\n` },
      { path: "agent/host/os/good.ts", text: imports("node:child_process") },
    ];
    expect(good.flatMap(judgeImports)).toEqual([]);
  });
});

describe("laws 3 and 5, in the type of a step", () => {
  const step = FILES.find(({ path }) => path === "shared/state/step.ts")?.text ?? "";
  const kinds = [...step.matchAll(/\bkind: "([a-z-]+)"/g)].map(([, kind]) => kind ?? "");

  test("no kind of step removes a volume, an image that is used, or anything by a free name", () => {
    expect(kinds.length).toBeGreaterThan(5);
    expect(kinds.filter((kind) => /remove|delete|prune/.test(kind))).toEqual(["remove-files", "remove-container"]);
    // A container is named through Orca's own label alone.
    expect(step).toContain("OwnContainerId");
    expect(step).not.toMatch(/container(?:Id)?: string/);
  });

  test("a step is data: no function, no live object, no value of a secret", () => {
    const code = step.replaceAll(/^\s*(?:\/\/|\*|\/\*).*$/gm, "");
    expect(code).not.toMatch(/=> |Promise<|\bClock\b|\bSecret\b(?!Ref)/);
  });
});

test("the pure rooms are there", () => {
  for (const start of PURE) expect(FILES.some(({ path }) => path.startsWith(start))).toBe(true);
});
