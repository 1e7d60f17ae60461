// A node's keys as a change of fleet.toml: whatever the file looks like, only these two lines change, and `git apply` takes the patch.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { buildPatch, putNodeKeys } from "../../../agent/setup/node-keys.ts";

const KEYS = { public_key: `ed25519:${"A".repeat(43)}`, backup_key: `age1${"q".repeat(58)}` };
const LINES = `public_key = "${KEYS.public_key}"\nbackup_key = "${KEYS.backup_key}"\n`;
const directory = mkdtempSync(join(tmpdir(), "orca-keys-"));

afterAll(() => rmSync(directory, { recursive: true }));

const FILES = {
  "a node between others, with comments":
    '# the fleet\n[nodes.vm-edge]\naddress = "10.0.0.10" # private\nenv = "prod"\n\n# the other\n[nodes.vm-data]\naddress = "10.0.0.30"\n',
  "the last table, without a newline at its end":
    '[nodes.vm-data]\naddress = "10.0.0.30"\n[nodes.vm-edge]\nenv = "prod"',
  "keys that it had, aligned": `[nodes.vm-edge]\npublic_key    = "ed25519:${"B".repeat(43)}"   # old\nenv = "prod"\nbackup_key = 'age1${"x".repeat(58)}'\n`,
  "one key that it had": `[nodes.vm-edge]\nenv = "prod"\npublic_key = "ed25519:${"B".repeat(43)}"\n[alerts]\nrepeat = "6h"\n`,
  "a quoted name and a table inside": '[nodes."vm-edge"]\nenv = "prod"\n\n[nodes.vm-edge.data]\nmount = "/mnt/data"\n',
  "a list over several lines":
    '[nodes.vm-edge]\nfreeze = [\n  { schedule = "0 16 * * 5", for = "64h" },\n] # weekends\n[host]\nssh = []\n',
  "an empty table": "[nodes.vm-edge]\n[nodes.vm-data]\n",
  "Windows line ends": '[nodes.vm-edge]\r\nenv = "prod"\r\n[nodes.vm-data]\r\n',
} as const;

describe.each(Object.entries(FILES))("%s", (_what, text) => {
  const made = putNodeKeys(text, "vm-edge", KEYS) ?? "";

  test("gets the two lines, and keeps all others", () => {
    expect(made).toContain(KEYS.public_key);
    expect(made).toContain(KEYS.backup_key);
    const rest = made.split(/\r?\n/).filter((line) => !/^(public|backup)_key/.test(line));
    expect(rest).toEqual(text.split(/\r?\n/).filter((line) => !/^(public|backup)_key/.test(line)));
    expect(putNodeKeys(made, "vm-edge", KEYS)).toBe(made);
  });

  test("as a patch that git applies", () => {
    mkdirSync(join(directory, "orca"), { recursive: true });
    writeFileSync(join(directory, "orca/fleet.toml"), text);
    const patch = `fleet: the keys of vm-edge\n\n${buildPatch("orca/fleet.toml", text, made)}`;
    execFileSync("git", ["apply", "--check", "-"], { cwd: directory, input: patch });
    execFileSync("git", ["apply", "-"], { cwd: directory, input: patch });
    expect(readFileSync(join(directory, "orca/fleet.toml"), "utf8")).toBe(made);
  });
});

test("a patch shows three lines around the change", () => {
  const text = `${Array.from({ length: 9 }, (_, at) => `# ${at}\n`).join("")}[nodes.vm-edge]\n# end\n# end\n# end\n# end\n`;
  const made = putNodeKeys(text, "vm-edge", KEYS) ?? "";
  expect(buildPatch("orca/fleet.toml", text, made)).toBe(
    "diff --git a/orca/fleet.toml b/orca/fleet.toml\n--- a/orca/fleet.toml\n+++ b/orca/fleet.toml\n@@ -8,6 +8,8 @@\n" +
      ` # 7\n # 8\n [nodes.vm-edge]\n${LINES.replaceAll(/^/gm, "+").replace(/\+$/, "")} # end\n # end\n # end\n`,
  );
});

test.each([
  ["an inline table", 'nodes = { vm-edge = { address = "10.0.0.10" } }\n'],
  ["dotted keys", 'nodes.vm-edge.address = "10.0.0.10"\n'],
  ["another node alone", '[nodes.vm-data]\naddress = "10.0.0.30"\n'],
])("%s is left to a person", (_what, text) => {
  expect(putNodeKeys(text, "vm-edge", KEYS)).toBeUndefined();
});
