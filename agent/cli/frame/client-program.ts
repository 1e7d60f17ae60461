// The commands that talk to a running agent, in words. An action loads its command only when it is asked for.

import type { Command } from "commander";

import { addKeeping, addRestore } from "../backup/restore-program.ts";
import type { BackupListOptions, BackupVerifyOptions } from "../backup/backup-command.ts";
import type { ClientOptions } from "./client.ts";
import { run } from "./run-action.ts";

const SOCKET = ["--socket <path>", "the agent's unix socket (also ORCA_SOCKET; default /run/orca/agent.sock)"] as const;

/** Adds them all. */
export function addClientCommands(program: Command): void {
  addReading(program);
  addContainers(program);
  addActs(program);
  addNodeActs(program);
  addBackups(program);
  addPrune(program);
  addSlo(program);
  addAudit(program);
  addDebug(program);
}

function addReading(program: Command): void {
  program
    .command("status")
    .description("shows every service: state, health, restarts, memory, revision, what it waits for")
    .option("--json", "the whole status as JSON")
    .option("--watch", "shows it again whenever it changes, until Ctrl-C")
    .option("--fleet", "every node of the realm, as this one sees them")
    .option(...SOCKET)
    .addHelpText(
      "after",
      "\nEnds with 0 when all is healthy and no change is held, 3 when not,\n4 when the agent cannot be reached." +
        "\n\nExample:\n  orca status\n  orca status --json | jq '.services[] | select(.state != \"healthy\") | .name'",
    )
    .action(run(async (options: object) => (await import("../services/status-command.ts")).showStatus(options)));
  program
    .command("why")
    .description("says why a service is in its state: cause, commit, what it waits for, what was done, how it ended")
    .argument("<service>")
    .option("--json", "as JSON")
    .option(...SOCKET)
    .addHelpText("after", "\nExample:\n  orca why keycloak\n  curl localhost:7070/why/keycloak")
    .action(
      run(async (service: string, options: object) =>
        (await import("../services/why-command.ts")).showWhy(service, options),
      ),
    );
}

function addContainers(program: Command): void {
  program
    .command("logs")
    .description("shows what a service prints")
    .argument("<service>")
    .option("-f, --follow", "goes on until its container ends, or Ctrl-C")
    .option("-n, --tail <lines>", "the last so many lines", "200")
    .option(...SOCKET)
    .addHelpText("after", "\nExample:\n  orca logs keycloak\n  orca logs keycloak -f --tail 20")
    .action(
      run(async (service: string, options: object) =>
        (await import("../services/logs-command.ts")).showLogs(service, options),
      ),
    );
  program
    .command("exec")
    .description("runs a command inside a service's container; its exit code is the command's, and it is audited")
    .argument("<service>")
    .argument("<command...>", "the command and its arguments, after --")
    .option("-i, --interactive", "hands on standard input")
    .option("-t, --tty", "gives it a terminal")
    .option(...SOCKET)
    .addHelpText(
      "after",
      "\nExample:\n  orca exec -it postgres -- psql -U app\n  orca exec postgres -- pg_dump app > app.sql",
    )
    .action(
      run(async (service: string, command: string[], options: object) =>
        (await import("../services/exec-command.ts")).execIn(service, command, options),
      ),
    );
}

