// The words of `orca drill`: its commands and options. Each loads its work when it is run.

import type { Command } from "commander";

import { run } from "../frame/run-action.ts";
import type { DrillRunOptions } from "./drill-command.ts";
import type { DrillOptions } from "./drill-isolation.ts";

const SOCKET = ["--socket <path>", "the agent's unix socket (also ORCA_SOCKET; default /run/orca/agent.sock)"] as const;
const ENDS =
  "\nEnds with 0 when everything came back in its time, 3 when something did not or\ncould not be tried, 1 when it did not begin.";

/** Adds `orca drill`. */
export function addDrill(program: Command): void {
  const drill = program
    .command("drill")
    .description(
      "restores every store of this node from its newest backup into throw-away containers, looks into each, and times it; audited",
    )
    .option("--status", "no drill: shows the one that goes on, the last ones, and when the next is due")
    .option("--json", "prints JSON")
    .option(...SOCKET)
    .addHelpText(
      "after",
      `${ENDS}\n\nExample:\n  orca drill\n  orca drill --status\n  orca drill full\n  orca drill stop portal`,
    )
    .action(
      run(async (options: DrillRunOptions) => (await import("./drill-command.ts")).drill({ kind: "stores" }, options)),
    );
  addRuns(drill);
  drill
    .command("isolation")
    .description("tries to reach secrets, services and hosts of other realms from this host; writes down what held")
    .argument("<dir>", "a manifests repository, or its orca/ directory")
    .option("--config <file>", "this host's configuration", "/etc/orca/agent.toml")
    .option("--node <name>", "the node to play; the one of agent.toml when left out")
    .option("--json", "prints JSON")
    .addHelpText(
      "after",
      "\nExits with 0 when all held, 3 when something is reachable or unguarded,\n1 when something could not be tried." +
        "\n\nExample:\n  orca drill isolation ./platform --config /etc/orca/agent.toml",
    )
    .action(
      run(async (directory: string, options: DrillOptions, command: Command) =>
        // What stands before the subcommand's name, or also belongs to `orca drill`, is read there.
        (await import("./drill-isolation.ts")).drillIsolation(directory, { ...command.optsWithGlobals(), ...options }),
      ),
    );
}

function addRuns(drill: Command): void {
  drill
    .command("full")
    .description(
      "brings this node's services up a second time, apart and without a way out, with their data from the newest backups; times it; audited",
    )
    .addHelpText("after", `${ENDS}\n\nExample:\n  orca drill full`)
    .action(
      run(async (_options: object, command: Command) =>
        (await import("./drill-command.ts")).drill({ kind: "full" }, command.optsWithGlobals()),
      ),
    );
  drill
    .command("stop")
    .description("stops a service through the agent, which starts it again; times it until it has settled; audited")
    .argument("<service>")
    .addHelpText("after", `${ENDS}\n\nExample:\n  orca drill stop portal`)
    .action(
      run(async (service: string, _options: object, command: Command) =>
        (await import("./drill-command.ts")).drill({ kind: "stop", service }, command.optsWithGlobals()),
      ),
    );
}
