// Paths, links and headings in what people read: all are there; the maps name every room and lane, the README leads to every page.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { describe, expect, test } from "vitest";
import { parse as parseYaml } from "yaml";

import { joinDocuments, listShellLines, PAGES, parseReadme, readDocuments, ROOT } from "../../builders/data/readme.ts";

const documents = readDocuments();
const readme = joinDocuments(documents.values());

describe("places", () => {
  test("paths of the tree that it names are there", () => {
    const paths = /(?<![\w/.-])(?:\.\/)?((?:\.ci|agent|shared|scripts|test|host-config|systemd)\/[\w./-]*[\w/])/g;
    const named = [...new Set([...readme.text.matchAll(paths)].map(([, path]) => path ?? ""))];
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  test.each([...documents])("links of %s lead to files and headings that are there", (path, { text, links }) => {
    const titles = [...text.matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) => title.toLowerCase());
    const headings = new Set(titles.map((title) => title.replaceAll(" ", "-")));
    const broken = links.filter((link) =>
      link.startsWith("#") ? !headings.has(link.slice(1)) : !existsSync(join(ROOT, dirname(path), link)),
    );
    expect(broken).toEqual([]);
  });

  test("figures have their place", () => {
    expect(documents.get(`${PAGES}/measured.md`)?.text).toMatch(/\n<!-- measured -->\n\n\|/);
  });

  test("the map names every room, and the ten files of a service's way", () => {
    const { text = "", rows = [] } = documents.get("agent/README.md") ?? {};
    const rooms = readdirSync(join(ROOT, "agent"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(rooms.map(({ name }) => name).filter((name) => !text.includes(`\`agent/${name}/\``))).toEqual([]);
    const way = rows.filter(([number = ""]) => /^\d+$/.test(number));
    expect(way.map(([number, file = ""]) => [number, /^`agent\/[\w/-]+\.ts`$/.test(file)])).toEqual(
      Array.from({ length: 10 }, (_, index) => [`${index + 1}`, true]),
    );
  });

  test("the map of the tests names every lane", () => {
    const { text = "" } = documents.get("test/README.md") ?? {};
    const config = readFileSync(join(ROOT, "test/vitest.config.ts"), "utf8");
    const lanes = [...config.matchAll(/name: "(\w+)"/g)].map(([, lane = ""]) => lane);
    expect(lanes.length).toBeGreaterThan(4);
    expect(lanes.filter((lane) => !text.includes(`| \`test/${lane}/\` |`))).toEqual([]);
  });

  test("the forge's workflow runs what CI runs by hand, and nothing else", () => {
    const { jobs } = parseYaml(readFileSync(join(ROOT, ".gitea/workflows/ci.yml"), "utf8")) as {
      jobs: { test: { steps: { run?: string }[] } };
    };
    expect(jobs.test.steps.flatMap(({ run }) => run ?? [])).toEqual(["./.ci/run"]);
  });

  test("the README sells in two minutes, and leads to every page", () => {
    const { text = "", links = [] } = documents.get("README.md") ?? {};
    expect(text.split("\n").length).toBeLessThanOrEqual(200);
    const pages = [...documents.keys()].filter((path) => path.startsWith(PAGES));
    expect(pages.filter((path) => !links.includes(path))).toEqual([]);
  });
});

describe("the reader of documents", () => {
  test("takes a text apart", () => {
    const text =
      "# A\n\nsee `orca x` and [b](c.md)\n<!-- file: d.toml -->\n```toml\ne = 1\n```\n## B\n```sh\norca y # z\n```\n| f | `g` |\n";
    const parsed = parseReadme(text);
    expect(parsed).toMatchObject({ codes: ["orca x", "g"], links: ["c.md"], rows: [["f", "`g`"]] });
    expect(parsed.blocks).toEqual([
      { language: "toml", file: "d.toml", text: "e = 1\n", heading: "A" },
      { language: "sh", file: undefined, text: "orca y # z\n", heading: "B" },
    ]);
    expect(listShellLines(parsed)).toEqual(["orca y"]);
    expect(() => parseReadme("```sh\norca")).toThrow("no end");
  });
});
