// The words of `orca escrow`. An action loads its command only when it is asked for.

import type { Command } from "commander";

import { run } from "../frame/run-action.ts";
import type { EscrowOptions } from "./escrow-command.ts";

/** Adds them. */
export function addRecover(program: Command): void {
  program
    .command("escrow")
    .description("what a spare needs when a node is lost with Git, secrets and registry on it")
    .addHelpText(
      "after",
      "\nExample:\n  orca escrow create vm-edge --recovery-key ./recovery.key --out ./vm-edge.escrow",
    )
    .command("create")
    .description("makes one encrypted file of this node's credentials, keys and last known secrets; run it on the node")
    .argument("<node>", "this node, as fleet.toml calls it")
    .requiredOption("--recovery-key <file>", "the private half of the policy's pinned.recovery_key")
    .requiredOption("--out <file>", "a new file")
    .option(
      "--recipient <age1…>",
      "an offline key that opens it, several times; pinned.recipients of the policy when left out",
      (recipient: string, others: string[]) => [...others, recipient],
      [],
    )
    .option("--config <file>", "this host's configuration", "/etc/orca/agent.toml")
    .addHelpText(
      "after",
      "\nMake it anew when orca doctor says that something in it has changed.\n\nExample:" +
        "\n  orca escrow create vm-edge --recovery-key ./recovery.key --recipient age1… --out ./vm-edge.escrow",
    )
    .action(
      run(async (node: string, options: EscrowOptions) =>
        (await import("./escrow-command.ts")).createEscrow(node, options),
      ),
    );
}
