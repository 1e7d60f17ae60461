// Names that must exist, realms that do not mix, and who belongs to the fleet.

import { describe, expect, it } from "vitest";

import { FLEET, lintFiles, lintShort, service } from "../../builders/git/repository.ts";

describe("requires and wants", () => {
  it("accept a service of the same node, of another node, an endpoint and the table form", async () => {
    const top =
      'requires = ["db", "vm-b/cache", "https://auth.example/health", { on = "vm-b/cache", expires = "5m", then = "start" }]\nwants = ["tcp://10.0.0.9:53"]';
    const files = { "vm-a/app.toml": service(top), "vm-a/db.toml": service(), "vm-b/cache.toml": service() };
    expect(await lintShort(prefix(files))).toEqual([]);
  });

  it("point at the entry that names no service, and guess what was meant", async () => {
    const problems = await lintFiles(
      prefix({
        "vm-a/app.toml": service('requires = ["postgres-app", "postgre-app"]\nwants = ["postgres-app", "mailer"]'),
        "vm-a/postgres-app.toml": service(),
        "vm-b/mailer.toml": service(),
      }),
    );
    expect(problems.map(({ code, line, column, key, hint }) => [code, line, column, key, hint])).toEqual([
      ["unknown-service", 1, 29, "requires[1]", 'did you mean "postgres-app"?'],
      ["unknown-service", 2, 26, "wants[1]", 'did you mean "vm-b/mailer"?'],
    ]);
  });

  it("know an invalid manifest as a service that exists", async () => {
    const files = { "vm-a/app.toml": service('requires = ["db"]'), "vm-a/db.toml": "image = 5" };
    const codes = (await lintFiles(prefix(files))).map(({ code }) => code);
    expect(codes).not.toContain("unknown-service");
  });

  it("point at a node that does not exist, and guess the near one", async () => {
    const files = {
      "vm-a/app.toml": service('requires = ["vm-bb/cache", "toString/x"]'),
      "vm-b/cache.toml": service(),
    };
    const problems = await lintFiles(prefix({ ...files, "vm-a/app.toml": service('requires = ["vm-bb/cache"]') }));
    expect(problems.map(({ code, hint }) => [code, hint])).toEqual([["unknown-node", 'did you mean "vm-b/cache"?']]);
  });

  it("take no name of JavaScript's for a service or a node", async () => {
    const files = { "vm-a/app.toml": service('requires = ["constructor", "constructor/valueof"]') };
    expect(await lintShort(prefix(files))).toEqual([
      "error value vm-a/app:1:13 requires[0]",
      "error value vm-a/app:1:28 requires[1]",
    ]);
  });

  it("do not cross realms", async () => {
    const files = {
      "vm-a/app.toml": service('requires = ["vm-stage/db"]\nwants = ["vm-b/db"]'),
      "vm-b/db.toml": service(),
      "vm-stage/db.toml": service(),
    };
    expect(await lintShort(prefix(files))).toEqual(["error across-realms vm-a/app:1:13 requires[0]"]);
  });

  it("warn of waiting for what is stopped", async () => {
    const files = {
      "vm-a/app.toml": service('requires = ["db"]'),
      "vm-a/db.toml": service('state = "stopped"'),
      "vm-a/tool.toml": service('requires = ["db"]\nstate = "stopped"'),
    };
    expect(await lintShort(prefix(files))).toEqual(["warning waits-for-stopped vm-a/app:1:13 requires[0]"]);
  });
});

describe("backups", () => {
  const backup = (repositories: string): string =>
    `[[volumes]]\nname = "data"\ntarget = "/data"\n[[backups]]\nname = "db"\nengine = "files"\nschedule = "every 5h"\nrepositories = ${repositories}`;

  it("may go to a repository of fleet.toml and to local", async () => {
    expect(await lintShort(prefix({ "vm-a/db.toml": service("", backup('["s3-geo", "local"]')) }))).toEqual([]);
  });

  it("point at a repository that fleet.toml does not have", async () => {
    const problems = await lintFiles(prefix({ "vm-a/db.toml": service("", backup('["local", "s3-goe"]')) }));
    const problem = problems.find(({ severity }) => severity === "error");
    expect(problem).toMatchObject({
      code: "unknown-repository",
      line: 11,
      column: 26,
      key: "backups[0].repositories[1]",
    });
    expect(problem?.hint).toBe('did you mean "s3-geo"?');
  });
});

