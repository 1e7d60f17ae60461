// The words of `orca escrow` and `orca recover`. An action loads its command only when it is asked for.

import type { Command } from "commander";

import { run } from "../frame/run-action.ts";
import type { EscrowOptions } from "./escrow-command.ts";
import type { RecoverOptions } from "./recover-command.ts";

/** Adds them. */
export function addRecover(program: Command): void {
  addEscrow(program);
  program
    .command("recover")
    .description(
      "puts this machine, a spare, in a lost node's place: escrow, manifests, takeover, data, services; timed",
    )
    .argument("<node>", "the lost node, as fleet.toml calls it")
    .requiredOption("--escrow <file>", "what orca escrow create made on the node")
    .requiredOption("--key <file>", "an offline key that opens it, as age-keygen writes it")
    .option("--bundle <dir>", "an offline bundle with manifests and images")
    .option(
      "--manifests <dir>",
      "in its place a clone of the repository; the images must be on this machine or at a registry",
    )
    .option("--address <ip>", "this machine's private address, where fleet.toml has no spare of the node")
    .option("--source <dir>", "where the agent reads the manifests from now on", "/srv/orca")
    .option("--term <number>", "of the takeover; above every term that is known here when left out")
    .option(
      "--without <service>",
      "begins empty: its data is not restored, several times",
      (service: string, others: string[]) => [...others, service],
      [],
    )
    .option("--timeout <duration>", "how long the services may take at the end", "15m")
    .option("--socket <path>", "the agent's unix socket (also ORCA_SOCKET; default /run/orca/agent.sock)")
    .addHelpText(
      "after",
      "\nEnds with 0 when every service is healthy, 3 when not or when data could not be\nrestored, 1 when it could not begin." +
        "\n\nExample:\n  orca recover vm-edge --escrow ./edge.escrow --key ./off.key --bundle ./edge-12",
    )
    .action(
      run(async (node: string, options: RecoverOptions) =>
        (await import("./recover-command.ts")).recover(node, options),
      ),
    );
}

function addEscrow(program: Command): void {
  program
    .command("escrow")
    .description("what a spare needs when a node is lost with Git, secrets and registry on it")
    .addHelpText("after", "\nExample:\n  orca escrow create vm-edge --recovery-key ./rec.key --out ./vm-edge.escrow")
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
        "\n  orca escrow create vm-edge --recovery-key ./rec.key --out ./vm-edge.escrow",
    )
    .action(
      run(async (node: string, options: EscrowOptions) =>
        (await import("./escrow-command.ts")).createEscrow(node, options),
      ),
    );
}
