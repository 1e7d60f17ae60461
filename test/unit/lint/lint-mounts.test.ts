// Container paths and the files beside the manifests.

import { describe, expect, it } from "vitest";

import { lintFiles, lintShort, service } from "../../builders/git/repository.ts";

const POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${"4d7a2146".repeat(8)}\nsize 12345\n`;

const NONE = 'backup = { none = "a cache" }';
const volume = (target: string, rest = ""): string =>
  `[[volumes]]\nname = "v${target.length}"\ntarget = "${target}"\n${rest}`;
const file = (target: string): string => `[[files]]\nsource = "files/x"\ntarget = "${target}"`;

describe("container paths", () => {
  it("may lie inside each other", async () => {
    const tables = [volume("/data"), file("/data/app.conf"), file("/etc/app/app.conf"), volume("/etc")].join("\n");
    const top = `${NONE}\ntmpfs = ["/data/tmp:size=1m", "/run"]`;
    const secrets = '[secrets.files]\n"a.key" = "/prod/a"';
    const files = { "manifests/vm-a/app.toml": service(top, `${tables}\n${secrets}`), "manifests/vm-a/files/x": "x" };
    expect(await lintShort(files)).toEqual([]);
  });

  it("are not taken twice, however they are spelt", async () => {
    const tables = [volume("/data"), volume("//data/"), file("/data"), file("/etc/hosts")].join("\n");
    const top = `${NONE}\ntmpfs = ["/data/:size=1m", "/run/secrets"]`;
    const secrets = '[secrets.files]\n"a.key" = "/prod/a"';
    const files = { "manifests/vm-a/app.toml": service(top, `${tables}\n${secrets}`), "manifests/vm-a/files/x": "x" };
    expect(await lintShort(files)).toEqual([
      "error mount-clash vm-a/app:12:1 volumes[1].target",
      "error mount-clash vm-a/app:16:1 files[0].target",
      "error mount-clash vm-a/app:19:1 files[1].target",
      "error mount-clash vm-a/app:2:10 tmpfs[0]",
      "error mount-clash vm-a/app:2:28 tmpfs[1]",
    ]);
  });

  it("of the agent are free where it mounts nothing", async () => {
    const files = {
      "manifests/vm-a/app.toml": service(
        `network = "host"\n${NONE}`,
        `${file("/etc/hosts")}\n${volume("/run/secrets")}`,
      ),
      "manifests/vm-a/files/x": "x",
    };
    expect(await lintShort(files)).toEqual(["warning host-policy vm-a/app:1:1 network"]);
  });

  it("are not the whole container", async () => {
    expect(await lintShort({ "manifests/vm-a/app.toml": service(NONE, volume("/")) })).toEqual([
      "error mount-clash vm-a/app:7:1 volumes[0].target",
    ]);
  });

  it("do not lie below a file or the secrets, and seldom in what is read-only", async () => {
    const tables = [
      file("/etc/app"),
      file("/etc/app/deep/x.conf"),
      file("/run/secrets/x"),
      volume("/ro", "read_only = true\n"),
      file("/ro/x"),
      '[secrets.files]\n"a.key" = "/prod/a"',
    ].join("\n");
    const files = { "manifests/vm-a/app.toml": service(NONE, tables), "manifests/vm-a/files/x": "x" };
    expect(await lintShort(files)).toEqual([
      "error mount-nested vm-a/app:10:1 files[1].target",
      "error mount-nested vm-a/app:13:1 files[2].target",
      "warning mount-nested vm-a/app:21:1 files[3].target",
    ]);
  });

  it("blame the volume for what the agent mounts in it", async () => {
    const files = { "manifests/vm-a/app.toml": service(NONE, volume("/etc", "read_only = true\n")) };
    expect(await lintShort(files)).toEqual(["warning mount-nested vm-a/app:7:1 volumes[0].target"]);
  });
});

describe("file sources", () => {
  const manifest = (source: string, rest = ""): string =>
    service("", `[[files]]\nsource = "${source}"\ntarget = "/etc/x"\n${rest}`);

  it("are files inside the node's directory, by links inside it too", async () => {
    const files = {
      "manifests/vm-a/app.toml": manifest("files/app.conf"),
      "manifests/vm-a/linked.toml": manifest("files/link.conf"),
      "manifests/vm-a/files/app.conf": "x",
      "manifests/vm-a/files/link.conf": { link: "app.conf" },
    };
    expect(await lintShort(files)).toEqual([]);
  });

  it("that are missing are guessed", async () => {
    const files = { "manifests/vm-a/app.toml": manifest("files/ap.conf"), "manifests/vm-a/files/app.conf": "x" };
    const problems = await lintFiles(files);
    expect(problems).toMatchObject([{ code: "file-source", line: 5, column: 1, key: "files[0].source" }]);
    expect(problems[0]?.hint).toBe('did you mean "files/app.conf"?');
  });

  it("that are Git LFS pointers are no files", async () => {
    const files = { "manifests/vm-a/app.toml": manifest("files/app.conf"), "manifests/vm-a/files/app.conf": POINTER };
    const [problem, ...more] = await lintFiles(files);
    expect([problem?.code, problem?.message, more]).toEqual([
      "file-source",
      '"files/app.conf" is a Git LFS pointer and not the file itself',
      [],
    ]);
    expect(problem?.hint).toContain("git lfs untrack");
    const [broken] = await lintFiles({ "manifests/vm-a/app.toml": POINTER });
    expect([broken?.code, broken?.message]).toEqual([
      "syntax",
      "this file is a Git LFS pointer and not the file itself",
    ]);
  });

  it("of another node are missing", async () => {
    const files = { "manifests/vm-a/app.toml": manifest("files/app.conf"), "manifests/vm-b/files/app.conf": "x" };
    expect(await lintShort(files)).toEqual(["error file-source vm-a/app:5:1 files[0].source"]);
  });

  it("do not leave the directory by a link, and are no directory", async () => {
    const files = {
      "manifests/vm-a/a.toml": manifest("files/out"),
      "manifests/vm-a/b.toml": manifest("files/dangling"),
      "manifests/vm-a/c.toml": manifest("files"),
      "manifests/vm-a/d.toml": manifest("files/deep/hosts"),
      "manifests/vm-a/files/out": { link: "/etc/hosts" },
      "manifests/vm-a/files/dangling": { link: "nowhere" },
      "manifests/vm-a/files/deep": { link: "/etc" },
      "manifests/vm-a/files/loop": { link: ".." },
    };
    const problems = await lintFiles(files);
    expect(problems.map(({ code, file: where, message }) => [code, where.slice(20), message])).toEqual([
      ["file-outside", "a.toml", `"files/out" is a link that leaves the node's directory`],
      ["file-source", "b.toml", '"files/dangling" is a link that leads nowhere'],
      ["file-source", "c.toml", '"files" is a directory'],
      ["file-source", "d.toml", 'there is no file "files/deep/hosts"'],
    ]);
  });

  it("of a backup's verification are looked for too", async () => {
    const backup =
      '[[volumes]]\nname = "d"\ntarget = "/d"\n[[backups]]\nname = "db"\nengine = "postgres"\nschedule = "every 5h"\n[backups.verify]\nfk_allowlist = "files/fk.toml"';
    expect(await lintShort({ "manifests/vm-a/db.toml": service("", backup) })).toEqual([
      "error file-source vm-a/db:12:1 backups[0].verify.fk_allowlist",
    ]);
  });

  it("are not larger than the agent reads", async () => {
    const files = {
      "manifests/vm-a/files/big": "x".repeat(2 ** 20 + 1),
      "manifests/vm-a/files/just": "x".repeat(2 ** 20),
    };
    expect(await lintShort(files)).toEqual(["error file-size vm-a/files/big:1:1"]);
  });

  it("of one node are not larger together than the agent reads", async () => {
    const many = Array.from({ length: 33 }, (_value, index) => [`manifests/vm-a/files/${index}`, "x".repeat(2 ** 20)]);
    expect(await lintShort(Object.fromEntries(many))).toEqual(["error file-size vm-a:1:1"]);
  });
});

