// `orca firewall`: prints the firewall of a VM from fleet.toml, and on that VM tries it: what nobody confirms from a new connection is
// undone. A person does this, and no commit.

import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { deleteNftTable, loadNftFile, readNftTable } from "../../host/os/nft.ts";
import { findConnection, readBootTicks, type SshConnection } from "../../host/remote/connection.ts";
import { cancelLater, enableUnit, runLater } from "../../host/remote/run-later.ts";
import { buildHostFirewall, HOST_TABLE } from "../../setup/host-firewall.ts";
import { describeDuration, parseDuration } from "../../../shared/text/duration.ts";
import { readMessage } from "../../../shared/text/read-message.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { printFault, printPainted, printText } from "../frame/terminal.ts";
import { readFleetFile } from "./read-fleet-file.ts";
import { HOST_FIREWALL_FILE as KEPT } from "../doctor/read-host-firewall.ts";
import { makeDirectory } from "../../host/files/make-directory.ts";

/** The options of `orca firewall apply`. */
export interface ApplyOptions {
  within: string;
}

const RUN = "/run/orca-firewall";
const UNIT = "orca-host-firewall.service";
const PENDING = join(RUN, "pending");

/** What stands in `pending/asked.json`. */
interface Asked {
  connection: SshConnection | undefined;
  /** SSH_CONNECTION, which tmux keeps. */
  variable: string | undefined;
  ticks: number;
}

/** Prints the firewall of a node. */
export async function renderFirewall(
  name: string,
  directory: string,
  { sshPort }: { sshPort: string },
): Promise<number> {
  const { fleet, shown } = await readFleetFile(directory, name);
  const port = Number(sshPort);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new CommandError(`--ssh-port ${sshPort} is no port`);
  const made = buildHostFirewall(fleet, name, port);
  if (typeof made !== "string") throw new CommandError(`${shown}: ${made.what}: ${made.fix}`);
  printPainted(made);
  return EXIT.ok;
}

/** Loads a file for a minute. */
export async function applyFirewall(file: string, { within }: ApplyOptions): Promise<number> {
  const withinMs = parseDuration(within);
  if (withinMs === undefined || withinMs < 5_000 || withinMs > 3_600_000)
    throw new CommandError(`--within ${within} is no time between 5s and 1h`);
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    throw new CommandError(`read ${file}: ${readMessage(error)}`);
  });
  expectOwnTable(file, text);
  await nft("judge", () => loadNftFile(file, true));
  const before = await nft("ask for the table of before", () => readNftTable("inet", HOST_TABLE));
  await makeDirectory(RUN, 0o700);
  try {
    await mkdir(PENDING, { mode: 0o700 });
  } catch {
    throw new CommandError("another firewall waits to be confirmed: orca firewall confirm, or orca firewall undo");
  }
  const asked: Asked = {
    connection: findConnection(),
    variable: process.env["SSH_CONNECTION"],
    ticks: readBootTicks(),
  };
  await writeFile(join(PENDING, "asked.json"), JSON.stringify(asked));
  await writeFile(join(PENDING, "new.nft"), text, { mode: 0o600 });
  if (before !== undefined) await writeFile(join(PENDING, "before.nft"), `${buildDelete()}${before}`, { mode: 0o600 });
  try {
    // Before it is loaded: whatever happens then, it is undone.
    await runLater(process.argv[1] ?? "", ["firewall", "undo"], withinMs);
    await nft("load", () => loadNftFile(join(PENDING, "new.nft")));
  } catch (error) {
    await cancelLater();
    await rm(PENDING, { recursive: true, force: true });
    throw error;
  }
  printText(
    `loaded for ${describeDuration(withinMs)}. Log in anew, in another terminal, and run there: orca firewall confirm\n` +
      "If you cannot, do nothing: the firewall of before comes back by itself.",
  );
  return EXIT.ok;
}

