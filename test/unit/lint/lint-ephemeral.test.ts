// Ephemeral volumes in a repository: one service has each, jobs say it too, and none has a backup or needs one.

import { expect, test } from "vitest";

import { type Content, lintFiles, lintShort, service } from "../../builders/git/repository.ts";

const mount = (name: string, more = ""): string => `volumes = [{ name = "${name}", target = "/data"${more} }]`;
const EPHEMERAL = ", ephemeral = true";

function repository(services: Record<string, string>): Record<string, Content> {
  return Object.fromEntries(Object.entries(services).map(([name, text]) => [`manifests/vm-a/${name}.toml`, text]));
}

test("a service and its jobs need no backup for it; what lasts needs one all the same", async () => {
  const seed = service(`schedule = "@once"\nrequires = ["db"]\n${mount("data", EPHEMERAL)}`);
  expect(await lintShort(repository({ db: service(mount("data", EPHEMERAL)), seed }))).toEqual([]);
  const both = `volumes = [{ name = "data", target = "/data", ephemeral = true }, { name = "keys", target = "/keys" }]`;
  const [problem] = await lintFiles(repository({ db: service(both) }));
  expect([problem?.code, problem?.message]).toEqual(["no-backup", "volumes need a backup or a reason for none"]);
});

test("a backup of one is refused: it could not be put back", async () => {
  const text = service(
    mount("data", EPHEMERAL),
    '[[backups]]\nname = "files"\nengine = "files"\nschedule = "every 5h"\n',
  );
  const problems = await lintFiles(repository({ db: text }));
  expect(problems.map(({ key, message }) => [key, message])).toContainEqual([
    "backups",
    "an ephemeral volume is empty again with the next release: no backup of it could be put back",
  ]);
});

test.each([
  [
    { db: mount("data", EPHEMERAL), web: mount("data", EPHEMERAL) },
    "web",
    "db has the ephemeral volume data too, and each would get one of its own",
  ],
  [
    { db: mount("data", EPHEMERAL), web: `${mount("data")}\nbackup = { none = "a test" }` },
    "web",
    "data is ephemeral in db, and here it would be another volume",
  ],
  [
    { seed: `schedule = "@once"\n${mount("data", EPHEMERAL)}` },
    "seed",
    "no service of vm-a has the ephemeral volume data: there is no release that it begins with",
  ],
])("%# is an error", async (tops, where, message) => {
  const files = Object.fromEntries(Object.entries(tops).map(([name, top]) => [name, service(top)]));
  const problems = await lintFiles(repository(files));
  expect(problems.map(({ file, code, message: said }) => [file.includes(where), code, said])).toContainEqual([
    true,
    "ephemeral",
    message,
  ]);
});
