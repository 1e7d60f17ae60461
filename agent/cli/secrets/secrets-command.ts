// `orca secrets`: works with the file of secrets on this host. Values come from stdin or an editor, never from argv, and
// none is ever printed.

import { randomBytes } from "node:crypto";
import { existsSync, rmSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { type RunProgram, tidyAfter } from "../../host/os/foreground.ts";
import { mayExist, readHostFile } from "../../host/files/host-files.ts";
import { isInMemory } from "../../host/os/memory-directory.ts";
import {
  changeSecretTable,
  nameIdentityFile,
  readSecretTable,
  readSecretTableIfThere,
  type SecretFilePlace,
} from "../../secrets/providers/secret-store-file.ts";
import { describeSecrets, parseSecrets, type SecretTable } from "../../secrets/providers/secret-text.ts";
import { agentConfigSchema } from "../../../shared/config/agent-config.ts";
import { compareText } from "../../../shared/text/problem.ts";
import { secretPath } from "../../../shared/text/schema-leaf.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { ask, askHidden, printText } from "../frame/terminal.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** The options of `orca secrets` as commander hands them over. */
export interface SecretsOptions {
  file?: string;
  identity?: string;
  plain?: boolean;
  config: string;
}

const LONGEST_BYTES = 1024 ** 2;

/** Prints the paths in the file, one a line. */
export async function listSecrets(options: SecretsOptions): Promise<number> {
  const table = await readSecretTable(await findPlace(options));
  for (const path of [...table.keys()].toSorted(compareText)) printText(path);
  return EXIT.ok;
}

/** Sets one secret to what stdin holds, less a newline at its end; on a terminal it is asked for. */
export async function setSecret(path: string, options: SecretsOptions): Promise<number> {
  if (!secretPath.safeParse(path).success)
    throw new CommandError(`${path} is no secret's path: write /prod/app/PASSWORD`);
  const place = await findPlace(options);
  const typed = process.stdin.isTTY ? await askHidden(`the value of ${path}, which is not shown: `) : await readStdin();
  const value = typed.replace(/\r?\n$/, "");
  if (value === "") throw new CommandError("stdin holds no value: orca secrets set /prod/app/PASSWORD < file");
  let isNew = true;
  await changeSecretTable(place, (table) => {
    isNew = !table.has(path);
    return new Map([...table, [path, value]]);
  });
  printText(`${path} ${isNew ? "added to" : "changed in"} ${place.file}`);
  return EXIT.ok;
}

/** Opens all secrets in $EDITOR, in memory, and writes back what was changed, once it parses. */
export async function editSecrets(options: SecretsOptions): Promise<number> {
  const place = await findPlace(options);
  const before = await readSecretTableIfThere(place);
  const directory = join(await chooseMemory(), `orca-edit-${randomBytes(6).toString("hex")}`);
  const tidy = (): void => rmSync(directory, { recursive: true, force: true });
  return tidyAfter(tidy, async (run) => {
    await mkdir(directory, { mode: 0o700 });
    const file = join(directory, `${randomBytes(4).toString("hex")}.toml`);
    await writeFile(file, before.size === 0 ? TEMPLATE : describeSecrets(before), { mode: 0o600, flag: "wx" });
    const after = await editUntilValid(file, run);
    if (describeSecrets(after) === describeSecrets(before)) printText("nothing was changed");
    else {
      // What somebody else has changed in the meantime stays.
      await changeSecretTable(place, (now) => applyDifference(now, before, after));
      printText(`${place.file} written: ${describeDifference(before, after)}`);
    }
    return EXIT.ok;
  });
}

/** What was typed is not lost for a mistake in it: on a terminal the editor opens again. */
async function editUntilValid(file: string, run: RunProgram): Promise<SecretTable> {
  const [program = "vi", ...parameters] = (process.env["VISUAL"] ?? process.env["EDITOR"] ?? "vi").split(/\s+/);
  for (;;) {
    const code = await run(program, [...parameters, file]);
    if (code !== 0) throw new CommandError(`${program} ended with ${code}: nothing was changed`);
    try {
      return parseSecrets(await readFile(file, "utf8"));
    } catch (error) {
      const reason = readMessage(error);
      if (!process.stdin.isTTY) throw new CommandError(`${reason}: nothing was changed`);
      const answer = await ask(`${reason}\nEnter opens the editor again, q gives up what was typed: `);
      if (answer === undefined || answer.trim() === "q") throw new CommandError("nothing was changed");
    }
  }
}

function applyDifference(now: SecretTable, before: SecretTable, after: SecretTable): SecretTable {
  const kept = [...now].filter(([path]) => after.has(path) || !before.has(path));
  const changed = [...after].filter(([path, value]) => before.get(path) !== value);
  return new Map([...kept, ...changed]);
}

const TEMPLATE = '# A table for each folder, a line for each secret.\n# ["/prod/app"]\n# PASSWORD = "value"\n';

function describeDifference(before: SecretTable, after: SecretTable): string {
  const added = [...after.keys()].filter((path) => !before.has(path)).length;
  const removed = [...before.keys()].filter((path) => !after.has(path)).length;
  const changed = [...after].filter(([path, value]) => before.has(path) && before.get(path) !== value).length;
  return `${added} added, ${changed} changed, ${removed} removed`;
}

/** An editor's copy must not reach a disk either. */
async function chooseMemory(): Promise<string> {
  for (const directory of [process.env["XDG_RUNTIME_DIR"], "/dev/shm", "/run", tmpdir()]) {
    if (directory !== undefined && existsSync(directory) && (await isInMemory(directory))) return directory;
  }
  throw new CommandError("there is no directory in memory (/dev/shm) for the editor's copy: use orca secrets set");
}

async function findPlace({ file, identity, plain, config }: SecretsOptions): Promise<SecretFilePlace> {
  if (file !== undefined) {
    const path = resolve(file);
    return { file: path, identityFile: resolve(identity ?? nameIdentityFile(path)), plain: plain ?? false };
  }
  if (!mayExist(config))
    throw new CommandError(`say which file: orca secrets list --file FILE (there is no ${config})`);
  const { secrets } = await readHostFile(agentConfigSchema, config, "config");
  if (secrets?.file === undefined) throw new CommandError(`${config} has no [secrets] file = …: say --file FILE`);
  return {
    file: secrets.file,
    identityFile: secrets.identity_file ?? nameIdentityFile(secrets.file),
    plain: plain ?? secrets.plain,
  };
}

async function readStdin(): Promise<string> {
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  for await (const piece of process.stdin as AsyncIterable<Buffer>) {
    sizeBytes += piece.length;
    if (sizeBytes > LONGEST_BYTES) throw new CommandError("the value is larger than 1 MiB");
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}
