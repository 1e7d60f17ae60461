// `orca recover NODE`, on the spare: puts it in a lost node's place with nothing but the escrow, an offline key, and manifests with their
// images. Each step is timed. A recovery that was cut is begun again by the same command.

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { RecoveryEvidence } from "../../setup/recovery-evidence.ts";
import { markRecovery } from "../../gossip/recovery-mark.ts";
import { restartAgent } from "../../host/remote/agent-unit.ts";
import type { BackupListDocument } from "../../../shared/document/backup-document.ts";
import type { StatusDocument } from "../../../shared/document/status-document.ts";
import { installBundleCommand } from "../bundle/install-command.ts";
import type { StoreStatus } from "../../../shared/state/backup.ts";
import { sayBest } from "../backup/best-backup.ts";
import { restoreBackup } from "../backup/restore-command.ts";
import { MOST_TERM } from "../../../shared/fleet/takeover.ts";
import { readMessage } from "../../../shared/text/read-message.ts";
import { durationMs } from "../../../shared/text/schema-leaf.ts";
import { AgentClient, type ClientOptions, expectJson } from "../frame/client.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { printFault, printText } from "../frame/terminal.ts";
import { readFleetFile } from "../setup/read-fleet-file.ts";
import { openEscrow } from "./escrow-file.ts";
import { RECOVERY_STEPS, RecoveryTable } from "./recover-table.ts";
import { refuseOtherEscrow, refuseTerm } from "./refuse-escrow.ts";
import { chooseStore, chooseStored, readManifests } from "./stored-services.ts";
import {
  chooseSpare,
  copyManifests,
  readOwnIdentity,
  refuseOtherHost,
  type Spare,
  takeOver,
  writeHost,
} from "./spare-host.ts";

/** The options of `orca recover`. */
export interface RecoverOptions {
  escrow: string;
  key: string;
  bundle?: string;
  manifests?: string;
  address?: string;
  term?: string;
  source: string;
  without: string[];
  timeout: string;
  socket?: string;
}

const LOOK_MS = 500;
/** A repository that has shown no backup by then has none. */
const LISTING_MS = 60_000;
/** An agent that has not answered by then was not started. */
const AGENT_MS = RECOVERY_STEPS.provision.budgetMs;

/** What is known once the machine is the lost node's spare. */
interface Recovery {
  spare: Spare;
  stateDir: string;
  /** Services of the node whose data is restored. */
  stored: readonly string[];
}

/** Runs it: 0 when every service is healthy again, 3 when not or when data is missing, 1 where it could not begin. */
export async function recover(node: string, options: RecoverOptions): Promise<number> {
  const timeoutMs = parseTimeout(options.timeout);
  const term = parseTerm(options.term);
  const table = new RecoveryTable(() => performance.now());
  try {
    const recovery = await table.time("provision", () => provision(node, options, term));
    const missing = await table.time("data", () => restoreAll(recovery, options));
    tellNames(recovery.spare);
    if (missing.length > 0) return tellMissing(missing);
    return await table.time("services", () => startServices(recovery, options, timeoutMs));
  } finally {
    printText(table.print());
  }
}

/** Everything up to an agent that answers. Nothing is written before the escrow is open and belongs to this node and machine. */
async function provision(node: string, options: RecoverOptions, term: number | undefined): Promise<Recovery> {
  const { source } = options;
  const origin = chooseOrigin(options);
  const escrow = await openEscrow(options.escrow, options.key);
  if (escrow.node !== node) throw new CommandError(`${options.escrow} is the escrow of ${escrow.node}, not of ${node}`);
  const repository = origin.kind === "bundle" ? join(origin.path, "repository") : origin.path;
  const fleet = await readFleetFile(repository, node);
  const stored = chooseStored(await readManifests(repository, node), node, options.without);
  const spare = chooseSpare(fleet, node, options.address);
  await refuseOtherHost(escrow.config, spare);
  await refuseOtherEscrow(escrow, options.escrow);
  refuseTerm(term, escrow.term, spare);
  const config = await writeHost(escrow, spare, source);
  const identity = await readOwnIdentity(config, fleet, spare);
  printText(
    `the escrow of ${node} is open: ${escrow.files.length} files are where they lay, and ${escrow.config} is this machine's`,
  );
  if (origin.kind === "manifests") await copyManifests(origin.path, source);
  else if ((await installBundleCommand(origin.path, { config: escrow.config })) !== EXIT.ok)
    throw new CommandError(`${origin.path} was not installed`);
  const stateDir = config.state.dir;
  await markRecovery(stateDir, stored.mayStart);
  const takeover = await takeOver({ escrow, spare, stateDir }, identity, term);
  printText(`${spare.name} at ${spare.address} stands in the place of ${node}: takeover ${takeover.term} is signed`);
  const trouble = await restartAgent();
  if (trouble !== undefined)
    printFault(
      `orca: the agent was not started here (${trouble}): start it now with orca agent --config ${escrow.config}`,
    );
  await untilAgent(node, options);
  const evidence: RecoveryEvidence = {
    action: "recover",
    what: {
      node,
      spare: spare.name,
      address: spare.address,
      term: takeover.term,
      escrow: options.escrow,
      origin: origin.kind,
      from: origin.path,
    },
    result: "ok",
  };
  await new AgentClient(options)
    .act("/v1/recovery", evidence)
    .then(expectJson)
    .catch((error: unknown) => printFault(`orca: the takeover is not in the audit log: ${readMessage(error)}`));
  for (const store of stored.byHand)
    printText(`for a person, later: ${store} does not go back into place; orca backup list says how it is restored`);
  return { spare, stateDir, stored: stored.services };
}

