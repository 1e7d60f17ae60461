// `orca up`: the agent in the foreground on a local directory, without any config file.

import { isIP } from "node:net";
import { resolve } from "node:path";

import { statePath } from "../../host/state-layout.ts";
import type { DaemonConfig } from "../../daemon/daemon-config.ts";
import { FRONT_IMAGE } from "../../../shared/state/front.ts";
import { DEFAULT_MAX_STALE_MS, type SecretsConfig } from "../../secrets/open-secrets.ts";
import { nameIdentityFile } from "../../secrets/providers/secret-store-file.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import { parseDuration } from "../../../shared/text/duration.ts";
import { chooseNode } from "../frame/choose-node.ts";
import { choosePlaces } from "./up-directories.ts";
import { takeDown } from "./down-command.ts";
import { runToEnd } from "./run-to-end.ts";
import { UpProgress } from "./up-progress.ts";
import { CommandError } from "../frame/exit-codes.ts";

/** The options of `orca up` as commander hands them over. */
export interface UpOptions {
  node?: string;
  down?: boolean;
  state?: string;
  listen: string[];
  docker: string;
  policy?: string;
  secrets?: string;
  secretsPlain?: boolean;
  standIn?: string;
  address: string;
  ports: "as-written" | "shift";
  peers: "assume" | "wait";
  once?: boolean;
  timeout: string;
}

function describeSecretFile({ secrets, secretsPlain = false }: UpOptions): SecretsConfig {
  const common = { keyFile: undefined, maxStaleMs: DEFAULT_MAX_STALE_MS };
  if (secrets === undefined) return { ...common, provider: { kind: "none" } };
  const file = resolve(secrets);
  const place = { file, identityFile: nameIdentityFile(file), plain: secretsPlain };
  return { ...common, provider: { kind: "file", place } };
}

/** Runs `orca up`; answers the exit code. */
export async function up(directory: string, options: UpOptions): Promise<number> {
  const node = await chooseNode(directory, options.node);
  const places = choosePlaces(node, options.state);
  if (options.down === true) return takeDown({ ...places, node, socket: options.docker });
  if (isIP(options.address) === 0) throw new CommandError(`--address ${options.address} is not an IP address`);
  const timeoutMs = parseDuration(options.timeout);
  if (timeoutMs === undefined) throw new CommandError(`--timeout ${options.timeout} is not a duration: write 10m`);
  const config: DaemonConfig = {
    node,
    command: "orca up",
    source: { kind: "directory", dir: resolve(directory) },
    ...places,
    commitStatus: undefined,
    webhook: undefined,
    file: undefined,
    docker: { socket: options.docker, authFile: undefined, frontImage: FRONT_IMAGE, cgroupParent: undefined },
    listen: options.listen,
    socketPath: statePath(places.stateDir, "socket"),
    backupDir: statePath(places.stateDir, "backups"),
    policyFile: options.policy,
    standInFile: options.standIn,
    address: options.address,
    ports: options.ports,
    budget: "warn",
    secrets: describeSecretFile(options),
    hostNotes: [],
    peers: options.peers === "assume" ? { kind: "assume" } : { kind: "known", services: {} },
    gossip: undefined,
    hasUpdates: false,
    alerts: undefined,
    output: { kind: "progress", watch: watchProgress },
    once: options.once === true ? { timeoutMs } : undefined,
  };
  return runToEnd(config);
}

/** What a person at the terminal hears of the agent. */
function watchProgress(listTroubles: () => readonly string[]): (event: AgentEvent) => void {
  const progress = new UpProgress(process.stdout, listTroubles);
  return (event) => progress.hear(event);
}
