// Which node a command is about: named, or the only one there is.

import { findLayout, listNodes } from "../../sources/tree/repository-layout.ts";
import { CommandError } from "./exit-codes.ts";
import { describeCount } from "../../../shared/text/count.ts";

/** Chooses the node of a repository; throws with the names there are. */
export async function chooseNode(directory: string, wanted: string | undefined): Promise<string> {
  const nodes = await findLayout(directory).then(listNodes);
  if (wanted !== undefined) {
    if (nodes.includes(wanted)) return wanted;
    throw new CommandError(`there is no node ${wanted} in ${directory}; there are ${nodes.join(", ")}`);
  }
  const [only, ...more] = nodes;
  if (only === undefined) throw new CommandError(`${directory} has no node: expected manifests/<node>/<service>.toml`);
  if (more.length === 0) return only;
  throw new CommandError(
    `${directory} has ${describeCount(nodes.length, "node")}: say which with --node ${nodes.join("|")}`,
  );
}
