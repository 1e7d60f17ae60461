// What a person does with the docker command, for tests that change things by hand.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Runs `docker …`; answers what it printed. */
export async function docker(...parameters: string[]): Promise<string> {
  const { stdout } = await run("docker", parameters, { encoding: "utf8" });
  return stdout.trim();
}
