// The words of the commands that set VMs up: `orca cloud-init`. An action loads its command only when it is asked for.

import { type Command, Option } from "commander";

import { run } from "../frame/run-action.ts";
import type { CloudInitOptions } from "./cloud-init-command.ts";

/** Adds them all. */
export function addSetup(program: Command): void {
  addCloudInit(program);
}

function addCloudInit(program: Command): void {
  program
    .command("cloud-init")
    .description(
      "prints user-data that makes a fresh VM this node: package by its checksum, host files, volume; no secret",
    )
    .argument("<node>", "as fleet.toml calls it")
    .argument("[dir]", "a manifests repository, or its orca/ directory", ".")
    .addOption(
      new Option("--provider <cloud>", "how an attached volume is found").choices([
        "hetzner",
        "openstack",
        "digitalocean",
      ]),
    )
    .option("--volume <disk>", "the disk that gets a file system where it has none, such as /dev/disk/by-id/…")
    .option("--package <url>", "where Orca's package is fetched from; else [host] package of fleet.toml")
    .option("--sha256 <hex>", "the package's checksum, as SHA256SUMS has it")
    .option("--agent <file>", "an agent.toml to begin with; its name and address become this node's")
    .option("--policy <file>", "the host's policy; else a strict one with the node's realm")
    .option("--check <file>", "judges a text that you have changed, in place of printing one")
    .addHelpText(
      "after",
      "\nEnds with 0, and with 1 where --check finds something or something is missing.\n\nExample:" +
        "\n  orca cloud-init vm-edge --provider hetzner > vm-edge.yaml\n  orca cloud-init vm-edge --check vm-edge.yaml",
    )
    .action(
      run(async (node: string, directory: string, options: CloudInitOptions) =>
        (await import("./cloud-init-command.ts")).cloudInit(node, directory, options),
      ),
    );
}