describe("templates", () => {
  const templated = service("", '[[files]]\nsource = "files/t"\ntarget = "/etc/t"\ntemplate = true');

  it("render with the routes of their realm", async () => {
    const template =
      "{{ node }} {{ service }} {{ realm }}{% for n in nodes %}{{ n.name }} {{ n.address }}{% endfor %}{% for r in routes %}{{ r.host }}{{ r.upstream }}{% endfor %}";
    const files = {
      "manifests/vm-a/proxy.toml": templated,
      "manifests/vm-a/files/t": template,
      "manifests/vm-b/web.toml": service('ports = ["8080:8080"]', '[[routes]]\nhost = "a.example"\nport = 8080'),
    };
    expect(await lintShort(files)).toEqual([]);
  });

  it.each([
    ["a\n  {{ nope }}", 2, 6, "undefined variable: nope"],
    ["{% for r in routes %}\n{{ r.nope }}{% endfor %}", 2, 4, "undefined variable: r.nope"],
    ["{% if node %}", 1, 1, "tag {% if node %} not closed"],
    ["{{ node | shout }}", 1, 1, "undefined filter: shout"],
    ["{% include 'other' %}", 1, 1, 'ENOENT: Failed to lookup "other" in "."'],
    ["\n\n{{ nodes[0].constructor.name }}", 3, 4, "undefined variable: nodes.0.constructor"],
  ])("that do not render are shown at their own line: %j", async (text, line, column, message) => {
    const web = service('ports = ["8080:8080"]', '[[routes]]\nhost = "a.example"\nport = 8080');
    const files = {
      "manifests/vm-a/proxy.toml": templated,
      "manifests/vm-a/files/t": text,
      "manifests/vm-b/web.toml": web,
    };
    const problems = await lintFiles(files);
    expect(problems).toMatchObject([{ code: "template", file: "orca/manifests/vm-a/files/t", line, column }]);
    expect(problems[0]?.message).toContain(message);
  });

  it("are UTF-8", async () => {
    const files = { "manifests/vm-a/proxy.toml": templated, "manifests/vm-a/files/t": Uint8Array.of(0xc3, 0x28) };
    expect(await lintShort(files)).toEqual(["error template vm-a/proxy:5:1 files[0].source"]);
  });
});
