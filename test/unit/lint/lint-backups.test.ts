// Keys of [[backups]] that go together or do not, and the list of foreign keys beside a manifest.

import { describe, expect, it } from "vitest";

import { lintFiles, lintShort, service } from "../../builders/git/repository.ts";

function lintBackup(keys: string, files: Record<string, string> = {}): Promise<string[]> {
  const table = `[[volumes]]\nname = "d"\ntarget = "/d"\n[[backups]]\nname = "b"\nschedule = "every 5h"\n${keys}`;
  return lintShort({ "manifests/vm-a/db.toml": service("", table), ...files }).then((lines) =>
    lines
      .filter((line) => line.startsWith("error"))
      .map((line) => line.replace(/^error (\S+) .* backups\[0\]\./, "$1 ")),
  );
}

it("a backup beside a reason for none is refused", async () => {
  const table = `[[volumes]]\nname = "d"\ntarget = "/d"\n[[backups]]\nname = "b"\nengine = "files"\nschedule = "every 5h"`;
  const lines = await lintShort({
    "manifests/vm-a/db.toml": service('backup = { none = "it can be made anew" }', table),
  });
  expect(lines.filter((line) => line.startsWith("error"))).toEqual(["error value vm-a/db:1:1 backup"]);
});

describe("a key that means nothing where it stands is refused", () => {
  it.each([
    ['engine = "command"', "value command"],
    ['engine = "postgres"\ncommand = ["x"]', "value command"],
    ['engine = "files"\nexec = true', "value exec"],
    ['engine = "command"\ncommand = ["x"]\nexec = true\nimage = "tools:1"', "value image"],
    ['engine = "postgres"\nstop = true', "value stop"],
    ['engine = "files"\nstop = true\nhooks = { before = [{ exec = ["sync"] }] }', "value hooks"],
    ['engine = "files"\nconnect = { user = "x" }', "value connect"],
    ['engine = "redis"\nconnect = { databases = ["0"] }', "value connect"],
    ['engine = "postgres"\nkeep = "30d"', "value keep"],
    ['engine = "redis"\nverify = { queries = ["select true"] }', "value verify"],
    ['engine = "mysql"\nverify = { extensions = ["x"] }', "value verify"],
    ['engine = "postgres"\nmemory = "8MiB"', "value memory"],
    ['engine = "mysql"\nwal = {}', "value wal"],
    ['engine = "files"\nwal = { slot = "orca" }', "value wal"],
    ['engine = "postgres"\nwal = { slot = "Orca\'s" }', "value wal.slot"],
    ['engine = "postgres"\nwal = { ship = "2h" }', "value wal.ship"],
  ])("%s", async (keys, found) => {
    expect(await lintBackup(keys)).toEqual([found]);
  });

  it.each([
    'engine = "postgres"\nconnect = { user = "backup", password = "/prod/db/BACKUP", databases = ["app"] }',
    'engine = "mysql"\nverify = { queries = ["select count(*) > 0 from t"] }',
    'engine = "redis"\nconnect = { password = "/prod/redis/PASSWORD" }\nmin_size = "1KiB"',
    'engine = "files"\nstop = true\nimage = "debian:12"\nmemory = "64MiB"',
    'engine = "command"\ncommand = ["dump"]\nexec = true\nhooks = { before = [{ exec = ["freeze"], timeout = "5s", on_error = "continue" }], after = [{ exec = ["thaw"] }] }',
    'engine = "postgres"\nbefore_update = true\nkeep = "30d"',
    'engine = "postgres"\nwal = { base = "0 3 * * 0", ship = "10s", slot = "orca_2", window = "14d" }',
  ])("and these are fine: %s", async (keys) => {
    expect(await lintBackup(keys)).toEqual([]);
  });
});

