// The program: reads the command line and hands over to one command. Commands load what they need and nothing else, so
// that the daemon stays small.

import { buildProgram } from "./cli/frame/program.ts";
import { keepMemoryOutOfCores } from "./host/os/core-dump.ts";

keepMemoryOutOfCores();
await buildProgram().parseAsync(process.argv);
