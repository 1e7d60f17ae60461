// The words of `orca secrets`: its commands and options.

import type { Command } from "commander";

import { run } from "../frame/run-action.ts";
import type { SecretsOptions } from "./secrets-command.ts";

/** Adds `orca secrets`. */
export function addSecrets(program: Command): void {
  const secrets = program
    .command("secrets")
    .description("works with this host's file of secrets; never prints a value")
    .addHelpText("after", EXAMPLES);
  addPlace(secrets.command("list"))
    .description("prints the paths of all secrets in the file")
    .action(run(async (options: SecretsOptions) => (await import("./secrets-command.ts")).listSecrets(options)));
  addPlace(secrets.command("set"))
    .description("sets one secret to what stdin holds; makes file and key where there are none")
    .argument("<path>", "such as /prod/app/PASSWORD")
    .action(
      run(async (path: string, options: SecretsOptions) =>
        (await import("./secrets-command.ts")).setSecret(path, options),
      ),
    );
  addPlace(secrets.command("edit"))
    .description("opens all secrets in $EDITOR, in memory, and writes them back")
    .action(run(async (options: SecretsOptions) => (await import("./secrets-command.ts")).editSecrets(options)));
}

const EXAMPLES =
  "\nExample:\n  orca secrets set /prod/app/PASSWORD --file secrets.age < password.txt" +
  "\n  orca secrets list --file secrets.age\n  orca secrets edit";

function addPlace(command: Command): Command {
  return command
    .option("--file <file>", "the file; the one of agent.toml when left out")
    .option("--identity <file>", "the age key that opens it; FILE.key when left out")
    .option("--plain", "writes the file unencrypted, and reads one that is")
    .option("--config <file>", "where the file is named", "/etc/orca/agent.toml");
}
