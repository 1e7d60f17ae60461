// `orca slo`: what the manifests promise of backups, and how that stands.

import type { SloDocument } from "../../../shared/document/slo-document.ts";
import { printSlo } from "../../report/text/slo-text.ts";
import { AgentClient, type ClientOptions, expectJson } from "../frame/client.ts";
import { EXIT } from "../frame/exit-codes.ts";
import { describeOutput, printDocument, printText } from "../frame/terminal.ts";

/** The options of `orca slo`. */
export interface SloOptions extends ClientOptions {
  json?: boolean;
}

/** Prints how each promise stands: 0 while all are held, 3 when one is broken. */
export async function showSlo(options: SloOptions): Promise<number> {
  const client = new AgentClient(options);
  const document = expectJson<SloDocument>(await client.readTrusted("/v1/slo"));
  if (options.json === true) printDocument(document);
  else printText(printSlo(document, describeOutput().width));
  return document.held ? EXIT.ok : EXIT.notHealthy;
}
