// The words of the commands that set VMs up: `orca cloud-init`, `orca enroll`, `orca firewall`. An action loads its command only when it is asked for.

import { type Command, Option } from "commander";

import { run } from "../frame/run-action.ts";
import type { AcceptOptions } from "./accept-command.ts";
import type { CloudInitOptions } from "./cloud-init-command.ts";
import type { EnrollOptions } from "./enroll-command.ts";
import type { ApplyOptions } from "./firewall-command.ts";

/** Adds them all. */
export function addSetup(program: Command): void {
  addCloudInit(program);
  addEnroll(program);
  addFirewall(program);
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

function addEnroll(program: Command): void {
  program
    .command("enroll")
    .description("brings a node its credentials, through ssh, and makes its keys a change of fleet.toml")
    .argument("<node>", "as fleet.toml calls it")
    .argument("[dir]", "a manifests repository, or its orca/ directory", ".")
    .option(
      "--give <role=file>",
      "git-token=FILE and so on, several times; - is stdin; the node says what it waits for",
      (gift: string, others: string[]) => [...others, gift],
      [],
    )
    .option(
      "--host-key <fingerprint>",
      "SHA256:… as the VM's console shows it; else your known_hosts has to know the VM",
    )
    .option("--to <host>", "[USER@]HOST; root at the address in fleet.toml when left out, sudo for another USER")
    .option("--port <number>", "of its sshd", "22")
    .option("--identity <file>", "your private SSH key, where ssh would not find it")
    .option("--write", "changes fleet.toml itself, in place of printing the change")
    .addHelpText(
      "after",
      "\nEnds with 0, and with 3 while the node waits for more, 1 when it failed.\n\nExample:" +
        "\n  orca enroll vm-edge --host-key SHA256:… --give git-token=./token | git apply",
    )
    .action(
      run(async (node: string, directory: string, options: EnrollOptions) =>
        (await import("./enroll-command.ts")).enroll(node, directory, options),
      ),
    );
  // What ssh runs on the node; not for people.
  program
    .command("accept-credentials", { hidden: true })
    .option("--config <file>", "this host's configuration", "/etc/orca/agent.toml")
    .action(run(async (options: AcceptOptions) => (await import("./accept-command.ts")).acceptCredentials(options)));
}

function addFirewall(program: Command): void {
  const firewall = program
    .command("firewall")
    .description("what may come in to a VM: prints it from fleet.toml, and tries it on that VM")
    .addHelpText(
      "after",
      "\nExample:\n  orca firewall render vm-edge > vm-edge.nft\n  orca firewall apply vm-edge.nft",
    );
  firewall
    .command("render")
    .description("prints a VM's firewall as nftables reads it; changes nothing")
    .argument("<node>", "as fleet.toml calls it")
    .argument("[dir]", "a manifests repository, or its orca/ directory", ".")
    .option("--ssh-port <number>", "where that VM's sshd listens", "22")
    .addHelpText("after", "\nExample:\n  orca firewall render vm-edge > vm-edge.nft")
    .action(
      run(async (node: string, directory: string, options: { sshPort: string }) =>
        (await import("./firewall-command.ts")).renderFirewall(node, directory, options),
      ),
    );
  firewall
    .command("apply")
    .description("loads that file on this VM, and undoes it unless it is confirmed")
    .argument("<file>")
    .option("--within <duration>", "how long it waits to be confirmed", "60s")
    .addHelpText("after", "\nExample:\n  orca firewall apply vm-edge.nft")
    .action(
      run(async (file: string, options: ApplyOptions) =>
        (await import("./firewall-command.ts")).applyFirewall(file, options),
      ),
    );
  firewall
    .command("confirm")
    .description("keeps it, also over a boot; only from an SSH connection that began since, or on the console")
    .addHelpText("after", "\nExample:\n  orca firewall confirm")
    .action(run(async () => (await import("./firewall-command.ts")).confirmFirewall()));
  firewall
    .command("undo")
    .description("brings the firewall of before back, at once")
    .addHelpText("after", "\nExample:\n  orca firewall undo")
    .action(run(async () => (await import("./firewall-command.ts")).undoFirewall()));
}
