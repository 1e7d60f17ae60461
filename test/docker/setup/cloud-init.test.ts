// User-data before the real cloud-init: its own schema check takes it, for each cloud; it passes a misspelt key, which Orca's check does
// not; and Orca knows every key that the installed schema has. The program itself is run, as a person runs it.

import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { afterAll, beforeAll, expect, test } from "vitest";

import { CLOUD_CONFIG_KEYS } from "../../../agent/setup/cloud-config-keys.ts";
import { readPage, ROOT, selectFiles, writeFiles } from "../../builders/data/readme.ts";

const directory = mkdtempSync(join(tmpdir(), "orca-user-data-"));
const platform = join(directory, "platform");
const made = join(directory, "made.yaml");

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

function run(program: string, ...words: string[]): Promise<Ended> {
  return promisify(execFile)(program, words, { cwd: platform }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: Ended) => error,
  );
}

function orca(...words: string[]): Promise<Ended> {
  return run(process.execPath, process.env["ORCA_PROGRAM"] ?? join(ROOT, "agent/main.ts"), ...words);
}

/** The real program's word on a text. */
async function judge(text: string): Promise<string> {
  writeFileSync(made, text);
  const { code, stdout, stderr } = await run("cloud-init", "schema", "--config-file", made);
  return code === 0 ? "valid" : `${stdout}${stderr}`;
}

beforeAll(() => {
  // The page's own example.
  writeFiles(platform, selectFiles(readPage("cloud-init"), "fleet"));
  writeFiles(platform, new Map([["orca/manifests/vm-edge/.keep", ""]]));
});
afterAll(() => rmSync(directory, { recursive: true }));

test.each(["hetzner", "openstack", "digitalocean"])(
  "what is made for %s is valid to cloud-init itself",
  async (cloud) => {
    const { code, stdout, stderr } = await orca("cloud-init", "vm-edge", "--provider", cloud);
    expect([code, stderr]).toEqual([0, ""]);
    expect(await judge(stdout)).toBe("valid");
    // The version and the checksum are those that the fleet's agents are pinned to.
    expect(stdout).toContain("PACKAGE='https://packages.example.com/orca_0.1.0_{arch}.deb'");
    expect(stdout).toMatch(/SHA256_AMD64='[0-9a-f]{64}'/);
    const checked = await orca("cloud-init", "vm-edge", "--check", made);
    expect([checked.code, checked.stdout]).toEqual([0, expect.stringMatching(/ bytes, every top-level key is known/)]);
  },
);

test("the lines of the page, typed as they stand there", async () => {
  const block = readPage("cloud-init").blocks.find(({ heading }) => heading === "Make the user-data");
  const lines = (block?.text ?? "").trim().split("\n");
  expect(lines.length).toBeGreaterThan(1);
  const program = `${process.execPath} ${process.env["ORCA_PROGRAM"] ?? join(ROOT, "agent/main.ts")}`;
  for (const line of lines) {
    const { code, stdout, stderr } = await run("sh", "-c", `orca() { ${program} "$@"; }; ${line}`);
    expect([line, code, stderr]).toEqual([line, 0, ""]);
    expect(stdout).toMatch(line.includes("--check") ? /no secret\n$/ : /^$/);
  }
});

test("a misspelt key passes cloud-init's check, and not Orca's", async () => {
  const { stdout } = await orca("cloud-init", "vm-edge", "--provider", "hetzner");
  expect(await judge(stdout.replace("\nruncmd:", "\nruncmdd:"))).toBe("valid");
  const checked = await orca("cloud-init", "vm-edge", "--check", made);
  expect([checked.code, checked.stdout]).toEqual([1, expect.stringMatching(/no key runcmdd, .*: write runcmd\n$/)]);
  // A wrong value is what cloud-init finds: so it was asked, and answers.
  expect(await judge(stdout.replace('"0600"', "600"))).toMatch(/not of type 'string'/);
});

test("every key of the installed cloud-init is known", () => {
  const schemas = "/usr/lib/python3/dist-packages/cloudinit/config/schemas";
  const file = readdirSync(schemas).find((name) => /^schema-cloud-config-v\d+\.json$/.test(name)) ?? "";
  interface Part {
    properties?: object;
    allOf?: Part[];
    anyOf?: Part[];
  }
  const { $defs } = JSON.parse(readFileSync(join(schemas, file), "utf8")) as { $defs: Record<string, Part> };
  const list = (part: Part): string[] => [
    ...Object.keys(part.properties ?? {}),
    ...[...(part.allOf ?? []), ...(part.anyOf ?? [])].flatMap(list),
  ];
  const keys = Object.entries($defs).flatMap(([name, part]) => (name.startsWith("cc_") ? list(part) : []));
  expect(keys.length).toBeGreaterThan(50);
  expect(keys.filter((key) => !CLOUD_CONFIG_KEYS.has(key))).toEqual([]);
});

test("says what is missing: the node, the package, its checksum, the source", async () => {
  const say = async (...words: string[]): Promise<string> => {
    const { code, stdout, stderr } = await orca("cloud-init", ...words);
    expect([code, stdout]).toEqual([1, ""]);
    return stderr;
  };
  expect(await say("vm-egde")).toMatch(/no node vm-egde in orca\/fleet\.toml; there are vm-edge, vm-control/);
  expect(await say("vm-edge", "--package", "https://x.example/a.deb")).toMatch(/go together/);
  expect(await say("vm-edge", "--package", "https://x.example/a.deb", "--sha256", "ab")).toMatch(/64 hex digits/);
  expect(await say("vm-edge", "--package", "https://x.example/a;id.deb", "--sha256", "ab")).toMatch(
    /no URL of a package/,
  );
  expect(await say("vm-edge", "--volume", "sdb")).toMatch(/no disk/);
  const bare = join(directory, "bare");
  const plain = '[nodes.vm-edge]\naddress = "10.0.0.10"\nenv = "prod"\nmemory = "8GiB"\n';
  writeFiles(
    bare,
    new Map([
      ["orca/fleet.toml", plain],
      ["orca/manifests/vm-edge/.keep", ""],
    ]),
  );
  expect(await say("vm-edge", bare)).toMatch(
    /nothing says where vm-edge reads the manifests from: write \[host\] source/,
  );
  writeFiles(bare, new Map([["orca/fleet.toml", `${plain}data = { mount = "/mnt/my data" }\n`]]));
  expect(await say("vm-edge", bare)).toMatch(/data\.mount "\/mnt\/my data" is no plain path/);
  writeFiles(bare, new Map([["orca/fleet.toml", plain]]));
  const agent = join(directory, "agent.toml");
  writeFileSync(agent, 'node = "other"\nsource = { dir = "/srv/orca/platform" }\n');
  expect(await say("vm-edge", bare, "--agent", agent)).toMatch(/nothing says where the package is/);
  writeFileSync(agent, 'node = "other"\nsource = { dirr = "/srv/orca/platform" }\n');
  expect(await say("vm-edge", bare, "--agent", agent)).toMatch(/dirr/);
});
