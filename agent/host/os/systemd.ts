// Tells systemd that the agent is ready, alive or ending (sd_notify(3)): one datagram to the socket that NOTIFY_SOCKET names. Node has
// no datagram sockets of the unix kind, so the C library is called; the message is the agent's own, and the unit need trust no other
// process (NotifyAccess=main). Where systemd is not listening this does nothing.

import type { Clock } from "./clock.ts";
import { findCFunction } from "./c-library.ts";

/** The watchdog is fed at most this often; the loop turns every 30 s at the latest. */
const FEED_EVERY_MS = 10_000;

/** Of socket(2), send(2) and unix(7), the same on every architecture that Linux and Node share. */
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
/** systemd may be busy: the loop never waits for it. */
const MSG_DONTWAIT = 0x40;
const FAMILY_BYTES = 2;

type Send = (text: string) => boolean;
type OpenSocket = (domain: number, type: number, protocol: number) => number;
type SendTo = (
  ...parameters: [fd: number, data: Buffer, bytes: number, flags: number, address: Buffer, addressBytes: number]
) => number;

/** systemd, as one service of it. */
export class Systemd {
  readonly #clock: Clock;
  readonly #path = process.env["NOTIFY_SOCKET"] ?? "";
  #fedMs = Number.NEGATIVE_INFINITY;
  #isReady = false;
  /** It was told so, and need not be told again. */
  #isToldReady = false;
  #send: Promise<Send | undefined> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The first turn is done: what depends on the agent may start. */
  ready(status: string): void {
    this.#isReady = true;
    this.turned(status);
  }

  /** A turn is done: fed by the loop's own progress, never by a timer, or it would prove nothing. */
  turned(status: string): void {
    const isFed = this.#clock.monotonicMs() - this.#fedMs < FEED_EVERY_MS;
    if (isFed && (this.#isToldReady || !this.#isReady)) return;
    this.#fedMs = this.#clock.monotonicMs();
    void this.#notify(`WATCHDOG=1\nSTATUS=${status}`);
  }

  /** The agent ends. */
  stopping(): void {
    void this.#notify("STOPPING=1");
  }

  /** What is not taken now is told with the next turn: an agent that systemd does not hear of, it restarts. */
  async #notify(text: string): Promise<void> {
    if (this.#path === "") return;
    const send = await (this.#send ??= openNotifySocket(this.#path).catch(() => undefined));
    if (send === undefined) this.#send = undefined;
    const isReady = this.#isReady && !this.#isToldReady;
    if (send?.(isReady ? `READY=1\n${text}` : text) === true && isReady) this.#isToldReady = true;
  }
}

/** Answers what sends one datagram, true where it was taken. */
async function openNotifySocket(path: string): Promise<Send> {
  const openSocket = await findCFunction<OpenSocket>("int socket(int domain, int type, int protocol)");
  const sendTo = await findCFunction<SendTo>(
    "intptr_t sendto(int fd, const void *data, size_t bytes, int flags, const void *address, uint32_t addressBytes)",
  );
  const fd = openSocket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new Error("there is no socket for systemd");
  const address = buildAddress(path);
  return (text) => {
    const data = Buffer.from(text);
    return sendTo(fd, data, data.length, MSG_DONTWAIT, address, address.length) === data.length;
  };
}

/** struct sockaddr_un; a name that begins with @ is an abstract one, which begins with a zero byte (unix(7)). */
export function buildAddress(path: string): Buffer {
  const name = Buffer.from(path);
  if (path.startsWith("@")) name[0] = 0;
  const family = Buffer.alloc(FAMILY_BYTES);
  // The host's byte order: little-endian on both architectures that the package is built for.
  family.writeUInt16LE(AF_UNIX);
  return Buffer.concat([family, name]);
}
