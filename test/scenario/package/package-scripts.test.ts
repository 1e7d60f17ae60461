// What dpkg runs of the package, in a directory that stands for a machine: which version is in use after an install, an upgrade, a
// downgrade, a removal; and what is left where a power cut ends them at any command. On a real machine: test/vm/package.test.ts.

import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { ROOT, writeFiles } from "../../builders/data/readme.ts";

const CALLED = [
  "systemctl",
  "deb-systemd-helper",
  "deb-systemd-invoke",
  "systemd-sysusers",
  "systemd-tmpfiles",
  "sync",
];
/** Ends the shell at the command with that number, as a power cut does. */
const CUT = 'set -T; n=0; trap "n=\\$((n+1)); if [ \\$n -eq $CUT ]; then kill -KILL $$; fi" DEBUG; . "$0" "$@"';

/** What is done to the two units that belong together. */
function listStarts(action: string): string[] {
  return [
    `deb-systemd-invoke ${action} orca-agent.service`,
    `deb-systemd-invoke ${action} orca-dead-man.timer`,
    "deb-systemd-invoke start orca-update.path",
  ];
}

let machine: string;

beforeEach(() => {
  machine = mkdtempSync(join(tmpdir(), "orca-package-"));
  const log = `#!/bin/sh\necho "\${0##*/} $*" >> ${machine}/calls\n`;
  const files = new Map(CALLED.map((name) => [`bin/${name}`, log]));
  files.set("bin/docker", '#!/bin/sh\nprintf "1\\n2\\n"\n');
  for (const place of ["run/systemd/system", "etc/orca", "var/lib/orca"]) files.set(`${place}/.there`, "");
  writeFiles(machine, files);
  spawnSync("chmod", ["-R", "755", join(machine, "bin")]);
});

afterEach(() => rmSync(machine, { recursive: true, force: true }));

/** As dpkg does: new files in the place of the old ones, which live on where they have another name. */
function unpack(text: string): void {
  rmSync(join(machine, "usr/lib/orca/payload"), { recursive: true, force: true });
  writeFiles(machine, new Map(["node", "orca.mjs", "help/a.md"].map((name) => [`usr/lib/orca/payload/${name}`, text])));
  spawnSync("chmod", ["755", join(machine, "usr/lib/orca/payload/node")]);
}

