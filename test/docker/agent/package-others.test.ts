// The package of the other architecture, whose program qemu's user mode runs with that architecture's libraries; and what lintian says of
// the package. Starts no agent. This machine's own package: package.test.ts.

import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { afterAll, describe, expect, test } from "vitest";

import { VERSION } from "../../../shared/version.ts";
import { ROOT } from "../../builders/data/readme.ts";

const work = mkdtempSync(join(tmpdir(), "orca-package-"));

async function build(out: string, ...words: string[]): Promise<string> {
  await promisify(execFile)(join(ROOT, "scripts/package"), ["--out", join(work, out), ...words]);
  return join(work, out, readdirSync(join(work, out)).find((name) => name.endsWith(".deb")) ?? "");
}

afterAll(() => rmSync(work, { recursive: true, force: true }));

test.runIf(process.arch === "x64")(
  "arm64's runs its own Node and its native module, and is small enough (on x86-64)",
  async () => {
    const deb = await build("arm64", "--arch", "arm64");
    expect(statSync(deb).size).toBeLessThan(45e6);
    expect(execFileSync("dpkg-deb", ["-f", deb, "Architecture"], { encoding: "utf8" })).toBe("arm64\n");
    execFileSync("dpkg-deb", ["-x", deb, join(work, "tree")]);
    const payload = join(work, "tree/usr/lib/orca/payload");
    const run = (...words: string[]): string =>
      execFileSync("qemu-aarch64", ["-L", "/usr/aarch64-linux-gnu", join(payload, "node"), "--lite-mode", ...words], {
        encoding: "utf8",
        cwd: "/",
        env: {},
      }).trim();
    expect(run(join(payload, "orca.mjs"), "--version")).toMatch(
      new RegExp(`^${VERSION.replaceAll(".", "\\.")} \\([0-9a-f]{12}(, changed)?\\)$`),
    );
    // The kernel's word on who connects, and systemd's on readiness, are had through it.
    const call = `const { default: koffi } = await import(${JSON.stringify(join(payload, "node_modules/koffi/index.js"))});
      console.log(process.arch, koffi.load(null).func("int getpid()")() === process.pid);`;
    expect(run("--input-type=module", "--eval", call)).toBe("arm64 true");
  },
);

describe.skipIf(process.env["ORCA_SLOW"] === undefined)("in the slow lane (ORCA_SLOW=1)", () => {
  test("lintian finds nothing but what the overrides name with a reason", async () => {
    const deb = await build("xz", "--xz");
    const words = ["--tag-display-limit", "0", "--fail-on", "error,warning", "--allow-root", deb];
    const said = await promisify(execFile)("lintian", words).catch((error: { stdout: string }) => error);
    expect(said.stdout.trim()).toBe("");
  });
});
