// Reads a topic page from beside the program, each time that somebody asks for it: nothing of it stays in memory. Called by the command
// line and by the routes.

import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import type { HelpTopic } from "../../shared/text/help-topic.ts";

const HERE = dirname(fileURLToPath(import.meta.url));
/** In a checkout the pages lie beside this file; the bundle is one directory, and has them in `help`. */
const PLACES = [HERE, join(HERE, "help")];

/** The page in Markdown. */
export async function readPage(topic: HelpTopic): Promise<string> {
  let fault: unknown;
  for (const place of PLACES) {
    try {
      return await readFile(join(place, `${topic}.md`), "utf8");
    } catch (error) {
      fault = error;
    }
  }
  throw new Error(`read the page ${topic}: ${fault instanceof Error ? fault.message : String(fault)}`, {
    cause: fault,
  });
}
