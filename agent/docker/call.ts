// How a call to the engine fails: always as an EngineError with a verb phrase. Only docker/ uses it.

import { EngineError } from "./reader.ts";

/** What dockerode puts before the engine's own words, where it could not read them as JSON. */
const CLIENT_WORDS = /^\(HTTP code \d+\) [^-]* - /;

/** Runs one call; what fails comes out as an `EngineError` with a verb phrase. */
export async function call<T>(doing: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof EngineError) throw error;
    const { statusCode, json, message } = error as {
      statusCode?: number;
      json?: { message?: string };
      message?: string;
    };
    const said = describeConnection(error) ?? json?.message ?? message?.replace(CLIENT_WORDS, "") ?? String(error);
    throw new EngineError(`${doing}: ${said.trim()}`, statusCode, error);
  }
}

/** What keeps this process from the engine's socket, and what to do about it; undefined for any other failure. */
function describeConnection(error: unknown): string | undefined {
  const { syscall, code, address } = error as { syscall?: string; code?: string; address?: string };
  if (syscall !== "connect" || address === undefined) return undefined;
  if (code === "EACCES" || code === "EPERM")
    return `this user may not use ${address} (${code}): use sudo, or join the group docker (usermod -aG docker USER, then log in again)`;
  if (code === "ENOENT" || code === "ECONNREFUSED")
    return `no engine listens at ${address} (${code}): start it (systemctl start docker), or name another socket`;
  return undefined;
}

/** Like `call`, but these statuses are an answer and not a failure. */
export async function callUnless<T>(
  doing: string,
  statuses: readonly number[],
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await call(doing, work);
  } catch (error) {
    if (error instanceof EngineError && error.status !== undefined && statuses.includes(error.status)) return undefined;
    throw error;
  }
}
