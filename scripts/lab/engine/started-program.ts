// The program that tests and benches start as a process of its own: the sources, or the bundle that ORCA_PROGRAM names. scripts/test makes
// one, since a process starts with it in half of the CPU, and it is what is installed.

import { fileURLToPath } from "node:url";

/** Path of the file that Node is given. */
export const PROGRAM = process.env["ORCA_PROGRAM"] ?? fileURLToPath(new URL("../../../agent/main.ts", import.meta.url));
