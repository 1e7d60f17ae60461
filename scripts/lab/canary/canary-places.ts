// The places where a secret could have been left, each as one function that answers what it looked at and what it found. A
// sweep puts them together. Nothing here changes anything.

import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync, statSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import type { CanaryFinder } from "./canary.ts";

/** Something found: where, and which value in which form. */
interface Hit {
  where: string;
  what: string;
}

/** What was looked at, and what was found there. */
export interface Looked {
  count: number;
  hits: Hit[];
}

/** A larger file is read in pieces that overlap; what is packed or wrapped in it is not unpacked. */
const PIECE_BYTES = 64 * 2 ** 20;
const OVERLAP_BYTES = 64 * 2 ** 10;

/** Looks at one text or one piece of bytes. */
export function searchText(finder: CanaryFinder, where: string, content: string | Uint8Array): Looked {
  return { count: 1, hits: finder.find(content).map((what) => ({ where, what })) };
}

/** Puts several together. */
export function joinLooked(parts: Iterable<Looked>): Looked {
  const all: Looked = { count: 0, hits: [] };
  for (const { count, hits } of parts) {
    all.count += count;
    all.hits.push(...hits);
  }
  return all;
}

/** Looks at every file below a directory, and at the names. */
export function searchFiles(finder: CanaryFinder, root: string, isSkipped = (_path: string): boolean => false): Looked {
  const looked: Looked[] = [];
  for (const path of listFiles(root, isSkipped)) {
    looked.push(searchText(finder, `the name ${path}`, path));
    looked.push(searchFile(finder, path));
    if (path.endsWith(".db")) looked.push(searchIfDatabase(finder, path));
  }
  return joinLooked(looked);
}

export function* listFiles(path: string, isSkipped: (path: string) => boolean): Generator<string> {
  if (isSkipped(path)) return;
  const entries = readIfPossible(() => readdirSync(path, { withFileTypes: true }));
  if (entries === undefined) {
    if (readIfPossible(() => statSync(path))?.isFile() === true) yield path;
    return;
  }
  for (const entry of entries) {
    const inner = join(path, entry.name);
    if (entry.isDirectory()) yield* listFiles(inner, isSkipped);
    else if (entry.isFile() && !isSkipped(inner)) yield inner;
  }
}

export function searchFile(finder: CanaryFinder, path: string): Looked {
  const size = readIfPossible(() => statSync(path))?.size ?? 0;
  if (size <= PIECE_BYTES) {
    const content = readIfPossible(() => readFileSync(path));
    return content === undefined ? { count: 0, hits: [] } : searchText(finder, path, content);
  }
  const file = openSync(path, "r");
  const found = new Set<string>();
  const piece = Buffer.alloc(PIECE_BYTES);
  for (let at = 0; at < size; at += PIECE_BYTES - OVERLAP_BYTES) {
    const length = readSync(file, piece, 0, PIECE_BYTES, at);
    for (const what of finder.findPlain(piece.subarray(0, length))) found.add(what);
  }
  closeSync(file);
  return { count: 1, hits: [...found].map((what) => ({ where: path, what })) };
}

/** A running agent removes and replaces files while they are listed. */
export function readIfPossible<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (["ENOENT", "ENOTDIR", "ESRCH", "EACCES"].includes(code)) return undefined;
    throw error;
  }
}

/** SQLite's codes for a file that is gone and for one that is no database (sqlite.org/rescode.html): its bytes were searched. */
const NO_DATABASE = new Set([14, 26]);

function searchIfDatabase(finder: CanaryFinder, path: string): Looked {
  try {
    return searchDatabase(finder, path);
  } catch (error) {
    if (NO_DATABASE.has((error as { errcode?: number }).errcode ?? 0)) return { count: 0, hits: [] };
    throw error;
  }
}

/** Looks at every row of a database: a value that lies over two pages is in no piece of the file. */
export function searchDatabase(finder: CanaryFinder, path: string): Looked {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    const tables = database.prepare("select name from sqlite_schema where type = 'table'").all() as { name: string }[];
    return joinLooked(
      tables.flatMap(({ name }) =>
        database
          .prepare(`select * from "${name}"`)
          .all()
          .flatMap((row) =>
            Object.entries(row).map(([column, value]) =>
              searchText(finder, `${path}: ${name}.${column}`, value instanceof Uint8Array ? value : String(value)),
            ),
          ),
      ),
    );
  } finally {
    database.close();
  }
}

/** Looks at how every Orca process was started: its arguments and its environment. */
export function searchProcesses(finder: CanaryFinder): Looked {
  const looked: Looked[] = [];
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const command = readIfPossible(() => readFileSync(`/proc/${pid}/cmdline`));
    if (command === undefined || !/agent\/main\.ts|orca\.mjs/.test(command.toString("latin1"))) continue;
    looked.push(searchText(finder, `the arguments of process ${pid}`, command));
    const environment = readIfPossible(() => readFileSync(`/proc/${pid}/environ`));
    if (environment !== undefined) looked.push(searchText(finder, `the environment of process ${pid}`, environment));
    const directory = readIfPossible(() => readlinkSync(`/proc/${pid}/cwd`));
    if (directory !== undefined) looked.push(searchCores(finder, directory));
  }
  return joinLooked(looked);
}

/** Looks at core files directly in a directory. */
export function searchCores(finder: CanaryFinder, directory: string): Looked {
  const names = (readIfPossible(() => readdirSync(directory)) ?? []).filter((name) => /^core(\.\d+)?$/.test(name));
  return joinLooked(names.map((name) => searchFiles(finder, join(directory, name))));
}

/** Looks at what an agent answers to whoever asks. */
export async function searchAnswers(
  finder: CanaryFinder,
  from: { listen: string } | { socketPath: string },
  paths: readonly string[],
): Promise<Looked> {
  const where = "listen" in from ? from.listen : from.socketPath;
  const looked = paths.map(async (path) => {
    const text = await ask(from, path);
    return text === undefined ? { count: 0, hits: [] } : searchText(finder, `${where}${path}`, text);
  });
  return joinLooked(await Promise.all(looked));
}

/** An answer's head and body; undefined where nobody answers. A stream is read for half a second. */
export async function ask(
  from: { listen: string } | { socketPath: string },
  path: string,
): Promise<string | undefined> {
  const [host = "", port] = "listen" in from ? from.listen.split(":") : [];
  const place = "listen" in from ? { host, port: Number(port) } : { socketPath: from.socketPath };
  return new Promise((resolve) => {
    const call = request({ ...place, path, headers: { host: "localhost" } }, (response) => {
      let text = JSON.stringify(response.headers);
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.once("close", () => resolve(text));
      if (/^\/events(?!\?)/.test(path)) setTimeout(() => response.destroy(), 500);
    });
    call.once("error", () => resolve(undefined));
    call.end();
  });
}
