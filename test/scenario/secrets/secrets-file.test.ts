// The file of secrets: its text, its encryption, the provider with its real child, and the commands that work with it.

import { spawn, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";

import * as fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";

import { FileProvider } from "../../../agent/secrets/providers/file-provider.ts";
import {
  nameIdentityFile,
  readSecretTable,
  writeSecretTable,
} from "../../../agent/secrets/providers/secret-store-file.ts";
import { describeSecrets, parseSecrets } from "../../../agent/secrets/providers/secret-text.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";

const directory = mkdtempSync(join(tmpdir(), "orca-secrets-"));
let files = 0;

afterAll(() => rmSync(directory, { recursive: true, force: true }));

function newPlace(plain = false) {
  files += 1;
  const file = join(directory, `secrets-${files}.age`);
  return { file, identityFile: nameIdentityFile(file), plain };
}

function orca(parameters: readonly string[], input: string, env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, "secrets", ...parameters], {
    input,
    encoding: "utf8",
    env: { ...process.env, ...env },
  });
  return { status, stdout, stderr };
}

describe("the text", () => {
  test("any values come back as they were", () => {
    const name = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}$/);
    const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join("/")}`);
    const value = fc.string({ minLength: 1, unit: "grapheme" });
    fc.assert(
      fc.property(fc.dictionary(path, value), (table) => {
        const secrets = new Map(Object.entries(table));
        expect(Object.fromEntries(parseSecrets(describeSecrets(secrets)))).toEqual(Object.fromEntries(secrets));
      }),
    );
  });

  test.each([
    ['["/prod/app"]\nPASSWORD = hunter2canary', /line 2/],
    ['PASSWORD = "hunter2canary"', /a key is no folder/],
    ['["prod app"]\nPASSWORD = "hunter2canary"', /a key is no secret's path/],
    ['["/prod/../app"]\nPASSWORD = "hunter2canary"', /no secret's path/],
    ['["/prod"]\nPASSWORD = 5', /\/prod\/PASSWORD is no text/],
    ['["/prod"]\nPASSWORD = ""', /is empty/],
  ])("what is wrong is said without showing it: %#", (text, message) => {
    expect(() => parseSecrets(text)).toThrow(message);
    try {
      parseSecrets(text);
    } catch (error) {
      expect(String(error)).not.toContain("canary");
      expect(inspect(error)).not.toContain("canary");
    }
  });
});

describe("the file", () => {
  test("is encrypted, opens with its key alone, and is its user's alone", async () => {
    const place = newPlace();
    await writeSecretTable(place, new Map([["/prod/app/PASSWORD", "canary-7731"]]));
    expect(readFileSync(place.file, "latin1")).not.toContain("canary-7731");
    expect(readFileSync(place.file, "latin1")).not.toContain("PASSWORD");
    expect(statSync(place.file).mode & 0o777).toBe(0o600);
    expect(statSync(place.identityFile).mode & 0o777).toBe(0o600);
    expect([...(await readSecretTable(place))]).toEqual([["/prod/app/PASSWORD", "canary-7731"]]);
    const other = newPlace();
    await writeSecretTable(other, new Map([["/a", "b"]]));
    await expect(readSecretTable({ ...place, identityFile: other.identityFile })).rejects.toThrow(/does not open/);
    chmodSync(place.identityFile, 0o644);
    await expect(readSecretTable(place)).rejects.toThrow(/chmod 600/);
  });

  test("plain is refused unless that was said, and then only where others cannot read it", async () => {
    const place = newPlace();
    writeFileSync(place.file, '["/prod"]\nPASSWORD = "x"\n', { mode: 0o600 });
    await expect(readSecretTable(place)).rejects.toThrow(/is not encrypted/);
    expect((await readSecretTable({ ...place, plain: true })).get("/prod/PASSWORD")).toBe("x");
    chmodSync(place.file, 0o640);
    await expect(readSecretTable({ ...place, plain: true })).rejects.toThrow(/chmod 600/);
  });

  test("is age's own format, for an X25519 key", async () => {
    const place = newPlace();
    await writeSecretTable(place, new Map([["/prod/A", "one"]]));
    expect(readFileSync(place.file, "latin1").startsWith("age-encryption.org/v1\n-> X25519 ")).toBe(true);
  });
});

describe("the provider", () => {
  test("answers each path, from a child of its own", async () => {
    const place = newPlace();
    await writeSecretTable(place, new Map([["/prod/A", "one"]]));
    const provider = new FileProvider(place, PROGRAM);
    const answers = await provider.read(["/prod/A", "/prod/B"]);
    const first = answers.get("/prod/A");
    expect(first?.kind === "value" && first.value.expose()).toBe("one");
    expect(answers.get("/prod/B")).toMatchObject({
      kind: "not-found",
      reason: expect.stringContaining("orca secrets set /prod/B"),
    });
    expect(JSON.stringify([...answers])).not.toContain("one");
    provider.close();
  });

  test.each([
    ["is not there", () => undefined, /does not exist/],
    ["is no age file", (file: string) => writeFileSync(file, "canary", { mode: 0o600 }), /is not encrypted/],
    ["is half a file", (file: string) => writeFileSync(file, readFileSync(file).subarray(0, 60)), /does not open/],
  ])("a file that %s is unavailable, never gone", async (_name, harm, reason) => {
    const place = newPlace();
    if (harm.length > 0) await writeSecretTable(place, new Map([["/prod/A", "one"]]));
    harm(place.file);
    const provider = new FileProvider(place, PROGRAM);
    const answer = (await provider.read(["/prod/A"])).get("/prod/A");
    expect(answer).toMatchObject({ kind: "unavailable", reason: expect.stringMatching(reason) });
    provider.close();
  });

  test("says that it may be plain", () => {
    expect(new FileProvider(newPlace(true), PROGRAM).notes.join()).toContain("unencrypted");
    expect(new FileProvider(newPlace(), PROGRAM).notes).toEqual([]);
  });
});

describe("the commands", () => {
  test("set makes file and key, list prints paths alone, edit writes back what the editor left", async () => {
    const { file } = newPlace();
    expect(orca(["set", "/prod/app/PASSWORD", "--file", file], "canary-1\n")).toMatchObject({ status: 0 });
    expect(orca(["set", "/prod/db/PASSWORD", "--file", file], "canary-2").stdout).toContain("added to");
    const listed = orca(["list", "--file", file], "");
    expect(listed.stdout).toBe("/prod/app/PASSWORD\n/prod/db/PASSWORD\n");
    const seen = join(directory, "seen");
    const editor = join(directory, "editor");
    writeFileSync(
      editor,
      `#!/bin/sh\ncp "$1" ${seen}\nstat -f -c %T "$1" >> ${seen}\nsed -i s/canary-1/canary-3/ "$1"\n`,
      {
        mode: 0o755,
      },
    );
    const edited = orca(["edit", "--file", file], "", { EDITOR: editor, VISUAL: editor });
    expect(edited.stdout).toContain("0 added, 1 changed, 0 removed");
    expect(readFileSync(seen, "utf8")).toContain('PASSWORD = "canary-1"');
    expect(readFileSync(seen, "utf8")).toContain("tmpfs");
    expect(JSON.stringify([listed, edited])).not.toContain("canary");
    const provider = new FileProvider({ file, identityFile: nameIdentityFile(file), plain: false }, PROGRAM);
    const answer = (await provider.read(["/prod/app/PASSWORD"])).get("/prod/app/PASSWORD");
    expect(answer?.kind === "value" && answer.value.expose()).toBe("canary-3");
    provider.close();
  });

  test("what is wrong is said, and nothing is changed", () => {
    const { file } = newPlace();
    expect(orca(["set", "prod/PASSWORD", "--file", file], "x").stderr).toContain("is no secret's path");
    expect(orca(["set", "/prod/PASSWORD", "--file", file], "\n").stderr).toContain("stdin holds no value");
    expect(orca(["list", "--file", file], "").stderr).toContain("does not exist");
    expect(orca(["list", "--config", join(directory, "none.toml")], "").stderr).toContain("say which file");
    expect(orca(["edit", "--file", file], "", { EDITOR: "/bin/false", VISUAL: "/bin/false" }).stderr).toContain(
      "nothing was changed",
    );
  });

  /** As a person at a terminal types it. */
  function typeInto(words: readonly string[], environment: Record<string, string>, typed: string) {
    const command = [process.execPath, PROGRAM, "secrets", ...words].join(" ");
    const run = spawnSync("script", ["-qec", command, "/dev/null"], {
      input: typed,
      encoding: "utf8",
      env: { ...process.env, ...environment },
      timeout: 30_000,
    });
    return { status: run.status, shown: run.stdout };
  }

  test("a mistake in the editor loses nothing that was typed: it opens again; and what somebody else set meanwhile stays", async () => {
    const place = newPlace();
    await writeSecretTable(place, new Map([["/prod/A", "canary-1"]]));
    const editor = join(directory, "editor-twice");
    const again = join(directory, "again");
    const other = `${process.execPath} ${PROGRAM} secrets set /prod/B --file ${place.file}`;
    writeFileSync(
      editor,
      `#!/bin/sh\nif [ -e ${again} ]; then sed -i 's/==/=/' "$1"; exit; fi\ntouch ${again}\n` +
        `sed -i 's/A = "canary-[12]"/A == "canary-2"/' "$1"\nprintf canary-3 | ${other} > /dev/null\n`,
      { mode: 0o755 },
    );
    const environment = { EDITOR: editor, VISUAL: editor };
    const { status, shown } = typeInto(["edit", "--file", place.file], environment, "\n");
    expect(shown).toContain("no TOML at line 2");
    expect(shown).toContain("0 added, 1 changed, 0 removed");
    expect(shown).not.toContain("canary");
    expect(status).toBe(0);
    expect(Object.fromEntries(await readSecretTable(place))).toEqual({ "/prod/A": "canary-2", "/prod/B": "canary-3" });
    // Not at a terminal there is nobody to ask.
    rmSync(again);
    expect(orca(["edit", "--file", place.file], "", environment).stderr).toMatch(
      /no TOML at line 2.*nothing was changed/,
    );
  });

  test("Ctrl-C in the editor leaves no copy in memory", async () => {
    const place = newPlace();
    await writeSecretTable(place, new Map([["/prod/A", "canary-1"]]));
    const [editor, copy] = [join(directory, "editor-ended"), join(directory, "copy")];
    writeFileSync(editor, `#!/bin/sh\nprintf %s "$1" > ${copy}\nkill -INT $PPID\nsleep 0.2\nexit 1\n`, { mode: 0o755 });
    const run = orca(["edit", "--file", place.file], "", { EDITOR: editor, VISUAL: editor });
    expect(run.stderr).toContain("ended with 1: nothing was changed");
    expect(existsSync(readFileSync(copy, "utf8"))).toBe(false);
  });

  test("several who set at once lose nothing of each other's", async () => {
    const place = newPlace();
    await writeSecretTable(place, new Map([["/prod/A", "one"]]));
    const paths = ["/prod/B", "/prod/C", "/prod/D", "/prod/E"];
    const codes = await Promise.all(
      paths.map((path) => {
        const child = spawn(process.execPath, [PROGRAM, "secrets", "set", path, "--file", place.file]);
        child.stdin.end("x");
        return new Promise((resolve) => child.once("close", resolve));
      }),
    );
    expect(codes).toEqual(paths.map(() => 0));
    expect([...(await readSecretTable(place)).keys()].toSorted()).toEqual(["/prod/A", ...paths]);
  });
});
