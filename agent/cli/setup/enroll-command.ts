// `orca enroll`: brings a node the credentials that it waits for, through ssh's stdin, and makes its keys a change of fleet.toml. Runs where
// the checkout is. Nothing is sent before the host has proved whose key it has.

import { readFile, writeFile } from "node:fs/promises";
import { dirname, relative, resolve, sep } from "node:path";
import { buffer } from "node:stream/consumers";
import { existsSync } from "node:fs";

import { type HostKey, runOnHost, scanHostKeys, type SshEnd, type SshPlace } from "../../host/remote/ssh.ts";
import {
  CREDENTIAL_ROLES,
  ENROL_MARK,
  type EnrolAnswer,
  enrolAnswerSchema,
  type EnrolRequest,
  isCredentialRole,
} from "../../setup/credentials.ts";
import { buildPatch, putNodeKeys } from "../../setup/node-keys.ts";
import { readMessage } from "../../../shared/text/read-message.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { printFault, printText } from "../frame/terminal.ts";
import { type FleetFile, readFleetFile } from "./read-fleet-file.ts";

/** The options of `orca enroll`. */
export interface EnrollOptions {
  to?: string;
  port: string;
  hostKey?: string;
  identity?: string;
  give: string[];
  write?: boolean;
}

/** As sudo and the login shell of the host read it: a fixed text. */
const COMMAND = "orca accept-credentials";

/**
 * Runs `orca enroll`.
 * @returns the exit code: 0; 3 while the node still waits for a credential; throws where it was not reached or is another one
 */
export async function enroll(name: string, directory: string, options: EnrollOptions): Promise<number> {
  const file = await readFleetFile(directory, name);
  const place = readPlace(file.node.address, options);
  const request: EnrolRequest = { version: 1, node: name, files: await readGifts(options.give) };
  const key = options.hostKey === undefined ? undefined : await chooseKey(place, options.hostKey);
  const answer = await ask(place, request, key);
  for (const role of answer.written) printFault(`orca: ${name} has ${role}: ${describeRole(role)}`);
  if (answer.trouble !== undefined) printFault(`orca: the agent was not started: ${answer.trouble}`);
  await tellKeys(file, { name, answer }, options.write === true);
  if (answer.missing.length === 0) return EXIT.ok;
  for (const { role, path } of answer.missing)
    printFault(`orca: ${name} still waits for ${path}: orca enroll ${name} --give ${role}=FILE`);
  return EXIT.notHealthy;
}

function describeRole(role: string): string {
  return isCredentialRole(role) ? CREDENTIAL_ROLES[role] : role;
}

/** `[USER@]HOST`; root at the address in fleet.toml when left out. */
function readPlace(address: string, { to, port, identity }: EnrollOptions): SshPlace {
  const parts = /^(?:([a-z_][a-z0-9_-]{0,31})@)?([A-Za-z0-9][A-Za-z0-9.:_-]*)$/.exec(to ?? address);
  if (parts === null) throw new CommandError(`--to ${to} is no host: write root@203.0.113.7`);
  const [, user = "root", host = address] = parts;
  const number = Number(port);
  if (!Number.isInteger(number) || number < 1 || number > 65_535) throw new CommandError(`--port ${port} is no port`);
  return { user, host, port: number, ...(identity === undefined ? {} : { identity }) };
}

async function readGifts(gifts: readonly string[]): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const gift of gifts) {
    const [, role = "", path = ""] = /^([^=]+)=(.+)$/s.exec(gift) ?? [];
    if (!isCredentialRole(role)) {
      // What stands behind the sign may be a secret that somebody has written there: it is not repeated.
      const words = Object.keys(CREDENTIAL_ROLES).join(", ");
      throw new CommandError(`--give takes ROLE=FILE, and ROLE is one of ${words}`);
    }
    if (Object.hasOwn(files, role)) throw new CommandError(`--give has ${role} twice`);
    const content = await readGift(role, path);
    if (content.length === 0) throw new CommandError(`--give ${role}: the file is empty`);
    if (content.length > 65_536) throw new CommandError(`--give ${role}: the file is larger than 64 KiB`);
    files[role] = content.toString("base64");
  }
  return files;
}

