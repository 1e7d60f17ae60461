// One GET without TLS for a probe: a connection of its own, one write, and the head of the answer. node:http makes a request, a
// parser and two more streams for that, which was most of what an idle agent did. Only probes.ts calls it.

import { connect, type LookupFunction } from "node:net";

/** What to ask. */
export interface PlainGet {
  host: string;
  port: number;
  path: string;
  /** The host as the request names it, with its port where it is not the usual one. */
  authority: string;
  lookup?: LookupFunction;
}

/** Called once: with the status of the answer, or with what went wrong. */
export type GotStatus = (status: number | undefined, fault: string) => void;

/** A head that is longer than this is none. */
const LONGEST_HEAD = 16 * 1024;
const END_OF_HEAD = "\r\n\r\n";
const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})[ \r]/;

// What comes is read out of it before anything else can come.
const buffer = Buffer.allocUnsafe(4 * 1024);

/** Asks; answers how to end it. */
export function getStatus({ path, authority, ...at }: PlainGet, got: GotStatus): () => void {
  let head = "";
  const callback = (bytes: number): boolean => {
    head += buffer.toString("latin1", 0, bytes);
    const status = readHead(head);
    if (status === "incomplete") return true;
    if (typeof status === "number") got(status, "");
    else got(undefined, "no answer in HTTP/1");
    return false;
  };
  const socket = connect({ ...at, onread: { buffer, callback } });
  socket.once("error", (error: NodeJS.ErrnoException) => got(undefined, error.code ?? error.message));
  socket.once("end", () => got(undefined, "ECONNRESET"));
  socket.write(
    `GET ${path} HTTP/1.1\r\nhost: ${authority}\r\nuser-agent: orca-probe\r\nconnection: close\r\n\r\n`,
    "latin1",
  );
  return () => socket.destroy();
}

/** The status once its head is whole; an interim answer (100 to 199) is passed over. */
export function readHead(text: string): number | "incomplete" | "malformed" {
  let from = 0;
  for (;;) {
    const end = text.indexOf(END_OF_HEAD, from);
    if (end === -1) {
      const begins = "HTTP/1.".startsWith(text.slice(from, from + 7)) || text.startsWith("HTTP/1.", from);
      return begins && text.length - from <= LONGEST_HEAD ? "incomplete" : "malformed";
    }
    const status = Number(STATUS_LINE.exec(text.slice(from, end + 2))?.[1] ?? Number.NaN);
    if (Number.isNaN(status)) return "malformed";
    if (status >= 200) return status;
    from = end + END_OF_HEAD.length;
  }
}
