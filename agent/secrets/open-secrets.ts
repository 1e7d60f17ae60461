// From what the host's configuration says to a provider, a key and a sealed file. Called when an agent is built.

import { statePath } from "../host/state-layout.ts";
import type { SecretProvider } from "../../shared/secret/secret-provider.ts";
import { FileProvider } from "./providers/file-provider.ts";
import { type HostKey, readHostKey } from "./keeper/host-key.ts";
import type { InfisicalPlace } from "./providers/read-exchange.ts";
import { SealedFile } from "./keeper/seal.ts";
import type { SecretFilePlace } from "./providers/secret-store-file.ts";

/** Where secrets come from, as configured. */
export interface SecretsConfig {
  provider:
    | { kind: "none" }
    | { kind: "file"; place: SecretFilePlace }
    | { kind: "infisical"; place: InfisicalPlace; pollMs: number };
  keyFile: string | undefined;
  maxStaleMs: number;
}

/** What an agent is given. */
export interface AgentSecrets {
  provider: SecretProvider | undefined;
  sealed: SealedFile | undefined;
  key: HostKey;
  maxStaleMs: number;
}

/** How old a last known value may be unless the configuration says otherwise. */
export const DEFAULT_MAX_STALE_MS = 7 * 86_400_000;

/** Where this agent runs. */
interface SecretsHome {
  node: string;
  stateDir: string;
  /** The agent's own entry, which the child is started from. */
  program: string;
}

/** Opens what is configured. Throws where the host's key cannot be read. */
export async function openSecrets(
  config: SecretsConfig,
  { node, stateDir, program }: SecretsHome,
): Promise<AgentSecrets> {
  const key = readHostKey(config.keyFile, stateDir, process.env["CREDENTIALS_DIRECTORY"]);
  const provider = await openProvider(config.provider, program);
  const { maxStaleMs } = config;
  if (provider === undefined) return { provider, sealed: undefined, key, maxStaleMs };
  const place = { node, provider: `${provider.kind}:${provider.location}` };
  return { provider, sealed: new SealedFile(statePath(stateDir, "sealed"), key, place), key, maxStaleMs };
}

async function openProvider(config: SecretsConfig["provider"], program: string): Promise<SecretProvider | undefined> {
  if (config.kind === "none") return undefined;
  if (config.kind === "file") return new FileProvider(config.place, program);
  const { InfisicalProvider } = await import("./providers/infisical-provider.ts");
  return new InfisicalProvider(config, program);
}
