// What differs between two TOML texts, and that no secret is in the answer.

import { assert, property, string } from "fast-check";
import { stringify } from "smol-toml";
import { expect, test } from "vitest";

import { compareToml } from "../../../agent/desired/repository/toml-diff.ts";

test("keys are told as their authors wrote them", () => {
  const before =
    'image = "a:1"\nowner = "x"\nports = ["80:80"]\n[resources]\nmemory = "2GiB"\n[health]\ntcp = { port = 1 }';
  const after =
    'image = "a:2"\nports = ["80:80", "81:81"]\n[resources]\nmemory = "2GiB"\n[health]\nhttp = { port = 1 }';
  expect(compareToml(before, after)).toEqual([
    { key: "health.http.port", kind: "added", to: "1" },
    { key: "health.tcp.port", kind: "removed", from: "1" },
    { key: "image", kind: "changed", from: '"a:1"', to: '"a:2"' },
    { key: "owner", kind: "removed", from: '"x"' },
    { key: "ports", kind: "changed", from: '["80:80"]', to: '["80:80","81:81"]' },
  ]);
});

test("entries of lists of tables are told apart by their names, not by their places", () => {
  const one = '[[volumes]]\nname = "a"\ntarget = "/a"\n';
  const two = '[[volumes]]\nname = "b"\ntarget = "/b"\n';
  expect(compareToml(one + two, two)).toEqual([
    { key: "volumes[a].name", kind: "removed", from: '"a"' },
    { key: "volumes[a].target", kind: "removed", from: '"/a"' },
  ]);
  expect(compareToml(one + two, two + one)).toEqual([]);
});

test("of secrets the names alone are told, wherever they stand", () => {
  const value = "hunter2hunter2";
  const texts = [
    `[secrets.env]\nDB = "/prod/${value}"`,
    `[bootstrap]\nenv_file = "/etc/orca/${value}"`,
    `[env]\nADMIN_PASSWORD = "${value}"`,
    `[env]\nDB_URL = "postgres://app:${value}@db/app"`,
    `[env]\nTOKEN_A = "ghp_${value}${value}${value}"`,
    `command = ["run", "--url", "https://u:${value}@host/"]`,
  ];
  for (const text of texts) {
    for (const [before, after] of [
      [text, undefined],
      [undefined, text],
      [text, text.replace(value, `${value}x`)],
    ]) {
      const changes = compareToml(before, after);
      expect(changes).toHaveLength(1);
      expect(JSON.stringify(changes)).not.toContain(value);
    }
  }
  expect(compareToml(undefined, '[env]\nTOKEN_FILE = "/run/secrets/t"')[0]?.to).toBe('"/run/secrets/t"');
});

test("one table of two files, long values, and texts that are no TOML", () => {
  const fleet = '[nodes.a]\nmemory = "1GiB"\n[nodes.b]\nmemory = "2GiB"';
  expect(compareToml(fleet, fleet.replace("2GiB", "3GiB"), ["nodes", "b"])).toEqual([
    { key: "memory", kind: "changed", from: '"2GiB"', to: '"3GiB"' },
  ]);
  expect(compareToml(fleet, fleet.replace("2GiB", "3GiB"), ["nodes", "a"])).toEqual([]);
  expect(compareToml(undefined, `a = "${"x".repeat(500)}"`)[0]?.to).toHaveLength(120);
  expect(compareToml("= no", "image = [")).toEqual([]);
});

test("a text compared with itself has no change, and with nothing has each of its keys", () => {
  assert(
    property(string({ minLength: 1 }), string(), (key, value) => {
      const text = stringify({ [key]: value });
      expect(compareToml(text, text)).toEqual([]);
      expect(compareToml(undefined, text)).toHaveLength(1);
    }),
  );
});
