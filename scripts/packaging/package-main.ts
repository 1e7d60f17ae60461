// Builds the Debian package: what scripts/package runs. Stages a tree, gives every file the commit's time and plain modes, and lets dpkg-deb
// pack it. Reads Git for the commit; writes nothing but its output directory.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { buildBill } from "./bill-of-materials.ts";
import { type Build, nameBuild } from "./name-build.ts";
import { findPackage } from "./npm-package.ts";
import { type Arch, ARCHES, stageTree } from "./stage-tree.ts";

const root = fileURLToPath(new URL("../../", import.meta.url)).replace(/\/$/, "");
const { values } = parseArgs({
  options: {
    arch: { type: "string", default: process.arch === "arm64" ? "arm64" : "amd64" },
    out: { type: "string", default: join(root, "packages") },
    version: { type: "string" },
    xz: { type: "boolean", default: false },
  },
});

const out = resolve(values.out);
const build = nameBuild(root, values.version);
mkdirSync(out, { recursive: true });
const made: string[] = [];
for (const arch of values.arch.split(",")) {
  if (!isArch(arch)) throw new Error(`package: no architecture ${arch}: write ${Object.keys(ARCHES).join(" or ")}`);
  made.push(...(await buildPackage(arch, build)));
}
writeFileSync(join(out, "SHA256SUMS"), made.toSorted().map(describeSum).join(""));

function isArch(text: string): text is Arch {
  return Object.hasOwn(ARCHES, text);
}

/** Answers the files that it has made. */
async function buildPackage(arch: Arch, { version, commit, epoch, line }: Build): Promise<string[]> {
  const { node, native } = ARCHES[arch];
  const work = mkdtempSync(join(tmpdir(), "orca-package-"));
  try {
    const [runtime, koffi] = [findPackage(root, node), findPackage(root, native)];
    const { packages } = await stageTree({ root, tree: work, arch, version, line, epoch, runtime, native: koffi });
    const file = join(out, `orca_${version}_${arch}.deb`);
    // One thread: how many there are would be seen in the bytes. Level 10 of zstd is 1 MB larger than 19, and ten times as fast.
    const compress = values.xz ? ["-Zxz", "-z0"] : ["-Zzstd", "-z10"];
    const words = ["--root-owner-group", "--threads-max=1", ...compress, "--build", work, file];
    execFileSync("dpkg-deb", words, {
      env: { ...process.env, SOURCE_DATE_EPOCH: String(epoch) },
      stdio: ["ignore", "ignore", "inherit"],
    });
    const bill = file.replace(/\.deb$/, ".cdx.json");
    writeFileSync(bill, buildBill({ root, version, arch, commit, epoch, packages }));
    console.log(`${basename(file)}: ${Math.round(readFileSync(file).length / 1e5) / 10} MB`);
    return [file, bill];
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** One line as sha256sum(1) writes and checks it. */
function describeSum(file: string): string {
  return `${createHash("sha256").update(readFileSync(file)).digest("hex")}  ${basename(file)}\n`;
}
