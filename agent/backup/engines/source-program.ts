// Programs of an image that read a store: what they print when that is short, which of several an image has, and the refusal of a server
// that a person has to answer.

import type { DumpEnd, RunningDump } from "../dump-port.ts";
import type { RunHow, StoreSource } from "./store-engine.ts";

/** A list of names is short; more is not one. */
const LARGEST_TEXT_BYTES = 1024 * 1024;

/** The server is there and lets nobody in who asks so. */
export class AccessRefused extends Error {
  /** What is to be run there or written into its configuration; Orca does neither. */
  readonly advice: readonly string[];

  constructor(message: string, advice: readonly string[]) {
    super(message);
    this.name = "AccessRefused";
    this.advice = advice;
  }
}

/** The advice that an error, or what led to it, brings along. */
export function findAdvice(error: unknown): readonly string[] | undefined {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof AccessRefused) return at.advice;
  return undefined;
}

/** Reads what a program prints, to its end. */
export async function readAll(dump: RunningDump): Promise<DumpEnd & { text: string }> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of dump.output) {
    bytes += chunk.length;
    if (bytes <= LARGEST_TEXT_BYTES) chunks.push(Buffer.from(chunk));
  }
  return { ...(await dump.ended), text: Buffer.concat(chunks).toString("utf8") };
}

/** The first of these programs that the image has, by its `--version`. Throws where it has none. */
export async function findProgram(source: StoreSource, names: readonly string[], how?: RunHow): Promise<string> {
  for (const name of names) {
    try {
      const { exitCode } = await readAll(await source.run([name, "--version"], how));
      if (exitCode === 0) return name;
    } catch (error) {
      // So runc says it; anything else is no answer to this question.
      if (!/executable file not found|no such file or directory/.test(error instanceof Error ? error.message : ""))
        throw error;
    }
  }
  throw new Error(`the image has no ${names.join(" and no ")}: name one that has it as backups.image`);
}