function addActs(program: Command): void {
  program
    .command("restart")
    .description("restarts a service now, without waiting for its backoff; audited")
    .argument("<service>")
    .option(...SOCKET)
    .addHelpText("after", "\nExample:\n  orca restart keycloak")
    .action(
      run(async (service: string, options: object) =>
        (await import("../services/act-commands.ts")).restart(service, options),
      ),
    );
  program
    .command("stop")
    .description("stops a service, until orca start, orca resume or a new manifest; audited")
    .argument("<service>")
    .option(...SOCKET)
    .addHelpText("after", "\nExample:\n  orca stop keycloak")
    .action(
      run(async (service: string, options: object) =>
        (await import("../services/act-commands.ts")).stop(service, options),
      ),
    );
  program
    .command("start")
    .description("starts a service now, without waiting for its backoff; audited")
    .argument("<service>")
    .option("--ignore-requires", "also without what it requires; status says so")
    .option("--empty", "without the data of the node it moved from: it starts with what is here")
    .option(...SOCKET)
    .addHelpText("after", "\nExample:\n  orca start keycloak --ignore-requires")
    .action(
      run(async (service: string, options: object) =>
        (await import("../services/act-commands.ts")).start(service, options),
      ),
    );
  program
    .command("rollback")
    .description("goes back to an earlier good release, until orca resume or a new manifest; audited")
    .argument("<service>")
    .option("--to <revision>", "the newest good release of this revision; the one before when left out")
    .option(...SOCKET)
    .addHelpText("after", "\nExample:\n  orca rollback keycloak\n  orca rollback keycloak --to 4f1c2d9")
    .action(
      run(async (service: string, options: object) =>
        (await import("../services/act-commands.ts")).rollback(service, options),
      ),
    );
}

function addNodeActs(program: Command): void {
  for (const kind of ["pause", "resume"] as const) {
    program
      .command(kind)
      .description(
        kind === "pause"
          ? "changes nothing on a service, or on the whole node, until orca resume; what runs goes on; audited"
          : "ends the pause, the stop or the rollback that a person asked for, of a service or of the whole node; audited",
      )
      .argument("[service]", "the whole node when left out")
      .option(...SOCKET)
      .addHelpText("after", `\nExample:\n  orca ${kind}\n  orca ${kind} keycloak`)
      .action(
        run(async (service: string | undefined, options: object) =>
          (await import("../services/act-commands.ts")).pauseOrResume(kind, service, options),
        ),
      );
  }
  program
    .command("sync")
    .description("reads the source again now; audited")
    .option("--retry <service>", "tries a service again that has failed, is held back or waits for its retry")
    .option("--allow-removal <count>", "lets the newest revision remove up to so many services")
    .option(...SOCKET)
    .addHelpText("after", "\nExample:\n  orca sync\n  orca sync --retry keycloak\n  orca sync --allow-removal 3")
    .action(run(async (options: object) => (await import("../services/act-commands.ts")).sync(options)));
}

function addDebug(program: Command): void {
  program
    .command("debug")
    .description("what the agent thought, for whoever looks into its code")
    .addHelpText("after", "\nExample:\n  orca debug world > turns.json")
    .command("world")
    .description(
      "prints the last turns that planned something as JSON: what was seen, what was wanted, what was planned",
    )
    .option(...SOCKET)
    .addHelpText("after", "\nExample:\n  orca debug world > turns.json")
    .action(run(async (options: object) => (await import("../services/debug-command.ts")).showWorlds(options)));
}

function addAudit(program: Command): void {
  const place = (command: Command): Command =>
    command
      .option("--state <dir>", "the agent's state directory; when left out, that of the agent that runs here")
      .option("--file <path>", "an audit log itself, such as a copy")
      .option(...SOCKET);
  const audit = place(program.command("audit"))
    .description("shows the last lines of the audit log: who changed what, when and why")
    .option("-n, --tail <lines>", "the last so many lines", "50")
    .addHelpText("after", "\nExample:\n  orca audit --tail 20\n  orca audit verify")
    .action(run(async (options: object) => (await import("../services/audit-command.ts")).showAudit(options)));
  place(audit.command("verify"))
    .description("walks the chain of the audit log: ends with 1 at the first line that was edited, removed or inserted")
    .option("--head <hash>", "a head known from elsewhere, which must be on the chain")
    .option("--from <dir>", "the copies in a repository, its folder NODE/_log, in place of a log")
    .option("--identity <file>", "of --from: the age key that opens them, as age-keygen writes it")
    .addHelpText(
      "after",
      "\nExample:\n  orca audit verify\n  orca audit verify --file ./audit.jsonl --head 3f5a…\n  orca audit verify --from /mnt/nas/backups/vm-data/_log",
    )
    .action(
      run(async (_options: object, command: Command) =>
        (await import("../services/audit-command.ts")).verifyAudit(command.optsWithGlobals()),
      ),
    );
}