async function readGift(role: string, path: string): Promise<Buffer> {
  try {
    // As a stream: /dev/stdin cannot be opened where stdin is a socket.
    return path === "-" ? await buffer(process.stdin) : await readFile(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CommandError(`--give ${role}: the file that it names cannot be read: ${code ?? readMessage(error)}`);
  }
}

/** The one key of the host that has this fingerprint. */
async function chooseKey(place: SshPlace, fingerprint: string): Promise<HostKey> {
  if (!/^SHA256:[A-Za-z0-9+/]{43}$/.test(fingerprint))
    throw new CommandError("--host-key takes what the VM's console shows: SHA256: and 43 signs");
  const keys = await scanHostKeys(place);
  const key = keys.find((entry) => entry.fingerprint === fingerprint);
  if (key !== undefined) return key;
  const shown = keys.map((entry) => entry.fingerprint).join(", ");
  throw new CommandError(
    `who answers at ${place.host} port ${place.port} is not that host, and nothing was sent: it shows ${shown}`,
  );
}

async function ask(place: SshPlace, request: EnrolRequest, key: HostKey | undefined): Promise<EnrolAnswer> {
  const command = place.user === "root" ? COMMAND : `sudo -n ${COMMAND}`;
  const input = `${JSON.stringify(request)}\n`;
  const end = await runOnHost(place, { command, input, key });
  const { code, stdout } = end;
  const line = stdout.split("\n").find((text) => text.startsWith(ENROL_MARK));
  if (code !== 0 || line === undefined) throw new CommandError(describeEnd(place, end));
  try {
    const answer = enrolAnswerSchema.parse(JSON.parse(line.slice(ENROL_MARK.length)));
    if (answer.node === request.node) return answer;
  } catch {
    // Said below.
  }
  throw new CommandError(`${place.host} has answered what is no answer to this: is its Orca another version?`);
}

/**
 * ssh's own failures end with 255; else it is the command's. Clouds that shut root out say on stdout by whom to log in there.
 */
function describeEnd(place: SshPlace, { code, stdout, stderr }: SshEnd): string {
  const lines = `${stderr}\n${code === 255 ? "" : stdout}`.split("\n").map((line) => line.trim());
  const own = lines.filter((line) => line.startsWith("orca: "));
  const plain = lines.filter((line) => line !== "" && !line.startsWith("**"));
  const said = (own.length > 0 ? own : plain.slice(-3)).join("; ");
  const at = `${place.user}@${place.host} port ${place.port}`;
  if (code === 255 && /host key|known_hosts|verification failed/i.test(stderr))
    return `${at} is not known to this machine, and nothing was sent: name the key that its console shows with --host-key SHA256:… (${said})`;
  if (code === 255) return `${at} was not reached: ${said}`;
  if (code === 127)
    return `there is no Orca on ${place.host} yet: journalctl -u orca-setup there says how far it is (${said})`;
  return `${at}: ${said === "" ? `it ended with ${code}` : said.replace(/^orca: /, "")}`;
}

async function tellKeys(
  { path, shown, text }: FleetFile,
  { name, answer }: { name: string; answer: EnrolAnswer },
  write: boolean,
): Promise<void> {
  const keys = { public_key: answer.publicKey, backup_key: answer.backupKey };
  const made = putNodeKeys(text, name, keys);
  if (made === text) return printFault(`orca: ${shown} has the keys of ${name} already`);
  if (made === undefined) {
    printFault(`orca: write these into the table of ${name} in ${shown}:`);
    return printText(`public_key = "${keys.public_key}"\nbackup_key = "${keys.backup_key}"`);
  }
  const subject = `fleet: the keys of ${name}`;
  if (write) {
    await writeFile(path, made);
    return printFault(`orca: ${shown} has them now: git commit -S -m "${subject}" ${path}`);
  }
  printText(`${subject}\n\n${buildPatch(findTreePath(path), text, made)}`);
  printFault(
    `orca: the change above is for git apply, at the top of the repository; then git commit -S -m "${subject}"`,
  );
}

/** The file's path as Git knows it: below the work tree that it lies in. */
function findTreePath(path: string): string {
  const full = resolve(path);
  let top = dirname(full);
  while (!existsSync(`${top}/.git`) && dirname(top) !== top) top = dirname(top);
  return (existsSync(`${top}/.git`) ? relative(top, full) : relative(process.cwd(), full)).split(sep).join("/");
}
