// Names at the machine's one engine: each carries the run that made it, so that two runs at once do not meet, and two files
// of one run neither, since each takes the name of its own subject.

import { randomInt } from "node:crypto";

/** Says to every process of a lane which run it belongs to. */
const VARIABLE = "ORCA_TEST_RUN";
const LENGTH = 4;

/** The run that this process belongs to. */
export const RUN = (process.env[VARIABLE] ??= Array.from({ length: LENGTH }, () => randomInt(36).toString(36)).join(
  "",
));

const OF_A_RUN = new RegExp(`^t-.+-([a-z0-9]{${LENGTH}})$`);

/** The run that a name was made by; undefined for one that bears none. */
export function readRun(name: string): string | undefined {
  return OF_A_RUN.exec(name)?.[1];
}

/** A node's name, or that of an image, volume or container that a test makes by hand. */
export function nameForRun(subject: string): string {
  return `t-${subject}-${RUN}`;
}
