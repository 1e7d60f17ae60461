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
    const said = json?.message ?? message?.replace(CLIENT_WORDS, "") ?? String(error);
    throw new EngineError(`${doing}: ${said.trim()}`, statusCode, error);
  }
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
