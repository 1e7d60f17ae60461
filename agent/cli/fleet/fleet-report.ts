// `orca fleet report`: how this node, or the realm, came up the last time, as the agents measured it themselves.

import { printColdStart } from "../../report/text/cold-start-text.ts";
import { COLD_START_SCHEMA, type ColdStartDocument, isWhole } from "../../../shared/state/cold-start.ts";
import { AgentClient, type ClientOptions, expectJson } from "../frame/client.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { describeOutput, printDocument, printText } from "../frame/terminal.ts";

/** The options of `orca fleet report`. */
export interface FleetReportOptions extends ClientOptions {
  json?: boolean;
}

/** Shows the newest report; answers 0 when everything came up with all it needs, 3 when not or not yet, 1 when there is none. */
export async function fleetReport(options: FleetReportOptions): Promise<number> {
  const client = new AgentClient(options);
  const document = expectJson<Partial<ColdStartDocument>>(await client.read("/v1/cold-start", "application/json"));
  if (document.schema !== COLD_START_SCHEMA || document.reports === undefined)
    throw new CommandError(
      `what answers is no agent of this version (${document.schema ?? "no schema"})`,
      EXIT.unreachable,
    );
  const { reports } = document;
  const whole = document as ColdStartDocument;
  if (options.json === true) printDocument(whole);
  else printText(printColdStart(whole, describeOutput()));
  const [newest] = reports;
  if (newest === undefined) return EXIT.failed;
  return isWhole(newest) ? EXIT.ok : EXIT.notHealthy;
}
