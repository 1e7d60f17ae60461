// Every command and option, in words. An action loads its command only when it is asked for.

import { Argument, Command, Option } from "commander";

import { addBundle } from "../bundle/bundle-program.ts";
import { addClientCommands } from "./client-program.ts";
import type { AgentCommandOptions } from "../agent/agent-command.ts";
import type { DeadManOptions } from "../agent/dead-man-command.ts";
import type { DoctorOptions } from "../doctor/doctor-command.ts";
import type { UpdateOptions, UpdateRunOptions } from "../agent/update-command.ts";
import type { FleetPlanOptions } from "../fleet/fleet-plan.ts";
import type { FleetReportOptions } from "../fleet/fleet-report.ts";
import type { KeygenOptions } from "../fleet/keygen-command.ts";
import type { PlanOptions } from "../plan/plan-command.ts";
import { addDrill } from "../drill/drill-program.ts";
import { addRecover } from "../recover/recover-program.ts";
import { addSecrets } from "../secrets/secrets-program.ts";
import { addSetup } from "../setup/setup-program.ts";
import { run } from "./run-action.ts";
import type { LintOptions } from "../lint/lint-command.ts";
import type { SchemaName } from "../lint/schema-command.ts";
import { BACKUP_COMMAND } from "../../backup/backup-exchange.ts";
import { DOCTOR_COMMAND } from "../../daemon/doctor-exchange.ts";
import { DRILL_COMMAND } from "../../drill/drill-exchange.ts";
import { READ_COMMAND } from "../../secrets/providers/read-exchange.ts";
import type { UnitOptions } from "../agent/unit-command.ts";
import type { UpOptions } from "../agent/up-command.ts";
import { listHelpTopics } from "../../../shared/text/help-topic.ts";
import { VERSION_LINE } from "../../../shared/version.ts";

/** Builds the command line. */
export function buildProgram(): Command {
  const program = new Command("orca")
    .description("Runs this VM's services as its manifests say: in order, within their caps, healed when they fail.")
    .version(VERSION_LINE)
    .showSuggestionAfterError()
    .configureHelp({
      sortSubcommands: false,
      // Long words on the left must not keep the right from being wrapped: 80 columns hold both.
      minWidthToWrap: 20,
      subcommandTerm: (command) => [command.name(), ...command.registeredArguments.map(describeArgument)].join(" "),
    })
    .helpCommand(false)
    .addHelpText("after", `\nTopics (orca help TOPIC):\n${listHelpTopics().join("\n")}`);
  addAgent(program);
  // What the agent runs to fetch; not for people.
  program
    .command("git-fetch", { hidden: true })
    .action(run(async () => (await import("../../sources/git/store/git-fetch.ts")).runFetch()));
  program
    .command(BACKUP_COMMAND, { hidden: true })
    .action(run(async () => (await import("../../backup/backup-child.ts")).runBackupChild()));
  program
    .command(DRILL_COMMAND, { hidden: true })
    .action(run(async () => (await import("../../drill/drill-child.ts")).runDrillChild()));
  program
    .command(READ_COMMAND, { hidden: true })
    .action(run(async () => (await import("../../secrets/providers/read-child.ts")).runRead()));
  program
    .command("make-identity", { hidden: true })
    .action(run(async () => (await import("../../gossip/open-gossip.ts")).runMakeIdentity()));
  program
    .command(DOCTOR_COMMAND, { hidden: true })
    .action(run(async () => (await import("../doctor/doctor-command.ts")).runDoctorLook()));
  addUp(program);
  addPlan(program);
  addLint(program);
  addSchema(program);
  addSecrets(program);
  addKeygen(program);
  addSetup(program);
  addBundle(program);
  addRecover(program);
  addFleet(program);
  addDrill(program);
  addDoctor(program);
  addDeadMan(program);
  addUpdate(program);
  addUnit(program);
  addClientCommands(program);
  addHelp(program);
  return program;
}

function addHelp(program: Command): void {
  program
    .command("help")
    .description("prints a topic page, or a command's options; lists both when nothing is named")
    .argument("[topic...]", "a topic or a command")
    .addHelpText("after", "\nExample:\n  orca help runbook\n  orca help fleet plan")
    .action(run(async (words: string[]) => (await import("./help-command.ts")).showHelp(program, words)));
}

/** `<dir>`, `[service]`, `<command...>`: that there are options is said by `orca help COMMAND`, and would only widen the list. */
function describeArgument(argument: Argument): string {
  const name = `${argument.name()}${argument.variadic ? "..." : ""}`;
  return argument.required ? `<${name}>` : `[${name}]`;
}