describe("moved_from", () => {
  it("names what is no longer there", async () => {
    const files = {
      "vm-a/app.toml": service('moved_from = "vm-b/app"'),
      "vm-a/web.toml": service('moved_from = "site"'),
    };
    expect(await lintShort(prefix(files))).toEqual([]);
  });

  it("refuses a service that still exists, and itself", async () => {
    const files = {
      "vm-a/app.toml": service('moved_from = "vm-b/app"'),
      "vm-a/web.toml": service('moved_from = "web"'),
      "vm-b/app.toml": service(),
    };
    const problems = await lintFiles(prefix(files));
    const errors = problems.filter(({ severity }) => severity === "error");
    expect(errors.map(({ code, line, column, key, message }) => [code, line, column, key, message])).toEqual([
      ["moved-from-exists", 1, 1, "moved_from", "vm-b/app still has a manifest of its own"],
      ["moved-from-exists", 1, 1, "moved_from", "a service cannot have moved from itself"],
    ]);
  });
});

describe("the fleet", () => {
  it("must have a fleet.toml", async () => {
    const problems = await lintFiles({ "fleet.toml": undefined, "manifests/vm-a/app.toml": service() });
    expect(problems.map(({ code, file, line, column }) => [code, file, line, column])).toEqual([
      ["no-fleet", "orca/fleet.toml", 1, 1],
    ]);
  });

  it("lists every directory under manifests/", async () => {
    const problems = await lintFiles({ "manifests/vm-aa/app.toml": service() });
    expect(problems).toMatchObject([
      { code: "unlisted-node", severity: "error", file: "orca/fleet.toml", line: 1, column: 2, key: "nodes" },
    ]);
    expect(problems[0]?.hint).toContain('rename it to "vm-a"');
  });

  it("may list a node without a directory: an info, and nothing for a standby", async () => {
    const fleet = `${FLEET}[nodes.vm-spare]\naddress = "10.0.0.9"\nenv = "prod"\nmemory = "1GiB"\nstandby_for = "vm-a"\n[nodes.vm-new]\naddress = "10.0.0.8"\nenv = "prod"\nmemory = "1GiB"\n`;
    const problems = await lintFiles({ "fleet.toml": fleet });
    expect(problems.map(({ severity, code, key, line }) => [severity, code, key, line])).toEqual([
      ["info", "empty-node", "nodes.vm-new", 25],
    ]);
  });

  it("has no node that stands by for itself, and no rollouts that wait for each other", async () => {
    const node = (name: string, rest: string): string =>
      `[nodes.${name}]\naddress = "10.0.0.${name.length}"\nenv = "prod"\nmemory = "1GiB"\n${rest}\n`;
    const fleet = [
      node("vm-a", 'standby_for = "vm-a"'),
      node("vm-bb", 'rollout = { after = "vm-ccc" }'),
      node("vm-ccc", 'rollout = { after = "vm-bb" }'),
    ].join("");
    const problems = await lintFiles({ "fleet.toml": fleet, "manifests/vm-b": undefined }, {});
    const codes = problems.filter(({ code }) => code !== "unlisted-node" && code !== "empty-node");
    expect(codes.map(({ code, line, column, key }) => [code, line, column, key])).toEqual([
      ["standby", 5, 1, "nodes.vm-a.standby_for"],
      ["rollout-cycle", 15, 13, "nodes.vm-ccc.rollout.after"],
    ]);
  });

  it("finds manifests that stand where nothing reads them", async () => {
    const files = { "manifests/app.toml": service(), "manifests/README.md": "#", "manifests/vm-x": { link: "vm-a" } };
    expect(await lintShort(files)).toEqual(["error stray-file app:1:1", "error stray-file vm-x:1:1"]);
  });

  it("knows the file's name as the service's name", async () => {
    const files = {
      "vm-a/Bad_Name.toml": service(),
      "vm-a/__proto__.toml": service(),
      "vm-a/.hidden.toml": "nonsense",
    };
    expect(await lintShort(prefix(files))).toEqual([
      "error file-name vm-a/Bad_Name:1:1",
      "error file-name vm-a/__proto__:1:1",
    ]);
  });
});

function prefix(files: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(files).map(([path, content]) => [`manifests/${path}`, content]));
}
