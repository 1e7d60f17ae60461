// Stands where systemd listens: a datagram socket, on which the C library listens since Node cannot.

import { rmSync } from "node:fs";

import { findCFunction } from "../../../agent/host/os/c-library.ts";
import { buildAddress } from "../../../agent/host/os/systemd.ts";

const [AF_UNIX, SOCK_DGRAM_NONBLOCK, LARGEST_BYTES, LOOK_EVERY_MS] = [1, 0o4002, 4096, 20];

type Call = (...parameters: unknown[]) => number;

/** What a unit's processes tell, in the order in which it comes. */
export class NotifySocket {
  readonly heard: string[] = [];
  readonly path: string;
  readonly #timer: NodeJS.Timeout;
  readonly #close: () => void;

  private constructor(path: string, look: () => string | undefined, close: () => void) {
    this.path = path;
    this.#close = close;
    this.#timer = setInterval(() => {
      for (let text = look(); text !== undefined; text = look()) this.heard.push(text);
    }, LOOK_EVERY_MS);
  }

  /** @param path as NOTIFY_SOCKET names it; with @ first, an abstract one */
  static async open(path: string): Promise<NotifySocket> {
    const find = (prototype: string): Promise<Call> => findCFunction<Call>(prototype);
    const fd = (await find("int socket(int domain, int type, int protocol)"))(AF_UNIX, SOCK_DGRAM_NONBLOCK, 0);
    const address = buildAddress(path);
    const bind = await find("int bind(int fd, const void *address, uint32_t bytes)");
    if (fd < 0 || bind(fd, address, address.length) !== 0) throw new Error(`nobody can listen at ${path}`);
    const receive = await find("intptr_t recv(int fd, _Out_ void *data, size_t bytes, int flags)");
    const close = await find("int close(int fd)");
    const data = Buffer.alloc(LARGEST_BYTES);
    const look = (): string | undefined => {
      const bytes = receive(fd, data, data.length, 0);
      return bytes < 0 ? undefined : data.toString("utf8", 0, bytes);
    };
    return new NotifySocket(path, look, () => void close(fd));
  }

  close(): void {
    clearInterval(this.#timer);
    this.#close();
    if (!this.path.startsWith("@")) rmSync(this.path, { force: true });
  }
}