function addAgent(program: Command): void {
  program
    .command("agent")
    .description(
      "the daemon, as systemd runs it; SIGTERM ends it and leaves the containers, SIGHUP reads the host's files again",
    )
    .requiredOption("--config <file>", "this host's configuration", "/etc/orca/agent.toml")
    .addHelpText("after", "\nExample:\n  orca agent --config /etc/orca/agent.toml")
    .action(run(async (options: AgentCommandOptions) => (await import("../agent/agent-command.ts")).agent(options)));
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
    .option("--secrets <file>", "a file of secrets, as orca secrets makes it")
    .option("--secrets-plain", "lets that file be unencrypted")
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
    .action(
      run(async (directory: string, options: UpOptions) =>
        (await import("../agent/up-command.ts")).up(directory, options),
      ),
    );
}

function addPlan(program: Command): void {
  program
    .command("plan")
    .description("what would change against what runs; without a directory it asks the agent")
    .argument("[dir]", "a manifests repository, or its orca/ directory")
    .option("--against <revision>", "compares with this Git revision of the repository and not with what runs: for CI")
    .addOption(new Option("--format <form>", "how --against is printed").choices(["text", "json", "markdown"]))
    .option("--node <name>", "the node to compare; may be left out where there is only one")
    .option("--docker <socket>", "the engine's socket", "/var/run/docker.sock")
    .option("--policy <file>", "the host's policy; without one everything dangerous is denied")
    .option("--stand-in <file>", "TOML, image = local image, as orca up takes it")
    .option("--address <ip>", "where ports are published, as orca up takes it")
    .addOption(
      new Option("--ports <how>", "as orca up takes it").choices(["as-written", "shift"]).default("as-written"),
    )
    .option(
      "--state <dir>",
      "the state directory to compare with; that of the agent that runs the node here when left out",
    )
    .option("--socket <path>", "the agent's unix socket (also ORCA_SOCKET; default /run/orca/agent.sock)")
    .option("--json", "prints JSON")
    .addHelpText(
      "after",
      "\nExits with 0 for no change, 2 for changes, 1 for an error.\n\nExample:\n  orca plan ./platform --node vm-edge\n" +
        "  orca plan . --against origin/main --format markdown",
    )
    .action(
      run(async (directory: string | undefined, options: PlanOptions) =>
        (await import("../plan/plan-command.ts")).plan(directory, options),
      ),
    );
}

function addLint(program: Command): void {
  program
    .command("lint")
    .description("checks a whole manifests repository: schemas, references, cycles, budgets, ports, secrets, promises")
    .argument("<dir>", "a manifests repository, or its orca/ directory")
    .option("--node <name>", "shows only what concerns this node")
    .option("--policy <file>", "a host's policy.toml, which every service of its realm must keep to")
    .option("--docker <socket>", "an engine whose images are looked at, where it answers", "/var/run/docker.sock")
    .addOption(new Option("--format <form>", "how it is printed").choices(["text", "json", "github"]).default("text"))
    .addHelpText(
      "after",
      "\nExits with 1 when there are errors; warnings and infos do not fail." +
        "\n\nExample:\n  orca lint ./platform\n  orca lint . --format github --policy policy.toml",
    )
    .action(
      run(async (directory: string, options: LintOptions) =>
        (await import("../lint/lint-command.ts")).lint(directory, options),
      ),
    );
}

function addKeygen(program: Command): void {
  program
    .command("keygen")
    .description("prints this node's public key and backup key for fleet.toml; makes the keys where there are none")
    .option("--identity <file>", "the key, as gossip.identity_file names it", "/var/lib/orca/identity.key")
    .option("--backup-key <file>", "the key that opens this node's backups", "/var/lib/orca/backup.key")
    .option("--recovery <file>", "makes a recovery key in a new file in place of these, and prints what policies pin")
    .addHelpText(
      "after",
      "\nExample:\n  orca keygen\n  orca keygen --identity /var/lib/orca/identity.key\n  orca keygen --recovery ./recovery.key",
    )
    .action(run(async (options: KeygenOptions) => (await import("../fleet/keygen-command.ts")).keygen(options)));
}

function addFleet(program: Command): void {
  const fleet = program
    .command("fleet")
    .description("the whole fleet")
    .addHelpText("after", "\nExample:\n  orca fleet plan ./platform --env prod\n  orca fleet report");
  fleet
    .command("plan")
    .description(
      "how a realm comes up after a power loss: waves, critical path, and an estimate from measured start times",
    )
    .argument("<dir>", "a manifests repository, or its orca/ directory")
    .option("--env <realm>", "the realm; may be left out where there is only one")
    .option("--assume <duration>", "what a start takes that no running agent has measured", "5s")
    .option(
      "--socket <path>",
      "the agent whose measured times are taken (also ORCA_SOCKET); that of this machine where it runs",
    )
    .option("--json", "prints JSON")
    .addHelpText("after", "\nExample:\n  orca fleet plan ./platform --env prod")
    .action(
      run(async (directory: string, options: FleetPlanOptions) =>
        (await import("../fleet/fleet-plan.ts")).fleetPlan(directory, options),
      ),
    );
  fleet
    .command("report")
    .description(
      "how this node or its realm came up the last time: critical path, overhead, who waited for whom, who was missing",
    )
    .option("--socket <path>", "the agent's unix socket (also ORCA_SOCKET; default /run/orca/agent.sock)")
    .option("--json", "prints the last reports as JSON")
    .addHelpText(
      "after",
      "\nEnds with 0 when everything came up with all it needs, 3 when not or not yet,\n1 when there is no report." +
        "\n\nExample:\n  orca fleet report\n  orca fleet report --json | jq '.reports[0].path'",
    )
    .action(
      run(async (options: FleetReportOptions) => (await import("../fleet/fleet-report.ts")).fleetReport(options)),
    );
}

