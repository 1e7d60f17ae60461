// The keys of agent.toml while the agent runs: what the file says now counts, and a file that says nothing trusts nobody.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "vitest";

import { createKeyReader } from "../../../agent/host/files/trusted-keys.ts";

const LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

test("are read again when the file changes; a file that is broken or without keys is an error, not an empty list", async () => {
  const directory = mkdtempSync(join(tmpdir(), "orca-keys-"));
  const file = join(directory, "agent.toml");
  const write = (keys: string): void => {
    writeFileSync(file, `node = "vm1"\nsource = { git = { url = "https://git.example.com/a/b.git"${keys} } }\n`);
  };
  write("");
  const read = createKeyReader(file);
  expect(await read()).toBe(undefined);
  write(`, trusted_keys = [{ key = "${LINE}", nodes = ["vm1"] }]`);
  const first = await read();
  expect(first).toMatchObject([{ nodes: ["vm1"], fleet: false }]);
  expect(await read()).toBe(first);
  write(`, trusted_keys = [{ key = "${LINE}", fleet = true }]`);
  expect(await read()).toMatchObject([{ nodes: [], fleet: true }]);
  write("");
  await expect(read()).rejects.toThrow(/trusted_keys is gone from .*: restart the agent if no signature shall count/);
  write(', trusted_keys = [{ key = "x" }]');
  await expect(read()).rejects.toThrow(/this is not a public SSH key/);
  rmSync(directory, { recursive: true });
  await expect(read()).rejects.toThrow(/which lists the trusted keys, cannot be read: ENOENT/);
});
