// A process on the stage node that has that node's real key, and tries everything against the listeners of production, over and
// over: its own key, others' names, records forged, replayed and relayed, frames cut short and too long, a session without its
// key, streams that say nothing or say it slowly. A program; started by tests in the stage node's namespace.

import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";

import { encodeMessage } from "../../../agent/gossip/core/message.ts";
import { type RecordBody, signRecord } from "../../../agent/gossip/core/record.ts";
import { createSigner, loadIdentity } from "../../../agent/gossip/node-identity.ts";
import { buildCertificate } from "../../../agent/gossip/mesh/certificate.ts";

/** What it is started with, as JSON: its one argument. */
export interface ForgerStart {
  keyFile: string;
  targets: readonly { node: string; host: string }[];
  /** Frames that production's nodes really said once, as somebody may have caught them: in base64. */
  caught: readonly string[];
}

/** What it says at its end, for each way: tries, and bytes that production answered behind the handshake. */
export type ForgerReport = Record<string, { tries: number; answeredBytes: number }>;

export const FORGER = fileURLToPath(import.meta.url);
const PORT = 7946;
const SILENT_STREAMS = 100;
const WAIT_MS = 1_000;
/** Each way of each round comes after the last: a flood of CPU is not what is tried here. */
const PAUSE_MS = 40;

const report: ForgerReport = {};
const open = new Set<Socket>();
let caughtFlight = Buffer.alloc(0);

interface Key {
  key: string;
  cert: string;
}

/** What is shown and said at a target's door. */
interface Try {
  key: Key | undefined;
  frames: readonly Buffer[];
  session?: Buffer | undefined;
}

if (process.argv[1] === FORGER) await main(JSON.parse(process.argv[2] ?? "{}") as ForgerStart);

async function main(start: ForgerStart): Promise<void> {
  const identity = await loadIdentity(start.keyFile);
  if (identity === undefined) throw new Error(`there is no key ${start.keyFile}`);
  const own = { key: readFileSync(start.keyFile, "utf8"), cert: identity.certificate };
  const pair = generateKeyPairSync("ed25519");
  const unknown = {
    key: pair.privateKey.export({ type: "pkcs8", format: "pem" }) as string,
    cert: await buildCertificate(pair.privateKey),
  };
  const signer = createSigner(identity);
  const over = new AbortController();
  process.on("SIGTERM", () => over.abort());
  process.stdout.write("begun\n");
  for (let round = 1; !over.signal.aborted; round += 1)
    for (const { node, host } of start.targets) {
      const forge = (words: Partial<RecordBody>): Buffer =>
        encodeMessage({
          t: "record",
          record: signRecord(
            {
              v: 1,
              realm: "prod",
              node,
              boot: 1_000 + round,
              seq: 1,
              services: { db: { ready: true, state: "healthy" } },
              ...words,
            },
            signer,
          ),
        });
      const caught = start.caught.map((frame) => Buffer.from(frame, "base64"));
      const others = start.targets.filter((other) => other.node !== node).map((other) => other.node);
      const ways: Record<string, Try> = {
        "its own key": { key: own, frames: [] },
        "its own key, its own record": { key: own, frames: [forge({ realm: "stage", node: "stage" })] },
        "its own key, another's name": { key: own, frames: others.map((name) => forge({ node: name })) },
        "its own key, the target's name": { key: own, frames: [forge({})] },
        "records that it relays": { key: own, frames: caught },
        "frames caught and said again": { key: own, frames: [...caught, ...caught] },
        "a frame that is cut short": { key: own, frames: [forge({}).subarray(0, -9)] },
        "a frame that is too long": { key: own, frames: [Buffer.from([0x00, 0x0f, 0x42, 0x40, 0x7b])] },
        "an unknown key": { key: unknown, frames: [forge({})] },
        "no key": { key: undefined, frames: [forge({})] },
      };
      for (const [way, one] of Object.entries(ways)) await shake(way, host, one);
      await resume(host, own, forge({}));
      await replayFlight(host, own);
      crawl(host);
      for (let stream = 0; stream < SILENT_STREAMS; stream += 1) silent(host);
    }
  for (const socket of open) socket.destroy();
  process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
}

/** One try; what comes back behind the handshake is counted. */
async function shake(way: string, host: string, { key, frames, session }: Try): Promise<Buffer | undefined> {
  let ticket: Buffer | undefined;
  const socket = connect({
    host,
    port: PORT,
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ...key,
    ...(session === undefined ? {} : { session }),
  });
  socket.on("session", (given) => {
    ticket = given;
  });
  socket.once("secureConnect", () => {
    for (const frame of frames) socket.write(frame);
  });
  await watch(way, socket);
  return ticket;
}

/** A session that was opened with the key, resumed without. */
async function resume(host: string, key: Key, frame: Buffer): Promise<void> {
  const ticket = await shake("its own key", host, { key, frames: [] });
  const way = ticket === undefined ? "a session: no ticket is given" : "a session without its key";
  await shake(way, host, { key: undefined, frames: [frame], session: ticket });
}

/** What was sent on an earlier stream with the right key, byte for byte, on a new one. */
async function replayFlight(host: string, key: Key): Promise<void> {
  if (caughtFlight.length === 0) {
    const tap = createServer((socket) => {
      const onward = connectTcp({ host, port: PORT });
      socket.on("data", (piece) => {
        caughtFlight = Buffer.concat([caughtFlight, piece]);
      });
      for (const end of [socket, onward]) end.on("error", () => undefined);
      socket.pipe(onward).pipe(socket);
    });
    await new Promise<void>((resolve) => tap.listen(0, "127.0.0.1", resolve));
    const { port } = tap.address() as AddressInfo;
    await watch("a stream that is caught", connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...key }));
    tap.close();
  }
  const socket = connectTcp({ host, port: PORT });
  socket.once("connect", () => socket.write(caughtFlight));
  await watch("a caught stream, byte for byte", socket, false);
}

/** A handshake that comes a byte at a time. */
function crawl(host: string): void {
  const socket = silent(host, "a slow stream");
  void (async () => {
    for (const byte of [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]) {
      if (socket.destroyed) return;
      socket.write(Buffer.from([byte]));
      await sleep(900);
    }
  })();
}

/** A stream that is held and says nothing. */
function silent(host: string, way = "a silent stream"): Socket {
  const socket = connectTcp({ host, port: PORT });
  count(way, 0, 1);
  open.add(socket);
  socket.on("error", () => undefined);
  socket.once("close", () => open.delete(socket));
  socket.on("data", (piece) => count(way, piece.length));
  return socket;
}

/** @param counts whether what comes back is an answer: on a plain stream it is TLS's own alerts and hellos */
async function watch(way: string, socket: Socket | TLSSocket, counts = true): Promise<void> {
  count(way, 0, 1);
  socket.on("error", () => undefined);
  socket.on("data", (piece: Buffer) => count(way, counts ? piece.length : 0));
  const closed = new Promise((resolve) => socket.once("close", resolve));
  await Promise.race([closed, sleep(WAIT_MS)]);
  socket.destroy();
  await sleep(PAUSE_MS);
}

function count(way: string, answeredBytes: number, tries = 0): void {
  const entry = (report[way] ??= { tries: 0, answeredBytes: 0 });
  entry.tries += tries;
  entry.answeredBytes += answeredBytes;
}
