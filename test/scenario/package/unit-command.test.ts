// `orca unit`: which directories it opens to the agent's unit, what it refuses to open, and that nothing but a path gets into the file.
// What systemd makes of it, on a booted Debian: test/vm/package.test.ts.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { unit } from "../../../agent/cli/agent/unit-command.ts";
import { buildDropIn, findObjection, selectOpened } from "../../../agent/cli/agent/unit-drop-in.ts";

let root: string;
let server: Server | undefined;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "orca-unit-"));
  configure("/var/lib/orca/backups");
});

afterEach(async () => {
  await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
  server = undefined;
  rmSync(root, { recursive: true });
});

function configure(backups: string): void {
  const text = `node = "demo"\nsource = { dir = "/srv" }\nbackups = { dir = ${JSON.stringify(backups)} }\n`;
  writeFileSync(join(root, "agent.toml"), text);
}

/** An agent whose services keep their backups there. */
async function startAgent(...directories: (string | undefined)[]): Promise<void> {
  const repositories = directories.map((directory, index) => ({ name: `r${index}`, directory }));
  server = createServer((_request, response) => response.end(JSON.stringify({ stores: [{ repositories }] })));
  await new Promise<void>((resolve) => server?.listen(join(root, "agent.sock"), resolve));
}

async function write(): Promise<string | undefined> {
  const place = join(root, "unit.d", "orca-paths.conf");
  const options = { config: join(root, "agent.toml"), socket: join(root, "agent.sock"), write: true };
  expect(await unit(options, place)).toBe(0);
  return existsSync(place) ? readFileSync(place, "utf8").replace(/^#.*\n/, "") : undefined;
}

test("what agent.toml and the repositories in force name is opened, each once; what the unit has anyway is not", async () => {
  await startAgent("/mnt/orca-nas/backups", "/var/lib/orca/backups", undefined, "/mnt/orca-nas");
  configure("/srv/orca backups/100%");
  expect(await write()).toBe('[Service]\nReadWritePaths="-/mnt/orca-nas"\nReadWritePaths="-/srv/orca backups/100%%"\n');
});

test("what is not named any more is closed again; without anything to open there is no drop-in", async () => {
  await startAgent();
  configure("/srv/orca-backups");
  expect(await write()).toBe('[Service]\nReadWritePaths="-/srv/orca-backups"\n');
  configure("/var/lib/orca/backups");
  expect(await write()).toBe(undefined);
  expect(await write()).toBe(undefined);
});

test("before its first start the agent need not be asked; later, one that is down closes nothing", async () => {
  configure("/srv/orca-backups");
  const opened = await write();
  expect(opened).toBe('[Service]\nReadWritePaths="-/srv/orca-backups"\n');
  configure("/var/lib/orca/backups");
  await expect(write()).rejects.toThrow(
    /stays as it is: which repositories are in force is not known: no agent answers/,
  );
  await startAgent();
  expect(await write()).toBe(undefined);
});

test("a directory of the system is not opened, by whatever name, and then none is", async () => {
  mkdirSync(join(root, "mnt"));
  symlinkSync("/etc", join(root, "mnt/nas"));
  await startAgent("/mnt/orca-nas", join(root, "mnt/nas/orca"));
  await expect(write()).rejects.toThrow(
    '"/etc/orca" is not opened: /etc belongs to the system; name another directory',
  );
  expect(existsSync(join(root, "unit.d"))).toBe(false);
});

test.each([
  "/",
  "/var",
  "/var/lib",
  "/usr/share",
  "/var/lib/docker/volumes",
  "/opt/orca/versions",
  "/mnt/a\n[Service]\nExecStart=/x",
])("%j is refused", (path) => expect(findObjection(path)).toMatch(/belongs to the system|control characters/));

test("names that only look alike are others, and quotes end no line", () => {
  expect(["/variety", "/home/backups", "/var/lib/orca-more"].map(findObjection)).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  expect(selectOpened(["/b", "/a/c", "/a", "/ab", "/b"], ["/own"])).toEqual(["/a", "/ab", "/b"]);
  expect(buildDropIn(['/a" /etc', "/b\\"])).toMatch(/^ReadWritePaths="-\/a\\" \/etc"\nReadWritePaths="-\/b\\\\"\n$/m);
});
