// `orca prune`: asks the agent, which alone knows what the node needs.

import { setTimeout as sleep } from "node:timers/promises";

import type { PruneDocument } from "../../../shared/document/prune-document.ts";
import { printChoice, printPruneRun } from "../../report/text/prune-text.ts";
import { AgentClient, type ClientOptions, expectJson } from "../frame/client.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { describeOutput, printDocument, printText } from "../frame/terminal.ts";

/** The options of `orca prune`. */
export interface PruneOptions extends ClientOptions {
  dryRun?: boolean;
  early?: boolean;
  json?: boolean;
}

const LOOK_MS = 500;

/** Prunes now and waits for its end, or shows what that would do: 0, or 3 where something was left that should have gone. */
export async function prune(options: PruneOptions): Promise<number> {
  const client = new AgentClient(options);
  const { early = false } = options;
  if (options.dryRun === true) {
    const document = await read(client, `?choice=${early ? "early" : "weekly"}`);
    const { choice } = document;
    if (options.json === true) printDocument(document);
    else if (choice !== undefined) printText(printChoice(choice, describeOutput().width));
    return EXIT.ok;
  }
  const before = (await read(client)).lastRun?.endedMs;
  expectJson<{ message: string }>(await client.act("/v1/prune", { early }));
  for (;;) {
    await sleep(LOOK_MS);
    const after = await read(client);
    const { lastRun, runningSinceMs } = after;
    if (lastRun === undefined || lastRun.endedMs === before || runningSinceMs !== undefined) continue;
    if (lastRun.trigger !== "asked") throw new CommandError("another prune has ended meanwhile: ask again");
    if (options.json === true) printDocument(after);
    else printText(printPruneRun(lastRun));
    return lastRun.troubles.length === 0 ? EXIT.ok : EXIT.notHealthy;
  }
}

async function read(client: AgentClient, query = ""): Promise<PruneDocument> {
  return expectJson<PruneDocument>(await client.readTrusted(`/v1/prune${query}`));
}