function addDoctor(program: Command): void {
  program
    .command("doctor")
    .description(
      "looks at this host: engine, containers, network, ssh, upgrades, kernel, disks, secrets, the agent; each finding with its fix; changes nothing",
    )
    .option("--config <file>", "this host's configuration", "/etc/orca/agent.toml")
    .option("--json", "prints JSON, with what is fine too")
    .addHelpText(
      "after",
      "\nExits with 0 when nothing failed and nothing is weak, 3 when something is,\n1 when it could not look." +
        "\n\nExample:\n  orca doctor\n  orca doctor --json --config /etc/orca/agent.toml",
    )
    .action(run(async (options: DoctorOptions) => (await import("../doctor/doctor-command.ts")).doctor(options)));
}

function addUpdate(program: Command): void {
  program
    .command("update")
    .description(
      "the versions of the agent on this host: in use, on trial, what has failed; the agent fetches new ones by itself",
    )
    .option("--retry", "what has failed or was refused here may be tried again; audited")
    .option("--socket <path>", "the agent that has the audit log (also ORCA_SOCKET; default /run/orca/agent.sock)")
    .option("--json", "prints JSON")
    .addHelpText("after", "\nExample:\n  orca update\n  orca update --retry")
    .action(run(async (options: UpdateOptions) => (await import("../agent/update-command.ts")).showUpdates(options)));
  // What orca-update.service and orca-judge.service run; not for people.
  const place = (command: Command): Command =>
    command
      .option("--root <dir>", "where versions are", "/opt/orca")
      .option("--run <dir>", "the run directory", "/run/orca")
      .option("--pace <factor>", "how fast time passes: for tests", "1");
  place(program.command("update-run", { hidden: true }))
    .option("--config <file>", "this host's configuration", "/etc/orca/agent.toml")
    .option("--units <dir>", "where units are installed")
    .action(run(async (options: UpdateRunOptions) => (await import("../agent/update-command.ts")).updateRun(options)));
  place(program.command("update-judge", { hidden: true })).action(
    run(async (options: UpdateRunOptions) => (await import("../agent/update-command.ts")).updateJudge(options)),
  );
}

function addDeadMan(program: Command): void {
  program
    .command("dead-man")
    .description(
      "looks once whether the agent lives and recovery points are held, and tells the webhook; a timer runs it",
    )
    .option("--config <file>", "this host's configuration", "/etc/orca/agent.toml")
    .option("--socket <path>", "the agent's unix socket (default /run/orca/agent.sock)")
    .addHelpText(
      "after",
      "\nExits with 0 when all is well, 3 when the agent or a recovery point is dead.\n\nExample:\n  orca dead-man --config /etc/orca/agent.toml",
    )
    .action(run(async (options: DeadManOptions) => (await import("../agent/dead-man-command.ts")).deadMan(options)));
}

function addUnit(program: Command): void {
  program
    .command("unit")
    .description(
      "lets the agent's systemd unit write where agent.toml and the repositories in force keep backups and state",
    )
    .option("--config <file>", "this host's configuration", "/etc/orca/agent.toml")
    .option("--write", "puts the drop-in in place; without it, it is printed")
    .option("--socket <path>", "the agent's unix socket (also ORCA_SOCKET; default /run/orca/agent.sock)")
    .addHelpText("after", "\nExample:\n  orca unit\n  orca unit --write")
    .action(run(async (options: UnitOptions) => (await import("../agent/unit-command.ts")).unit(options)));
}

function addSchema(program: Command): void {
  program
    .command("schema")
    .description("prints the JSON Schema of a file, for editors")
    .addArgument(
      new Argument("[file]", "which file").choices(["manifest", "fleet", "agent", "policy"]).default("manifest"),
    )
    .addHelpText("after", "\nExample:\n  orca schema > manifest.schema.json\n  orca schema fleet > fleet.schema.json")
    .action(run(async (file: SchemaName) => (await import("../lint/schema-command.ts")).printSchema(file)));
}
