// `orca audit verify --from DIR`: walks the chain of an audit log from its copies in a repository alone, without the host that it is from.
// Reads, and changes nothing.

import { createReadStream } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import { parseHead } from "../../../shared/document/audit-head.ts";
import { describeCount } from "../../../shared/text/count.ts";
import { readMessage } from "../../../shared/text/read-message.ts";
import { type AuditCopyName, markLine, parseAuditCopy } from "../../backup/audit/audit-copy-name.ts";
import { decryptStream } from "../../backup/encrypt.ts";
import { ChainWalk } from "../../report/audit/audit-chain.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { printFault, printText } from "../frame/terminal.ts";

/** The options of `--from`. */
export interface CopiesOptions {
  from: string;
  /** An age key, where the copies are encrypted. */
  identity?: string;
  head?: string;
}

interface Copy extends AuditCopyName {
  name: string;
}

/** Walks every log that has copies there; answers 0 where each chain holds and 1 where one breaks. */
export async function verifyCopies({ from, identity, head }: CopiesOptions): Promise<number> {
  const names = await readdir(from).catch((error: unknown) => {
    throw new CommandError(`${from} cannot be read: ${readMessage(error)}`);
  });
  const copies = names.flatMap((name): Copy[] => {
    const parsed = parseAuditCopy(name);
    return parsed === undefined ? [] : [{ name, ...parsed }];
  });
  if (copies.length === 0)
    throw new CommandError(
      `there is no copy of an audit log in ${from}: name the folder _log of a node, as PREFIX/NODE/_log in the repository`,
    );
  const isSealed = copies.some(({ name }) => name.endsWith(".age"));
  if (isSealed && identity === undefined)
    throw new CommandError(`the copies in ${from} are encrypted: name the key that opens them with --identity FILE`);
  const keys = identity === undefined ? [] : await readKeys(identity);
  let isHeadFound = head === undefined;
  let isWhole = true;
  for (const [log, own] of Map.groupBy(copies, (copy) => copy.log)) {
    const walk = new CopyWalk(head);
    const fault = await walk.follow(from, own, keys);
    isHeadFound ||= walk.isHeadFound;
    if (fault === undefined) {
      const { lines, hash } = walk;
      printText(
        `log ${log}: ${describeCount(lines, "line")} in ${describeCount(own.length, "copy", "copies")}, the chain holds; head ${hash}`,
      );
    } else {
      isWhole = false;
      printFault(`orca: ${from}: log ${log}: ${fault}`);
    }
  }
  if (isWhole && !isHeadFound) printFault(`orca: ${from}: no line has the hash ${head}: the copies end before it`);
  return isWhole && isHeadFound ? EXIT.ok : EXIT.failed;
}

async function readKeys(file: string): Promise<string[]> {
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    throw new CommandError(`${file} cannot be read: ${readMessage(error)}`);
  });
  const keys = text.match(/^AGE-SECRET-KEY-[A-Z0-9-]+$/gm) ?? [];
  if (keys.length === 0) throw new CommandError(`${file} holds no key as age-keygen writes it`);
  return keys;
}

/** One log, copy after copy. */
class CopyWalk {
  readonly #walk = new ChainWalk();
  readonly #head: string | undefined;
  isHeadFound = false;
  lines = 0;
  hash = "";

  constructor(head: string | undefined) {
    this.#head = head;
  }

  /** What is wrong; undefined where the chain holds from its first line to the last one that was copied. */
  async follow(directory: string, copies: readonly Copy[], keys: readonly string[]): Promise<string | undefined> {
    for (const copy of copies.toSorted((one, other) => one.from - other.from || other.to - one.to)) {
      try {
        const fault = await this.#follow(copy, open(join(directory, copy.name), keys));
        if (fault !== undefined) return `${copy.name}: ${fault}`;
      } catch (error) {
        return `${copy.name}: it cannot be read: ${readMessage(error)}`;
      }
    }
    return undefined;
  }

  async #follow(copy: Copy, pieces: AsyncIterable<Uint8Array>): Promise<string | undefined> {
    let last: string | undefined;
    // Two copies may overlap where two agents wrote them: a line that was walked is not walked again.
    const walked = this.lines;
    for await (const text of splitLines(pieces)) {
      last = text;
      const line = parseHead(text);
      if (line !== undefined && line.seq <= walked) continue;
      if (!this.#walk.push(text)) return this.#explain();
      this.lines = line?.seq ?? this.lines;
      this.hash = line?.hash ?? this.hash;
      this.isHeadFound ||= line?.hash === this.#head;
    }
    return last !== undefined && markLine(last) === copy.last
      ? undefined
      : "it does not end with the line that its name says: it was cut or edited";
  }

  #explain(): string {
    const verdict = this.#walk.end();
    return verdict.ok ? "" : `after line ${this.lines}: ${verdict.message}`;
  }
}

function open(path: string, keys: readonly string[]): AsyncIterable<Uint8Array> {
  const stored = createReadStream(path) as AsyncIterable<Uint8Array>;
  return path.endsWith(".age") ? decryptStream(stored, keys) : stored;
}

async function* splitLines(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of pieces) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  rest += decoder.decode();
  if (rest !== "") yield rest;
}