/** So that the delete finds one, and all is one transaction. */
function buildDelete(): string {
  return `table inet ${HOST_TABLE}\ndelete table inet ${HOST_TABLE}\n`;
}

/** A file that flushes all rules would take Docker's with it. */
function expectOwnTable(file: string, text: string): void {
  const plain = text.replaceAll(/"[^"\n]*"/g, '""').replaceAll(/#.*/g, "");
  const named = [...plain.matchAll(/\btable\s+(?:(ip6?|inet|arp|bridge|netdev)\s+)?(\w+)/g)];
  const others = named.filter(([, family, table]) => family !== "inet" || table !== HOST_TABLE);
  if (named.length > 0 && others.length === 0 && !/\b(flush|include)\b/.test(plain)) return;
  throw new CommandError(
    `${file} is not what orca firewall render prints: it may name the table inet ${HOST_TABLE} alone`,
  );
}

/** Keeps what is loaded, where this comes from a connection that could begin since. */
export async function confirmFirewall(): Promise<number> {
  const asked = await readAsked();
  const [now, variable] = [findConnection(), process.env["SSH_CONNECTION"]];
  const isOld =
    now === undefined
      ? variable !== undefined && variable === asked.variable
      : now.startTicks <= asked.ticks || now.pid === asked.connection?.pid;
  if (isOld)
    throw new CommandError(
      "this connection is older than the firewall, and would live on under any: log in anew, and confirm there (without ControlMaster)",
    );
  // Whoever has moved it is the one who decides: the undoing may come in the same moment.
  const kept = await take("confirmed");
  const text = await readFile(join(kept, "new.nft"), "utf8");
  await writeFile(`${KEPT}.new`, text, { mode: 0o600 });
  await rename(`${KEPT}.new`, KEPT);
  await cancelLater();
  await rm(kept, { recursive: true, force: true });
  const trouble = await enableUnit(UNIT).then(
    () => undefined,
    (error: { stderr?: string }) => (error.stderr ?? "").trim().split("\n")[0] ?? readMessage(error),
  );
  if (trouble !== undefined) printFault(`orca: it is not loaded at boot: systemctl enable ${UNIT}: ${trouble}`);
  printText(`confirmed: ${KEPT}${trouble === undefined ? ", loaded at each boot" : ""}`);
  return EXIT.ok;
}

/** Brings the firewall of before back; nothing where nothing waits any more. */
export async function undoFirewall(): Promise<number> {
  let taken: string;
  try {
    taken = await take("undone");
  } catch {
    printText("no firewall waits to be confirmed");
    return EXIT.ok;
  }
  const before = join(taken, "before.nft");
  const was = await readFile(before, "utf8").catch(() => undefined);
  if (was === undefined) await nft("take away", () => deleteNftTable("inet", HOST_TABLE));
  else await nft("bring back", () => loadNftFile(before));
  await rm(taken, { recursive: true, force: true });
  await cancelLater();
  printText(was === undefined ? "undone: no firewall of Orca's is loaded" : "undone: the firewall of before is loaded");
  return EXIT.ok;
}

async function readAsked(): Promise<Asked> {
  try {
    return JSON.parse(await readFile(join(PENDING, "asked.json"), "utf8")) as Asked;
  } catch {
    throw new CommandError("no firewall waits to be confirmed: it was undone, or orca firewall apply was not run");
  }
}

async function take(as: string): Promise<string> {
  const target = join(RUN, as);
  await rm(target, { recursive: true, force: true });
  await rename(PENDING, target).catch(() => {
    throw new CommandError("no firewall waits to be confirmed: it was undone meanwhile");
  });
  return target;
}

async function nft<T>(what: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    const { code, stderr } = error as NodeJS.ErrnoException & { stderr?: string };
    if (code === "ENOENT") throw new CommandError("nft is not there: apt-get install nftables");
    const [said = readMessage(error)] = (stderr ?? "").trim().split("\n");
    throw new CommandError(`${what} the firewall: nft says: ${said}`);
  }
}
