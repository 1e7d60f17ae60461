// `orca drill isolation`: tries from this host what must not be possible, live: to read secrets of other realms, and to connect to
// what they publish; and what must be, the routes that its own manifests name. Writes what it found beside the agent's state.

import { writeFile } from "node:fs/promises";

import { makeDirectory } from "../../host/files/make-directory.ts";
import { statePath } from "../../host/state-layout.ts";
import { type AgentCalls, listIsolationTargets } from "../../desired/checks/isolation.ts";
import { readHostFile } from "../../host/files/host-files.ts";
import { openSecrets } from "../../secrets/open-secrets.ts";
import { type AgentConfig, agentConfigSchema } from "../../../shared/config/agent-config.ts";
import type { SecretProvider } from "../../../shared/secret/secret-provider.ts";
import { describeProvider } from "../agent/agent-command.ts";
import { type Probe, probeAll, probeAllowed, probeListener } from "./drill-probes.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { readRepository } from "../lint/lint-read.ts";
import { printDocument, printText } from "../frame/terminal.ts";
import { cutControlCharacters } from "../../report/text/public-text.ts";

/** The options of `orca drill isolation`. */
export interface DrillOptions {
  config: string;
  node?: string;
  json?: boolean;
}

/** Runs the drill; answers 0 when all is as it must be, 3 when something is reachable that must not be, 1 for the rest. */
export async function drillIsolation(directory: string, options: DrillOptions): Promise<number> {
  const config = await readHostFile(agentConfigSchema, options.config, "config");
  const node = options.node ?? config.node;
  const { view } = await readRepository(directory);
  const targets = listIsolationTargets(view, node, readCalls(config));
  if (targets === undefined)
    throw new CommandError(`fleet.toml says no realm of ${node}: add [nodes.${node}] with env`);
  const stateDir = config.state.dir;
  const place = { node, stateDir, program: process.argv[1] ?? "" };
  if (targets.secrets.length + targets.listeners.length === 0)
    throw new CommandError(
      `there is nothing to try: ${directory} knows no secret and no port of another realm than ${targets.realm}`,
    );
  const { provider } = await openSecrets(describeProvider(config.secrets), place);
  const secrets = await probeSecrets(provider, targets.secrets);
  provider?.close();
  const listeners = await probeAll(targets.listeners, probeListener);
  const probes = [...secrets, ...listeners, ...(await probeAll(targets.allowed, probeAllowed))];
  const atIso = new Date().toISOString();
  const record = { version: 1, at: atIso, node, realm: targets.realm, probes };
  await makeDirectory(stateDir, 0o700);
  const file = statePath(stateDir, "drill");
  await writeFile(file, `${JSON.stringify(record, undefined, 2)}\n`, { mode: 0o600 });
  print(record, file, options.json === true);
  if (probes.some(({ result }) => result === "broken" || result === "unguarded")) return EXIT.notHealthy;
  return probes.some(({ result }) => result === "unknown" || result === "missed") ? EXIT.failed : EXIT.ok;
}

/** What the agent with this configuration does on the network. */
function readCalls({ gossip, source, secrets }: AgentConfig): AgentCalls {
  const urls = [source.git?.url, secrets?.infisical?.url].filter((url) => url !== undefined);
  const servers = urls.map((text) => {
    const { hostname, port, protocol } = new URL(text);
    return {
      host: hostname.replaceAll(/[[\]]/g, ""),
      port: port === "" ? (protocol === "http:" ? 80 : 443) : Number(port),
    };
  });
  const listen = gossip?.listen;
  return { servers, gossipPort: listen === undefined ? undefined : Number(listen.slice(listen.lastIndexOf(":") + 1)) };
}

/** A provider that gives one of these gives stage what is production's. */
async function probeSecrets(provider: SecretProvider | undefined, paths: readonly string[]): Promise<Probe[]> {
  if (paths.length === 0) return [];
  if (provider === undefined)
    return [{ what: "secrets", result: "held", detail: "this host has no provider of secrets" }];
  const answers = await provider.read(paths);
  return paths.map((path): Probe => {
    const answer = answers.get(path);
    const what = `secret ${path}`;
    if (answer?.kind === "value")
      return { what, result: "broken", detail: `${provider.location} gives it to this host` };
    if (answer?.kind === "denied" || answer?.kind === "not-found")
      return { what, result: "held", detail: `${answer.kind}: ${answer.reason}` };
    return { what, result: "unknown", detail: answer?.reason ?? "no answer" };
  });
}

function print(record: { realm: string; node: string; probes: readonly Probe[] }, file: string, json: boolean): void {
  if (json) {
    printDocument(record);
    return;
  }
  const count = (result: Probe["result"]): number => record.probes.filter((probe) => probe.result === result).length;
  for (const { what, result, detail } of record.probes)
    if (result !== "held") printText(cutControlCharacters(`${result}: ${what}: ${detail}`));
  const counts = `${count("held")} held, ${count("broken")} broken, ${count("unguarded")} unguarded, ${count("unknown")} not tried`;
  const calls = `${count("allowed")} allowed and reachable, ${count("missed")} allowed and not reachable`;
  printText(`${record.node} (${record.realm}): ${counts}; ${calls}; ${file}`);
  if (count("unguarded") > 0)
    printText("unguarded: no firewall stands between; load host-config/firewall/ on both sides, see `orca doctor`");
}