function addBackups(program: Command): void {
  const backup = program
    .command("backup")
    .description("the backups of this node: makes one now, lists what there is")
    .addHelpText("after", "\nExample:\n  orca backup run postgres-keycloak\n  orca backup list");
  backup
    .command("run")
    .description("makes a backup now and waits for its end; audited")
    .argument("<service>")
    .argument("[name]", "the name of its [[backups]] table; may be left out where there is only one")
    .option(...SOCKET)
    .addHelpText(
      "after",
      "\nEnds with 0 when it was made, 1 when not.\n\nExample:\n  orca backup run postgres-keycloak db",
    )
    .action(
      run(async (service: string, name: string | undefined, options: ClientOptions) =>
        (await import("../backup/backup-command.ts")).runBackup(service, name, options),
      ),
    );
  backup
    .command("verify")
    .description(
      "restores the newest backup into a throw-away server without any network, and says what came of it; audited",
    )
    .argument("<service>")
    .argument("[name]", "the name of its [[backups]] table; may be left out where there is only one")
    .option("--backup <name>", "this one in place of the newest; one that was set aside counts again where it is good")
    .option(...SOCKET)
    .addHelpText(
      "after",
      "\nEnds with 0 when it is good, 1 when it is bad, 3 when it cannot be judged.\n\nExample:\n  orca backup verify postgres-keycloak" +
        "\n  orca backup verify postgres-keycloak --backup pg_dump_20261120_0217",
    )
    .action(
      run(async (service: string, name: string | undefined, options: BackupVerifyOptions) =>
        (await import("../backup/backup-command.ts")).verifyBackup(service, name, options),
      ),
    );
  backup
    .command("list")
    .description(
      "every backup, its age and size, when the next one is made, and how the newest is restored without Orca",
    )
    .argument("[service]", "all services when left out")
    .option(...SOCKET)
    .option("--json", "prints JSON")
    .addHelpText(
      "after",
      "\nEnds with 0 when each store has a backup, 3 when one has none.\n\nExample:\n  orca backup list\n  orca backup list postgres-keycloak --json",
    )
    .action(
      run(async (service: string | undefined, options: BackupListOptions) =>
        (await import("../backup/backup-command.ts")).listBackups(service, options),
      ),
    );
  addRestore(backup, SOCKET);
  addKeeping(backup, SOCKET);
}

function addPrune(program: Command): void {
  program
    .command("prune")
    .description("removes images, stopped containers and build cache that nobody needs, and never a volume; audited")
    .option("--dry-run", "says what would go and why the rest stays, and removes nothing")
    .option("--early", "also what nobody has needed for an hour, in place of a week, as when the disk is full")
    .option("--json", "prints JSON")
    .option(...SOCKET)
    .addHelpText(
      "after",
      "\nEnds with 0, or 3 when the engine has not let something go.\n\nExample:\n  orca prune --dry-run\n  orca prune --early",
    )
    .action(run(async (options: object) => (await import("../services/prune-command.ts")).prune(options)));
}

function addSlo(program: Command): void {
  program
    .command("slo")
    .description("what manifests promise of backups (slo.rpo), for each store and repository, and whether it is held")
    .option("--json", "prints JSON")
    .option(...SOCKET)
    .addHelpText(
      "after",
      "\nEnds with 0 while every promise is held, 3 when one is broken.\n\nExample:\n  orca slo\n  orca slo --json | jq '.rpo[] | select(.state == \"broken\")'",
    )
    .action(run(async (options: object) => (await import("../services/slo-command.ts")).showSlo(options)));
}
