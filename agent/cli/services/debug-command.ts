// `orca debug world`: the last turns of the agent that planned something, as JSON, to be planned again elsewhere. From the socket only.

import { AgentClient, type ClientOptions, expectJson } from "../frame/client.ts";
import { EXIT } from "../frame/exit-codes.ts";
import { endQuietlyOnClosedOutput, printJsonText } from "../frame/terminal.ts";

/** Prints what plan() was given and what it answered. */
export async function showWorlds(options: ClientOptions): Promise<number> {
  endQuietlyOnClosedOutput();
  const answer = await new AgentClient(options).readTrusted("/v1/debug/worlds");
  expectJson<object>(answer);
  printJsonText(answer.body);
  return EXIT.ok;
}
