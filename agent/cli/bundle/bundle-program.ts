// The commands of the offline bundle, in words. An action loads its command only when it is asked for.

import type { Command } from "commander";

import { run } from "../frame/run-action.ts";
import type { BundleCreateOptions } from "./create-command.ts";
import type { BundleExportOptions } from "./export-command.ts";
import type { BundleInstallOptions } from "./install-command.ts";
import type { BundleVerifyOptions } from "./verify-command.ts";

/** Adds them. */
export function addBundle(program: Command): void {
  const bundle = program
    .command("bundle")
    .description("brings a node what it needs where there is no network")
    .addHelpText(
      "after",
      "\nExample:\n  orca bundle create bundle.toml --out ./usb/offline-7 --key ~/.ssh/bundle\n" +
        "  orca bundle verify /media/usb/offline-7\n  orca bundle install /media/usb/offline-7",
    );
  addCreate(bundle);
  addVerify(bundle);
  addInstall(bundle);
  addExport(bundle);
}

function addCreate(bundle: Command): void {
  bundle
    .command("create")
    .description(
      "makes a signed bundle: manifests at a commit, their images, files for volumes, and what else the TOML file names",
    )
    .argument("<spec>", "a TOML file that says what goes in; see orca help bundle")
    .requiredOption("--out <dir>", "a new directory")
    .requiredOption("--key <file>", "the private SSH key that signs it, or the .pub of one that ssh-agent holds")
    .option("--commit <revision>", "of the repository; HEAD when left out")
    .option("--docker <socket>", "the engine whose images are taken", "/var/run/docker.sock")
    .addHelpText("after", "\nExample:\n  orca bundle create bundle.toml --out ./usb/offline-7 --key ~/.ssh/bundle")
    .action(
      run(async (spec: string, options: BundleCreateOptions) =>
        (await import("./create-command.ts")).createBundleCommand(spec, options),
      ),
    );
}

function addVerify(bundle: Command): void {
  bundle
    .command("verify")
    .description("checks a bundle's signature by the host's policy, and every byte; the result is in the audit log")
    .argument("<dir>", "the bundle")
    .option("--config <file>", "this host's configuration, which names policy and state", "/etc/orca/agent.toml")
    .option("--policy <file>", "only checks, by this policy: for a machine that is no node; nothing is recorded")
    .addHelpText(
      "after",
      "\nEnds with 0 when it is whole and by a known key, 1 when not.\n\nExample:\n  orca bundle verify /media/usb/offline-7",
    )
    .action(
      run(async (directory: string, options: BundleVerifyOptions) =>
        (await import("./verify-command.ts")).verifyBundleCommand(directory, options),
      ),
    );
}

function addInstall(bundle: Command): void {
  bundle
    .command("install")
    .description(
      "verifies a bundle, loads its images, puts its files into volumes and its manifests where the agent reads them",
    )
    .argument("<dir>", "the bundle")
    .option("--config <file>", "this host's configuration", "/etc/orca/agent.toml")
    .addHelpText(
      "after",
      "\nNo network is used. What fails is taken back, in reverse.\n\nEnds with 0 when it is installed, 1 when not.\n\nExample:\n  orca bundle install /media/usb/offline-7",
    )
    .action(
      run(async (directory: string, options: BundleInstallOptions) =>
        (await import("./install-command.ts")).installBundleCommand(directory, options),
      ),
    );
}

function addExport(bundle: Command): void {
  bundle
    .command("export")
    .description("copies this node's audit log and backups, with a manifest of sums, to be carried out")
    .requiredOption("--out <dir>", "a new directory")
    .option("--key <file>", "a private SSH key that signs it")
    .option("--audit-only", "leaves the backups out")
    .option("--config <file>", "this host's configuration", "/etc/orca/agent.toml")
    .addHelpText("after", "\nExample:\n  orca bundle export --out /media/usb/vm-edge-2026-12")
    .action(
      run(async (options: BundleExportOptions) => (await import("./export-command.ts")).exportBundleCommand(options)),
    );
}
