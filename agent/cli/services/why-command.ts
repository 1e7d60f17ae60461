// `orca why SERVICE`: why it is in its state, from the agent's socket or from loopback, where log lines are left out.

import { printWhy } from "../../report/text/why-text.ts";
import type { WhyDocument } from "../../../shared/document/why-document.ts";
import { AgentClient, type ClientOptions, expectJson } from "../frame/client.ts";
import { EXIT } from "../frame/exit-codes.ts";
import { describeOutput, endQuietlyOnClosedOutput, printJsonText, printPainted } from "../frame/terminal.ts";

/** The options of `orca why`. */
export interface WhyOptions extends ClientOptions {
  json?: boolean;
}

/** Says why. */
export async function showWhy(service: string, options: WhyOptions): Promise<number> {
  endQuietlyOnClosedOutput();
  const client = new AgentClient(options);
  const answer = await client.read(`/v1/why/${encodeURIComponent(service)}`, "application/json");
  const why = expectJson<WhyDocument>(answer);
  if (options.json === true) printJsonText(answer.body);
  else printPainted(printWhy(why, describeOutput()));
  return EXIT.ok;
}
