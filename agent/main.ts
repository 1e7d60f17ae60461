// The program: reads the command line and hands over to one command. Commands load what they need and nothing else, so
// that the daemon stays small.

import { realpathSync } from "node:fs";

import { buildProgram } from "./cli/frame/program.ts";
import { keepMemoryOutOfCores } from "./host/os/core-dump.ts";

keepMemoryOutOfCores();
// A package's link to the version in use may move while this one runs: what it starts is of its own version.
if (process.argv[1] !== undefined) process.argv[1] = realpathSync(process.argv[1]);
await buildProgram().parseAsync(process.argv);