/** Runs a script of the package; answers what it said, or undefined where it was cut off. */
function run(name: string, version: string, words: readonly string[], cut = 0): string | undefined {
  const text = readFileSync(join(ROOT, "scripts/packaging/debian", name), "utf8").replaceAll("@VERSION@", version);
  const here = text.replaceAll(/(?<=^|[\s;&>="])\/(?=(?:usr|etc|opt|var|run)\b)/gm, `${machine}/`);
  writeFileSync(join(machine, name), here);
  const env = { PATH: `${join(machine, "bin")}:/usr/bin:/bin`, CUT: String(cut) };
  const shell = cut === 0 ? ["sh", "-e"] : ["bash", "--norc", "-c", CUT];
  const { status, signal, stdout, stderr } = spawnSync(
    shell[0] ?? "",
    [...shell.slice(1), join(machine, name), ...words],
    {
      encoding: "utf8",
      env,
    },
  );
  if (signal === "SIGKILL") return undefined;
  expect([status, stderr]).toEqual([0, ""]);
  return stdout;
}

function install(version: string, text: string, before = ""): string {
  unpack(text);
  return run("postinst", version, ["configure", before]) ?? "";
}

/** The version in use, and what it is made of. */
function inUse(): string[] {
  const link = readlinkSync(join(machine, "opt/orca/current"));
  return [link.replace("versions/", ""), readFileSync(join(machine, "opt/orca", link, "node"), "utf8")];
}

function listVersions(): string[] {
  return readdirSync(join(machine, "opt/orca/versions")).toSorted();
}

/** What was called of the machine, and forgets it. */
function calls(start: string): string[] {
  const path = join(machine, "calls");
  const all = existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [];
  rmSync(path, { force: true });
  return all.filter((line) => line.startsWith(start));
}

test("the first install starts the agent; what runs is the payload by another name", () => {
  const said = install("1.0", "one");
  expect(inUse()).toEqual(["1.0", "one"]);
  expect(calls("deb-systemd-invoke")).toEqual(listStarts("start"));
  const [payload, own] = ["usr/lib/orca/payload/node", "opt/orca/versions/1.0/node"].map((path) => join(machine, path));
  expect(statSync(payload ?? "").ino).toBe(statSync(own ?? "").ino);
  expect(said).toMatch(/^orca: write \S+\/etc\/orca\/agent\.toml, then: systemctl start orca-agent/);
});

test("an upgrade restarts only an agent that runs, keeps the version before, and clears what is older", () => {
  install("1.0", "one");
  install("1.1", "two", "1.0");
  calls("");
  install("1.2", "three", "1.1");
  expect([inUse(), listVersions()]).toEqual([
    ["1.2", "three"],
    ["1.1", "1.2"],
  ]);
  expect(calls("deb-systemd-invoke")).toEqual(listStarts("try-restart"));
  // Nothing of Docker's is touched, ever.
  for (const name of ["postinst", "prerm", "postrm"])
    expect(readFileSync(join(ROOT, "scripts/packaging/debian", name), "utf8")).not.toMatch(
      /^[^#\n]*(systemctl|invoke) .*docker|^\s*docker (rm|stop|kill|restart)/m,
    );
});

test("the link goes back at a downgrade alone: a version that came without dpkg stays", () => {
  install("1.0", "one");
  install("1.1", "two", "1.0");
  install("1.0", "one", "1.1");
  expect(inUse()).toEqual(["1.0", "one"]);
  // The updater's.
  writeFiles(machine, new Map([["opt/orca/versions/1.5/node", "five"]]));
  spawnSync("chmod", ["755", join(machine, "opt/orca/versions/1.5/node")]);
  spawnSync("ln", ["-sfn", "versions/1.5", join(machine, "opt/orca/current")]);
  expect(install("1.1", "two", "1.0")).toContain("orca: 1.5 stays in use, which is newer than 1.1");
  expect([inUse(), listVersions()]).toEqual([
    ["1.5", "five"],
    ["1.0", "1.1", "1.5"],
  ]);
  install("1.1", "two", "1.1");
  expect(inUse()).toEqual(["1.5", "five"]);
  install("1.6", "six", "1.1");
  expect([inUse(), listVersions()]).toEqual([
    ["1.6", "six"],
    ["1.1", "1.5", "1.6"],
  ]);
  // What is in use and cannot run is no reason to stay with it.
  rmSync(join(machine, "opt/orca/versions/1.6/node"));
  install("1.5", "five", "1.5");
  expect(inUse()).toEqual(["1.5", "five"]);
});

test("a removal ends the agent and takes the program away; it and a purge say what they leave", () => {
  install("1.0", "one");
  calls("");
  run("prerm", "1.0", ["remove"]);
  expect(calls("deb-systemd-invoke")).toEqual([
    "deb-systemd-invoke stop orca-dead-man.timer orca-update.path orca-judge.service orca-agent.service",
  ]);
  run("prerm", "1.0", ["upgrade", "1.1"]);
  expect(calls("deb-systemd-invoke")).toEqual([]);
  const [own, other] = ["orca-paths.conf", "mine.conf"].map(
    (name) => `etc/systemd/system/orca-agent.service.d/${name}`,
  );
  writeFiles(machine, new Map([own, other].map((path) => [path ?? "", "[Service]\n"])));
  for (const act of ["remove", "purge"]) {
    expect(existsSync(join(machine, own ?? ""))).toBe(true);
    const said = run("postrm", "1.0", [act]) ?? "";
    expect(said.match(/left (\d+ \w+|\S+,)/g)).toEqual([
      "left 2 containers",
      "left 2 volumes",
      `left ${machine}/etc/orca,`,
      `left ${machine}/var/lib/orca,`,
    ]);
  }
  const kept = [own ?? "", "opt/orca", other ?? "", "etc/orca", "var/lib/orca"];
  expect(kept.map((place) => existsSync(join(machine, place)))).toEqual([false, false, true, true, true]);
  // No unit that the package brings is forgotten.
  const [begun, ended] = ["postinst", "postrm"].map((name) =>
    readFileSync(join(ROOT, "scripts/packaging/debian", name), "utf8"),
  );
  const units = readdirSync(join(ROOT, "systemd")).filter((unit) =>
    readFileSync(join(ROOT, "systemd", unit), "utf8").includes("\n[Install]\n"),
  );
  expect(units.length).toBeGreaterThan(2);
  expect(units.filter((unit) => begun?.includes(unit) !== true || ended?.includes(unit) !== true)).toEqual([]);
  // Installed again it is started again, although dpkg names the version that was configured before.
  calls("");
  install("1.0", "one", "1.0");
  expect(calls("deb-systemd-invoke")).toEqual(listStarts("start"));
});

/** Each run of a script is a tenth of a second: ORCA_SLOW=1 cuts at every command. */
const STEP = process.env["ORCA_SLOW"] === "1" ? 1 : 8;

test.each([
  ["an upgrade", "1.1", "two"],
  ["another build of the same version", "1.0", "other"],
])(
  "%s that is cut off at any command leaves a version that runs, and is finished by the next run",
  (_name, to, text) => {
    install("1.0", "one");
    spawnSync("cp", ["-a", join(machine, "opt"), join(machine, "kept")]);
    unpack(text);
    let cuts = 0;
    for (let cut = 2; ; cut += STEP) {
      rmSync(join(machine, "opt"), { recursive: true, force: true });
      spawnSync("cp", ["-a", join(machine, "kept"), join(machine, "opt")]);
      if (run("postinst", to, ["configure", "1.0"], cut) !== undefined) break;
      cuts += 1;
      const [version, made = ""] = inUse();
      expect([cut, version, ["one", text].includes(made)]).toEqual([cut, version, true]);
      calls("");
      run("postinst", to, ["configure", "1.0"]);
      expect([cut, ...inUse()]).toEqual([cut, to, text]);
      expect(readdirSync(join(machine, "opt/orca")).toSorted()).toEqual(["current", "versions"]);
      expect(listVersions()).toEqual([...new Set([to, "1.0"])].toSorted());
      expect(calls("deb-systemd-invoke")).toEqual(listStarts("try-restart"));
    }
    expect(cuts).toBeGreaterThan(4);
  },
);
