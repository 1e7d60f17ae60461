// Every command and option, in words. An action loads its command only when it is asked for.

import { Command, Option } from "commander";

import { CommandError, EXIT } from "./exit-codes.ts";
import type { UpOptions } from "./up.ts";
import { VERSION } from "../../shared/version.ts";

/** Builds the command line. */
export function buildProgram(): Command {
  const program = new Command("orca")
    .description("Runs this VM's services as its manifests say: in order, within their caps, healed when they fail.")
    .version(VERSION)
    .showSuggestionAfterError()
    .configureHelp({ sortSubcommands: false });
  addUp(program);
  return program;
}

/** Runs a command; what it cannot do comes out as one line and an exit code, never as a stack. */
function run<T extends unknown[]>(action: (...parameters: T) => Promise<number>): (...parameters: T) => Promise<void> {
  return async (...parameters) => {
    try {
      process.exitCode = await action(...parameters);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      console.error(`orca: ${message}`);
      process.exitCode = error instanceof CommandError ? error.exitCode : EXIT.failed;
    }
  };
}

function addUp(program: Command): void {
  program
    .command("up")
    .description("runs a node's services from a local directory, in the foreground; Ctrl-C leaves the containers")
    .argument("<dir>", "a manifests repository, or its orca/ directory")
    .option("--node <name>", "the node to play; may be left out where there is only one")
    .option("--down", "removes the node's containers and network, keeps its volumes, and ends")
    .option("--state <dir>", "where the agent keeps its state")
    .option("--listen <address...>", "where status is served, on loopback", ["127.0.0.1:7070"])
    .option("--docker <socket>", "the engine's socket", "/var/run/docker.sock")
    .option("--policy <file>", "the host's policy; without one everything dangerous is denied")
    .option("--secrets <file>", "a file with secrets (not read by this version)")
    .option("--stand-in <file>", "TOML, image = local image: play a topology without its images")
    .option("--address <ip>", "where ports are published", "127.0.0.1")
    .addOption(
      new Option("--ports <how>", "shift moves every port above 20000")
        .choices(["as-written", "shift"])
        .default("as-written"),
    )
    .addOption(
      new Option("--peers <how>", "services of other nodes count as healthy, or are waited for")
        .choices(["assume", "wait"])
        .default("assume"),
    )
    .option("--once", "ends when all services have settled: 0; or 1 refused, 3 not healthy in time")
    .option("--timeout <duration>", "how long --once waits", "10m")
    .addHelpText(
      "after",
      "\nExample:\n  orca up ./platform --node vm-edge\n  orca up ./platform --node vm-edge --once --timeout 5m",
    )
    .action(run(async (directory: string, options: UpOptions) => (await import("./up.ts")).up(directory, options)));
}
