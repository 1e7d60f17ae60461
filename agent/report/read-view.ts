// What can be read of a node, as documents: built by the report, answered by serve/. Types only.

import type { FleetDocument } from "../../shared/document/fleet-document.ts";
import type { SloDocument } from "../../shared/document/slo-document.ts";
import type { TrialDocument } from "../../shared/document/trial-document.ts";
import type { StatusDocument } from "../../shared/document/status-document.ts";
import type { WhyDocument } from "../../shared/document/why-document.ts";
import type { ColdStartDocument } from "../../shared/state/cold-start.ts";

/** What readers ask for. */
export interface ReadView {
  readonly node: string;
  /** Sees to it that memory, load and disks are fresh. */
  refresh(): Promise<void>;
  status(): StatusDocument;
  fleet(): FleetDocument;
  /** How the promises of the stores stand; reasons may quote a program, so it is for the unix socket only. */
  slo(): SloDocument;
  /** How this run of the agent stands, for a judge of another version. */
  trial(): TrialDocument;
  coldStarts(): ColdStartDocument;
  why(service: string, trusted: boolean): WhyDocument | undefined;
  /** Is the loop alive? */
  liveness(): { ok: boolean; message: string };
  metrics(): Promise<{ type: string; body: string }>;
}
