// The commands of `orca backup` that bring data back and keep it: their words, options and examples. Each loads its work when it is run.

import type { Command } from "commander";

import { run } from "../frame/run-action.ts";
import type { PinOptions, RetentionOptions } from "./keep-command.ts";
import type { RestoreOptions } from "./restore-command.ts";

/** Adds them. */
export function addRestore(backup: Command, socket: readonly [flags: string, description: string]): void {
  backup
    .command("restore")
    .description(
      "restores a backup into a new volume beside the old one, and gives it to the service; the old one stays; audited",
    )
    .argument("[service]", "may be left out with --status")
    .option("--store <name>", "the name of its [[backups]] table; may be left out where there is only one")
    .option("--backup <name>", "this backup, also where it is not verified; the newest verified one when left out")
    .option("--at <time>", "the newest one that is not after this time (UTC)")
    .option("--dry-run", "says every step with names and sizes, and does nothing")
    .option("--into <place>", "of a bucket: s3://BUCKET/PREFIX or an empty directory")
    .option("--use <volume>", "no restore: the service gets its data from this volume of it from now on")
    .option("--unproven", "with --use: also a volume of which nothing says that it was filled to its end")
    .option("--status", "no restore: shows the one that goes on, and those before")
    .option(...socket)
    .option("--json", "prints JSON, with --dry-run or --status")
    .addHelpText(
      "after",
      "\nEnds with 0 when the service is healthy with the data, 1 when not: it has the\nold data then." +
        "\n\nExample:\n  orca backup restore postgres-keycloak --dry-run\n  orca backup restore postgres-keycloak" +
        "\n  orca backup restore postgres-keycloak --at 2026-11-20T02:30Z\n  orca backup restore minio --into s3://uploads-restored\n  orca backup restore postgres-keycloak --use keycloak-pgdata",
    )
    .action(
      run(async (service: string | undefined, options: RestoreOptions) =>
        (await import("./restore-command.ts")).restoreBackup(service, options),
      ),
    );
}

/** Adds the commands about how long backups stay. */
export function addKeeping(backup: Command, socket: readonly [flags: string, description: string]): void {
  backup
    .command("pin")
    .description("keeps a backup until a day, whatever its retention says; audited")
    .argument("<backup>", "its own name, as orca backup list prints it")
    .option("--until <day>", "until then (UTC)")
    .option("--for <duration>", "for so long from now, such as 90d")
    .option("--service <name>", "needed where backups of several services have that name")
    .option(...socket)
    .addHelpText("after", "\nExample:\n  orca backup pin pg_dump_20261120_0217 --for 90d")
    .action(
      run(async (name: string, options: PinOptions) => (await import("./keep-command.ts")).pinBackup(name, options)),
    );
  backup
    .command("unpin")
    .description("takes a pin away; audited")
    .argument("<backup>")
    .option("--service <name>", "needed where backups of several services have that name")
    .option(...socket)
    .addHelpText("after", "\nExample:\n  orca backup unpin pg_dump_20261120_0217")
    .action(
      run(async (name: string, options: PinOptions) => (await import("./keep-command.ts")).unpinBackup(name, options)),
    );
  backup
    .command("retention")
    .description("what the retention of a service's backups keeps")
    .argument("<service>")
    .option("--simulate", "plays a year of its schedule")
    .option("--store <name>", "the name of its [[backups]] table; may be left out where there is only one")
    .option(...socket)
    .option("--json", "prints JSON")
    .addHelpText("after", "\nExample:\n  orca backup retention --simulate postgres-keycloak")
    .action(
      run(async (service: string, options: RetentionOptions) =>
        (await import("./keep-command.ts")).showRetention(service, options),
      ),
    );
}