function chooseOrigin({ bundle, manifests }: RecoverOptions): { kind: "bundle" | "manifests"; path: string } {
  if (bundle !== undefined && manifests === undefined) return { kind: "bundle", path: bundle };
  if (manifests !== undefined && bundle === undefined) return { kind: "manifests", path: manifests };
  throw new CommandError("say where the manifests are: --bundle DIR, or --manifests DIR for a clone of the repository");
}

function parseTerm(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const term = Number(text);
  if (Number.isSafeInteger(term) && term > 0 && term <= MOST_TERM) return term;
  throw new CommandError(
    `--term ${text} is no term: write a number above every earlier one, of at most ${MOST_TERM}; nothing was done`,
  );
}

function parseTimeout(text: string): number {
  const parsed = durationMs.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new CommandError(`--timeout ${text} is no duration: write 15m`);
}

async function untilAgent(node: string, options: ClientOptions): Promise<void> {
  const endMs = performance.now() + AGENT_MS;
  while (performance.now() < endMs) {
    const status = await readStatus(options).catch(() => undefined);
    if (status?.node === node && status.services.length > 0) return;
    await sleep(LOOK_MS);
  }
  throw new CommandError(
    `no agent of ${node} answered within ${AGENT_MS / 60_000} minutes: journalctl -u orca-agent says why`,
  );
}

async function readStatus(options: ClientOptions): Promise<StatusDocument> {
  return expectJson<StatusDocument>(await new AgentClient(options).readTrusted("/v1/status"));
}

/** Restores every store, one after the other; answers what could not be. */
async function restoreAll({ stored }: Recovery, options: RecoverOptions): Promise<string[]> {
  const client = new AgentClient(options);
  const missing: string[] = [];
  for (const service of stored) {
    await untilHealthy(service, options);
    const chosen = chooseStore(await listStores(client, service));
    if (chosen === undefined) {
      missing.push(`${service}: no repository that can be read here has a backup of it`);
      continue;
    }
    try {
      printText(`${service}/${chosen.store}: ${chosen.best.name}, ${sayBest(chosen.best)}`);
      const socket = options.socket === undefined ? {} : { socket: options.socket };
      await restoreBackup(service, { ...socket, store: chosen.store, backup: chosen.best.name });
    } catch (error) {
      missing.push(`${service}/${chosen.store}: ${readMessage(error)}`);
    }
  }
  return missing;
}

/** A service's stores, once a repository has been looked through. */
async function listStores(client: AgentClient, service: string): Promise<readonly StoreStatus[]> {
  const endMs = performance.now() + LISTING_MS;
  for (;;) {
    const { stores } = expectJson<BackupListDocument>(await client.readTrusted("/v1/backups"));
    const own = stores.filter((entry) => entry.service === service);
    const isRead = own.some(({ backups }) => backups.length > 0);
    if (isRead || performance.now() > endMs) return own;
    await sleep(LOOK_MS);
  }
}

/** A store is restored beside the empty one that its service was started with. */
async function untilHealthy(service: string, options: ClientOptions): Promise<void> {
  const endMs = performance.now() + RECOVERY_STEPS.data.budgetMs;
  while (performance.now() < endMs) {
    const status = await readStatus(options).catch(() => undefined);
    if (status?.services.find(({ name }) => name === service)?.state === "healthy") return;
    await sleep(LOOK_MS);
  }
}

function tellNames({ node, address }: Spare): void {
  printText(
    `for a person, now: at the registrar, lead the name servers and every name of ${node} to this machine (${address}, or the address that the internet has for it)`,
  );
}

function tellMissing(missing: readonly string[]): number {
  for (const line of missing) printFault(`orca: not restored: ${line}`);
  printFault(
    "orca: everything else waits until the data is there: put that right and run orca recover again, or name a service that may begin empty with --without",
  );
  return EXIT.notHealthy;
}

/** The data is there: everything may start. */
async function startServices({ stateDir }: Recovery, options: RecoverOptions, timeoutMs: number): Promise<number> {
  await markRecovery(stateDir, undefined);
  const client = new AgentClient(options);
  expectJson(await client.act("/v1/sync"));
  const endMs = performance.now() + timeoutMs;
  let waiting: string[] = [];
  do {
    await sleep(LOOK_MS);
    const status = await readStatus(options).catch(() => undefined);
    if (status === undefined) continue;
    if (status.healthy) return EXIT.ok;
    waiting = status.services.map(({ name, state, reason }) => `${name}: ${state}: ${reason}`);
  } while (performance.now() < endMs);
  for (const line of waiting) printFault(`orca: ${line}`);
  return EXIT.notHealthy;
}
