// fleet.toml of a checkout, for the commands that set VMs up: `orca cloud-init`, `orca enroll`, `orca firewall`.

import { join } from "node:path";

import { parseFleet } from "../../desired/repository/repository.ts";
import { readPlainText } from "../../host/files/plain-file.ts";
import { findLayout } from "../../sources/tree/repository-layout.ts";
import type { Fleet, FleetNode } from "../../../shared/fleet/fleet.ts";
import { describeProblem } from "../../../shared/text/problem.ts";
import { CommandError } from "../frame/exit-codes.ts";

/** A valid fleet.toml, the node that the command is about, and where the file lies. */
export interface FleetFile {
  fleet: Fleet;
  node: FleetNode;
  path: string;
  /** As people know it: below the repository. */
  shown: string;
  text: string;
}

/**
 * Reads it.
 * @param directory a manifests repository, or its orca/ directory
 * @param name the node; throws with the names there are where it is none of them, and with what is wrong where the file is not valid
 */
export async function readFleetFile(directory: string, name: string): Promise<FleetFile> {
  const layout = await findLayout(directory);
  const path = join(layout.root, "fleet.toml");
  const shown = `${layout.shown}fleet.toml`;
  const read = readPlainText(path);
  if (!read.ok) throw new CommandError(`${shown}: ${read.fault.message}: ${read.fault.hint}`);
  const { fleet, problems } = await parseFleet(read.text, shown);
  if (fleet === undefined) throw new CommandError(problems.map(describeProblem).join("\n"));
  const node = Object.hasOwn(fleet.nodes, name) ? fleet.nodes[name] : undefined;
  if (node === undefined)
    throw new CommandError(`there is no node ${name} in ${shown}; there are ${Object.keys(fleet.nodes).join(", ")}`);
  return { fleet, node, path, shown, text: read.text };
}
