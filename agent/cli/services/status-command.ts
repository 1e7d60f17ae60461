// `orca status`: the table of services, from the agent's socket or from loopback.

import { setTimeout as sleep } from "node:timers/promises";

import { printFleet } from "../../report/text/fleet-text.ts";
import { cutControlCharacters, printJson } from "../../report/text/public-text.ts";
import { printStatus } from "../../report/text/status-text.ts";
import { FLEET_SCHEMA, type FleetDocument } from "../../../shared/document/fleet-document.ts";
import { STATUS_SCHEMA, type StatusDocument } from "../../../shared/document/status-document.ts";
import { AgentClient, type ClientOptions, expectJson } from "../frame/client.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { describeOutput, endQuietlyOnClosedOutput, printPainted } from "../frame/terminal.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** The options of `orca status`. */
export interface StatusOptions extends ClientOptions {
  json?: boolean;
  watch?: boolean;
  fleet?: boolean;
}

const WATCH_EVERY_MS = 2_000;
const CLEAR = "\u001b[H\u001b[2J\u001b[3J";

/** Shows the status; answers 0 when all is healthy and nothing is held, and 3 when not. */
export async function showStatus(options: StatusOptions): Promise<number> {
  endQuietlyOnClosedOutput();
  const client = new AgentClient(options);
  if (options.watch === true) return watch(client, options);
  if (options.fleet === true) return showFleet(client, options);
  const status = await readStatus(client);
  printPainted(print(status, options));
  // What Git wants is not in force: a script that waits for its commit must see that.
  const isHeld = (status.source?.holds ?? []).length > 0;
  return status.healthy && !isHeld ? EXIT.ok : EXIT.notHealthy;
}

/** Shows every node as the agent of this one sees it. */
async function showFleet(client: AgentClient, options: StatusOptions): Promise<number> {
  const fleet = await readFleet(client);
  printPainted(printOneFleet(fleet, options));
  return fleet.healthy ? EXIT.ok : EXIT.notHealthy;
}

async function readFleet(client: AgentClient): Promise<FleetDocument> {
  const fleet = expectJson<Partial<FleetDocument>>(await client.read("/v1/fleet", "application/json"));
  if (fleet.schema === FLEET_SCHEMA) return fleet as FleetDocument;
  throw new CommandError(`what answers is no agent of this version (${fleet.schema ?? "no schema"})`, EXIT.unreachable);
}

function printOneFleet(fleet: FleetDocument, options: StatusOptions): string {
  return options.json === true ? `${printJson(fleet, 2)}\n` : printFleet(fleet, describeOutput());
}

async function readStatus(client: AgentClient): Promise<StatusDocument> {
  const answer = await client.read("/v1/status", "application/json");
  const status = expectJson<Partial<StatusDocument>>(answer);
  if (status.schema === STATUS_SCHEMA) return status as StatusDocument;
  throw new CommandError(
    `what answers is no agent of this version (${status.schema ?? "no schema"})`,
    EXIT.unreachable,
  );
}

function print(status: StatusDocument, options: StatusOptions): string {
  return options.json === true ? `${printJson(status, 2)}\n` : printStatus(status, describeOutput());
}

/** On a terminal the screen is drawn anew; elsewhere a table is printed whenever a service has changed. */
async function watch(client: AgentClient, options: StatusOptions): Promise<never> {
  let shown = "";
  for (;;) {
    const { text, key } = await look(client, options);
    if (process.stdout.isTTY) printPainted(`${CLEAR}${text}`);
    else if (key !== shown) printPainted(`${text}\n`);
    shown = key;
    await sleep(WATCH_EVERY_MS);
  }
}

async function look(client: AgentClient, options: StatusOptions): Promise<{ text: string; key: string }> {
  try {
    if (options.fleet === true) {
      const fleet = await readFleet(client);
      return { text: printOneFleet(fleet, options), key: JSON.stringify(fleet.nodes.map(nameFleetChange)) };
    }
    const status = await readStatus(client);
    const key = JSON.stringify(
      status.services.map(({ name, state, revision, restarts }) => [name, state, revision, restarts]),
    );
    return { text: print(status, options), key };
  } catch (error) {
    // An agent that restarts is back in a moment: whoever watches wants to see that too.
    const message = readMessage(error);
    return { text: `orca: ${cutControlCharacters(message)}\n`, key: message };
  }
}

function nameFleetChange({ node, reachability, revision, services }: FleetDocument["nodes"][number]): unknown {
  return [node, reachability, revision, services.map(({ name, state }) => [name, state])];
}