describe("a log that is streamed", () => {
  const table = `[[volumes]]\nname = "d"\ntarget = "/d"\n[[backups]]\nname = "b"\nengine = "postgres"\nschedule = "every 5h"\nwal = {}`;
  const lint = async (top: string, rest = ""): Promise<string[]> =>
    (await lintShort({ "manifests/vm-a/db.toml": service(top, `${rest}${table}`) })).filter((line) => /wal/.test(line));

  it("needs a bound that is seen in command, or a warning says so", async () => {
    expect(await lint("")).toEqual([expect.stringMatching(/^warning wal-unbounded .*backups\[0\]\.wal$/)]);
    expect(await lint('command = ["postgres", "-c", "max_slot_wal_keep_size=4GB"]')).toEqual([]);
    expect(await lint('command = ["--max-slot-wal-keep-size=4GB"]')).toEqual([]);
  });

  it("holds a promise that no dump could, and not one below its own", async () => {
    const command = 'command = ["postgres", "-c", "max_slot_wal_keep_size=4GB"]';
    expect(await lint(command, '[slo]\nrpo = "1m"\n')).toEqual([]);
    expect(await lint(command, '[slo]\nrpo = "40s"\n')).toEqual([
      expect.stringMatching(/^error backup-rpo .*backups\[0\]\.wal$/),
    ]);
  });
});

describe("a list of foreign keys", () => {
  const keys = 'engine = "postgres"\nverify = { fk_allowlist = "files/fk.toml" }';

  it.each([
    ['[[allow]]\nfrom = "a.b.c"\nto = "d.e.f"\nowner = "product"\nexpires = "2027-06-30"', undefined],
    [
      '[[allow]]\nfrom = "a.b.c,d"\nto = "d.e.f,g"\nowner = "product"\nexpires = "2027-06-30"\nreason = "soft"',
      undefined,
    ],
    ["", undefined],
    ['[[allow]]\nfrom = "a.b.c"\nto = "d.e.f"\nexpires = "2027-06-30"', "allow[0].owner"],
    ['[[allow]]\nfrom = "b.c"\nto = "d.e.f"\nowner = "x"\nexpires = "2027-06-30"', "allow[0].from"],
    ['[[allow]]\nfrom = "a.b.c"\nto = "d.e.f"\nowner = "x"\nexpires = "2027-02-30"', "allow[0].expires"],
    ['[[allow]]\nfrom = "a.b.c"\nto = "d.e.f"\nowner = "x"', "allow[0].expires"],
    ["[[allow]", "line 1"],
  ])("%s", async (text, fault) => {
    const problems = await lintFiles({
      "manifests/vm-a/db.toml": service(
        "",
        `[[volumes]]\nname = "d"\ntarget = "/d"\n[[backups]]\nname = "b"\nschedule = "every 5h"\n${keys}`,
      ),
      "manifests/vm-a/files/fk.toml": text,
    });
    const found = problems.filter(({ code }) => code === "fk-allowlist").map(({ message }) => message);
    if (fault === undefined) expect(found).toEqual([]);
    else expect(found).toEqual([expect.stringContaining(fault)]);
  });
});

describe("update.backup_first", () => {
  const first = (name: string): string => `[update]\nbackup_first = ["${name}"]`;
  const store =
    '[[volumes]]\nname = "d"\ntarget = "/d"\n[[backups]]\nname = "b"\nengine = "postgres"\nschedule = "every 5h"';

  it.each([
    ["a service of this node with backups", "db", true],
    ["one that is not there", "dbb", false],
    ["one of another node", "far", false],
    ["one without backups", "web", false],
    ["itself", "app", false],
  ])("%s", async (_what, name, isFine) => {
    const lines = await lintShort({
      "manifests/vm-a/db.toml": service("", store),
      "manifests/vm-a/web.toml": service(),
      "manifests/vm-b/far.toml": service("", store),
      "manifests/vm-a/app.toml": service("", first(name)),
    });
    const errors = lines.filter((line) => line.startsWith("error backup-first"));
    expect(errors).toEqual(isFine ? [] : [expect.stringContaining("update.backup_first[0]") as string]);
  });
});
