// Git's packet lines, as far as a poll reads them: the advertisement of a server (protocol 0 and 2), the answer to ls-refs,
// and whether the packets of a pack came whole. Pure; whatever bytes come in, it throws nothing but a GitFailure.

import { brokenAnswer, GitFailure } from "./git-failure.ts";

/** A packet's content, or what stands between packets. */
export type Packet = Buffer | "flush" | "delimiter" | "end";

/** What a server says it has: refs at once (protocol 0), or only what it can do (protocol 2). */
export interface Advertisement {
  version: 0 | 2;
  refs: ReadonlyMap<string, string>;
  /** The branch that HEAD stands for, where that is said. */
  head: string | undefined;
  capabilities: readonly string[];
}

const LONGEST_ERROR = 200;
const OID = /^[0-9a-f]{40}$/;

/** Takes bytes apart into packets. */
export function parsePackets(bytes: Buffer): Packet[] {
  const packets: Packet[] = [];
  for (let at = 0; at < bytes.length;) {
    const head = bytes.toString("latin1", at, at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(head)) throw brokenAnswer("no-packet-lines");
    const length = Number.parseInt(head, 16);
    if (length < 4) {
      packets.push(SPECIAL[length] ?? refuseLength());
      at += 4;
      continue;
    }
    if (at + length > bytes.length) throw brokenAnswer("cut-packet");
    packets.push(bytes.subarray(at + 4, at + length));
    at += length;
  }
  return packets;
}

const SPECIAL: readonly (Packet | undefined)[] = ["flush", "delimiter", "end"];

function refuseLength(): never {
  throw brokenAnswer("packet-length");
}

/** Encodes one packet line. */
export function encodePacket(text: string): string {
  return `${(Buffer.byteLength(text) + 4).toString(16).padStart(4, "0")}${text}`;
}

/** Reads what a server answers to `info/refs`. */
export function parseAdvertisement(bytes: Buffer): Advertisement {
  const packets = parsePackets(bytes);
  if (packets.at(-1) !== "flush") throw brokenAnswer("cut-refs");
  const lines = packets.flatMap((packet) => (typeof packet === "string" ? [] : [readLine(packet)]));
  if (lines[0]?.startsWith("# service=") === true) {
    if (lines[0] !== "# service=git-upload-pack") throw brokenAnswer("other-service");
    lines.shift();
  }
  if (lines[0] === "version 2") return { version: 2, refs: new Map(), ...readCapabilities(lines.slice(1)) };
  if (lines[0] === "version 1") lines.shift();
  return parseRefs(lines);
}

function parseRefs(lines: readonly string[]): Advertisement {
  const refs = new Map<string, string>();
  const words = (lines[0]?.split("\0")[1] ?? "").split(" ");
  for (const line of lines) {
    const [text = ""] = line.split("\0");
    if (/^shallow [0-9a-f]{40}$/.test(text)) continue;
    const [oid, name] = splitRef(text);
    if (name !== "capabilities^{}") refs.set(name, oid);
  }
  return { version: 0, refs, ...readCapabilities(words) };
}

/** Reads the answer to ls-refs. */
export function parseLsRefs(bytes: Buffer): Advertisement {
  const packets = parsePackets(bytes);
  if (packets.at(-1) !== "flush") throw brokenAnswer("cut-refs");
  const refs = new Map<string, string>();
  let head: string | undefined;
  for (const packet of packets) {
    if (typeof packet === "string") continue;
    const [text = "", ...attributes] = splitAttributes(readLine(packet));
    const target = attributes.find((attribute) => attribute.startsWith("symref-target:"));
    if (/(^| )HEAD$/.test(text) && target !== undefined) head = target.slice("symref-target:".length);
    if (text.startsWith("unborn ")) continue;
    const [oid, name] = splitRef(text);
    refs.set(name, oid);
    const peeled = attributes.find((attribute) => attribute.startsWith("peeled:"))?.slice("peeled:".length);
    if (peeled !== undefined && OID.test(peeled)) refs.set(`${name}^{}`, peeled);
  }
  return { version: 2, refs, head, capabilities: [] };
}

/** `<oid> <name>`, then attributes; names hold no spaces. */
function splitAttributes(line: string): string[] {
  const [oid = "", name = "", ...attributes] = line.split(" ");
  return [`${oid} ${name}`, ...attributes];
}

function splitRef(text: string): [oid: string, name: string] {
  const space = text.indexOf(" ");
  const [oid, name] = [text.slice(0, space), text.slice(space + 1)];
  if (space < 0 || name === "" || !OID.test(oid)) throw brokenAnswer("no-ref-line");
  return [oid, name];
}

function readLine(packet: Buffer): string {
  const line = packet.toString("utf8").replace(/\n$/, "");
  if (line.startsWith("ERR ")) throw new GitFailure({ code: "server-said", message: shorten(line.slice(4)) });
  return line;
}

/** What a server said of itself, fit for a message. */
export function shorten(text: string): string {
  return text
    .replaceAll(/[^ -~]+/g, " ")
    .trim()
    .slice(0, LONGEST_ERROR);
}

function readCapabilities(words: readonly string[]): Pick<Advertisement, "head" | "capabilities"> {
  if (words.includes("object-format=sha256"))
    throw new GitFailure({ code: "broken-answer", why: "sha256-ids" }, { lasting: true });
  const symref = words.find((word) => word.startsWith("symref=HEAD:"));
  return { head: symref?.slice("symref=HEAD:".length), capabilities: words };
}
