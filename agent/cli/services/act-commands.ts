// `orca restart`, `pause`, `resume` and `sync`: break-glass acts over the agent's socket. The agent audits each under the
// caller's uid before it answers.

import { AgentClient, type Answer, type ClientOptions, expectJson } from "../frame/client.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { printText } from "../frame/terminal.ts";

/** The options of `orca sync`. */
export interface SyncOptions extends ClientOptions {
  retry?: string;
  allowRemoval?: string;
}

/** Restarts one service. */
export async function restart(service: string, options: ClientOptions): Promise<number> {
  return tell(await new AgentClient(options).act(`/v1/services/${encodeURIComponent(service)}/restart`));
}

/** Pauses or resumes one service, or the node. */
export async function pauseOrResume(
  kind: "pause" | "resume",
  service: string | undefined,
  options: ClientOptions,
): Promise<number> {
  const path = service === undefined ? `/v1/${kind}` : `/v1/services/${encodeURIComponent(service)}/${kind}`;
  return tell(await new AgentClient(options).act(path));
}

/** Stops one service, until it is started, resumed or its manifest changes. */
export async function stop(service: string, options: ClientOptions): Promise<number> {
  return tell(await new AgentClient(options).act(`/v1/services/${encodeURIComponent(service)}/stop`));
}

/** Starts one service now, without its backoff and, where asked, without what it requires. */
export async function start(
  service: string,
  options: ClientOptions & { ignoreRequires?: boolean; empty?: boolean },
): Promise<number> {
  const body = {
    ...(options.ignoreRequires === true ? { ignoreRequires: true } : {}),
    ...(options.empty === true ? { empty: true } : {}),
  };
  return tell(await new AgentClient(options).act(`/v1/services/${encodeURIComponent(service)}/start`, body));
}

/** Goes back to an earlier good release. */
export async function rollback(service: string, options: ClientOptions & { to?: string }): Promise<number> {
  const body = options.to === undefined ? {} : { to: options.to };
  return tell(await new AgentClient(options).act(`/v1/services/${encodeURIComponent(service)}/rollback`, body));
}

/** Reads the source again. */
export async function sync(options: SyncOptions): Promise<number> {
  const count = options.allowRemoval === undefined ? undefined : Number(options.allowRemoval);
  if (count !== undefined && !(Number.isSafeInteger(count) && count > 0))
    throw new CommandError(`--allow-removal ${options.allowRemoval} is not a number of services`);
  const body = {
    ...(options.retry === undefined ? {} : { retry: options.retry }),
    ...(count === undefined ? {} : { allowRemoval: count }),
  };
  return tell(await new AgentClient(options).act("/v1/sync", body));
}

function tell(answer: Answer): number {
  const { message, audit } = expectJson<{ message: string; audit: { seq: number } }>(answer);
  printText(`${message} (audit line ${audit.seq})`);
  return EXIT.ok;
}
