// `orca cloud-init`: prints user-data that makes a fresh VM a node of the fleet, or judges such a text. Runs where the checkout is; it
// asks no cloud and no VM.

import { readFile } from "node:fs/promises";

import { type AgentConfig, agentConfigSchema } from "../../../shared/config/agent-config.ts";
import { policySchema } from "../../../shared/policy/policy.ts";
import { describeCount } from "../../../shared/text/count.ts";
import { parseToml } from "../../../shared/text/parse-toml.ts";
import { describeProblem } from "../../../shared/text/problem.ts";
import { readMessage } from "../../../shared/text/read-message.ts";
import { buildAgentFile, buildPolicyFile } from "../../setup/node-files.ts";
import { listCredentials } from "../../setup/credentials.ts";
import { findDetour } from "../../setup/source-way.ts";
import { buildUserData, checkUserData, type PinnedPackage, type Provider } from "../../setup/user-data.ts";
import { readRepository } from "../lint/lint-read.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { printFault, printPainted, printText } from "../frame/terminal.ts";
import { type FleetFile, readFleetFile } from "./read-fleet-file.ts";

/** The options of `orca cloud-init`. */
export interface CloudInitOptions {
  provider?: Provider;
  package?: string;
  sha256?: string;
  agent?: string;
  policy?: string;
  volume?: string;
  check?: string;
}

/**
 * Runs `orca cloud-init`.
 * @returns the exit code: 0; 1 where `--check` finds something; throws where something that it needs is missing or wrong
 */
export async function cloudInit(name: string, directory: string, options: CloudInitOptions): Promise<number> {
  if (options.check !== undefined) return check(options.check, await readText(options.check));
  const file = await readFleetFile(directory, name);
  expectPlainMount(file);
  const agentFile = await makeAgentFile(name, file, options.agent);
  const policyFile =
    options.policy === undefined
      ? buildPolicyFile(file.node, await listImages(directory, name))
      : await readText(options.policy);
  await expectValid(policySchema, policyFile, options.policy ?? "policy.toml");
  const config = await expectValid(agentConfigSchema, agentFile, options.agent ?? "agent.toml");
  const text = buildUserData({
    fleet: file.fleet,
    node: name,
    provider: options.provider,
    volume: checkVolume(options.volume),
    package: choosePackage(file, options),
    agentFile,
    policyFile,
    credentials: listCredentials(config).flatMap(({ path, optional }) => (optional ? [] : [path])),
  });
  const faults = checkUserData(text);
  // A size or a secret: both come from files that were named.
  if (faults.length > 0)
    throw new CommandError(faults.map(({ what, fix }) => `user-data of ${name}: ${what}: ${fix}`).join("\n"));
  warn(file, options);
  await warnOfDetours(file, config, directory);
  printPainted(text);
  return EXIT.ok;
}

/** Those of the node's services, and of what proves its backups. */
async function listImages(directory: string, name: string): Promise<string[]> {
  const { view } = await readRepository(directory);
  const own = view.services.filter(({ node }) => node === name);
  return own.flatMap(({ manifest }) => [
    manifest.image,
    ...manifest.backups.flatMap(({ verify }) => verify?.image ?? []),
  ]);
}

function check(path: string, text: string): number {
  const faults = checkUserData(text);
  for (const { line, what, fix } of faults) printText(`${path}:${line}: ${what}: ${fix}`);
  if (faults.length === 0)
    printText(`${path}: ${describeCount(Buffer.byteLength(text), "byte")}, every top-level key is known, no secret`);
  return faults.length === 0 ? EXIT.ok : EXIT.failed;
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new CommandError(`read ${path}: ${readMessage(error)}`);
  }
}

async function expectValid<T>(schema: Parameters<typeof parseToml<T>>[0], text: string, file: string): Promise<T> {
  const parsed = await parseToml<T>(schema, text, file);
  if (!parsed.ok) throw new CommandError(parsed.problems.map(describeProblem).join("\n"));
  return parsed.value;
}

