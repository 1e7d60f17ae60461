// The head of a custom-format archive (pg_dump -Fc), as pg_backup_archiver.c writes it: how many entries its table of contents has.
// Read from the stream while it goes through, so that a restore can be held against what the dump said of itself. Pure.

/** More than any head is long: names of databases and versions are short. */
export const HEAD_BYTES = 4_096;

const MAGIC = "PGDMP";
const CUSTOM = 1;
/** Since version 1.15 of the format the compression is one byte that names its algorithm. */
const COMPRESSION_AS_BYTE = 15;

/** What the head of an archive says. */
interface ArchiveHead {
  /** The version of the server that it was dumped from. */
  server: string;
  entries: number;
}

/** The number of entries; undefined for what is no such head. */
export function readEntryCount(head: Buffer): number | undefined {
  const entries = readArchiveHead(head)?.entries ?? 0;
  return entries > 0 ? entries : undefined;
}

/** Undefined for what is no such head. */
export function readArchiveHead(head: Buffer): ArchiveHead | undefined {
  try {
    const reader = new HeadReader(head);
    if (reader.text(MAGIC.length) !== MAGIC || reader.byte() !== 1) return undefined;
    const minor = reader.byte();
    reader.byte();
    reader.intBytes = reader.byte();
    reader.byte();
    if (reader.byte() !== CUSTOM) return undefined;
    if (minor >= COMPRESSION_AS_BYTE) reader.byte();
    else reader.int();
    // Second to year and daylight saving, then three names: the database, the server's version and pg_dump's.
    for (let at = 0; at < 7; at += 1) reader.int();
    reader.string();
    const server = reader.string();
    reader.string();
    return { server, entries: reader.int() };
  } catch {
    return undefined;
  }
}

/** Reads on from byte to byte; a `RangeError` says that there are no more. */
class HeadReader {
  readonly #bytes: Buffer;
  #at = 0;
  intBytes = 4;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  byte(): number {
    const value = this.#bytes.readUInt8(this.#at);
    this.#at += 1;
    return value;
  }

  /** A sign and then its bytes, the least first. */
  int(): number {
    const sign = this.byte();
    let value = 0;
    for (let at = 0; at < this.intBytes; at += 1) value += this.byte() * 256 ** at;
    return sign === 0 ? value : -value;
  }

  text(length: number): string {
    if (this.#at + length > this.#bytes.length) throw new RangeError("there are no more bytes");
    const text = this.#bytes.toString("latin1", this.#at, this.#at + length);
    this.#at += length;
    return text;
  }

  /** Its length, below zero for none. */
  string(): string {
    const length = this.int();
    return length <= 0 ? "" : this.text(length);
  }
}