async function makeAgentFile(name: string, { fleet, shown }: FleetFile, base: string | undefined): Promise<string> {
  const { readToml } = await import("../../../shared/text/read-toml.ts");
  const read = base === undefined ? undefined : readToml(await readText(base));
  if (read?.ok === false) throw new CommandError(`${base}:${read.fault.line}: ${read.fault.message}`);
  const text = buildAgentFile(fleet, name, read?.raw);
  if (text !== undefined) return text;
  const example = 'source = { url = "https://git.example.com/acme/platform.git" }';
  throw new CommandError(
    `nothing says where ${name} reads the manifests from: write [host] ${example} into ${shown}, or name another node's file with --agent`,
  );
}

function choosePackage(file: FleetFile, options: CloudInitOptions): PinnedPackage {
  const { package: url, sha256 } = options;
  if (url === undefined && sha256 === undefined) return choosePinned(file);
  if (url === undefined || sha256 === undefined) throw new CommandError("--package and --sha256 go together");
  if (!/^(https?|file):\/\/[A-Za-z0-9./:[\]{}~_+%@-]+\.deb$/.test(url))
    throw new CommandError(`--package ${url} is no URL of a package: write https://…/orca_1.4.2_amd64.deb`);
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw new CommandError("--sha256 has 64 hex digits, as sha256sum prints them");
  // One checksum is of one package: what another architecture would fetch is refused by it.
  return { url, sha256: /arm64/.test(url) ? { arm64: sha256 } : { amd64: sha256 } };
}

/** By what `[host]` says; else by the version that the fleet runs, which `agent` pins for its updates too. */
function choosePinned({ fleet, node, shown }: FleetFile): PinnedPackage {
  const named = fleet.host?.package;
  const pin = node.agent ?? fleet.agent;
  const sha256 = named?.sha256 ?? pin?.sha256;
  if (named === undefined || sha256 === undefined)
    throw new CommandError(
      `nothing says ${named === undefined ? "where the package is" : "which package it is"}: name it with --package URL --sha256 HEX (SHA256SUMS beside it has that), or in ${shown} as [host] package and [agent]`,
    );
  if (pin === undefined && named.url.includes("{version}"))
    throw new CommandError(`${shown}: {version} in host.package.url is that of [agent], which is not there`);
  return { url: named.url.replaceAll("{version}", pin?.version ?? ""), sha256 };
}

/** It goes into /etc/fstab and units, which read blanks and some signs in ways of their own. */
function expectPlainMount({ node, shown }: FleetFile): void {
  const { mount = "/" } = node.data ?? {};
  if (/^(\/[A-Za-z0-9._-]+)+$/.test(mount) || node.data === undefined) return;
  throw new CommandError(`${shown}: data.mount ${JSON.stringify(mount)} is no plain path: write "/mnt/data"`);
}

function checkVolume(volume: string | undefined): string | undefined {
  if (volume === undefined || /^\/dev\/[A-Za-z0-9/._:+*-]+$/.test(volume)) return volume;
  throw new CommandError(`--volume ${volume} is no disk: write /dev/disk/by-id/…`);
}

/** A cold start begins with these: what they pass through has to be up before it can be told to start. */
async function warnOfDetours({ fleet, shown }: FleetFile, config: AgentConfig, directory: string): Promise<void> {
  const { view } = await readRepository(directory);
  for (const url of [config.source.git?.url, config.secrets?.infisical?.url]) {
    const found = url === undefined ? undefined : findDetour(url, fleet, view.services);
    if (url === undefined || found === undefined) continue;
    const what =
      found.by === "port"
        ? `${url} passes through ${found.through}`
        : `${url} is a route of ${found.through}, so it passes through the fleet's own proxy`;
    printFault(
      `orca: ${what}, which a fleet that is down has not started yet: name the server's own port, and its private address in [host] names of ${shown}`,
    );
  }
}

/** What works, and not as somebody may think. */
function warn({ node, fleet }: FleetFile, { provider, volume }: CloudInitOptions): void {
  if (node.data !== undefined && provider === undefined && volume === undefined)
    printFault(
      `orca: no file system is made on ${node.data.mount}: name --provider or --volume for that; one that has the uuid is mounted`,
    );
  const { source, resolvers = [], names = {} } = fleet.host ?? {};
  const host = source === undefined ? undefined : new URL(source.url).hostname;
  if (host !== undefined && resolvers.length === 0 && !Object.hasOwn(names, host) && !/^[\d.:[\]]+$/.test(host))
    printFault(
      `orca: ${host} is resolved by whatever DNS the cloud gives: write its private address into [host] names, so that a cold start needs no other`,
    );
}
