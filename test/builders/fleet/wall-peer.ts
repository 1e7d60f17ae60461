// A program in a host's or container's own network namespace: listens, connects and sends as it is told, one line of JSON each.
// test/builders/fleet/wall-lab.ts starts it and speaks to it. It must never be imported for anything but its types.

import { createSocket } from "node:dgram";
import { createServer, connect, type Socket } from "node:net";
import { createInterface } from "node:readline";

/** What a peer is asked to do. */
export type PeerOrder =
  | { do: "listen"; port: number; udp?: boolean }
  | { do: "connect"; host: string; port: number; from?: string; fromPort?: number; keep?: string }
  | { do: "say"; kept: string }
  | { do: "push"; port: number }
  | { do: "received"; kept: string }
  | { do: "datagram"; host: string; port: number; from?: string; fromPort?: number }
  | { do: "flood"; host: string; port: number; forMs: number };

/** `open`: it answered; `silent`: nothing came back; else the system's word for why not. */
export type PeerAnswer = string;

/** Nothing has come for so long. A lost SYN is sent again after one second: a refusal by IPv6 is told then. */
const SILENT_MS = 2_500;
const kept = new Map<string, Socket>();
const received = new Map<string, number>();
const served = new Map<number, Set<Socket>>();

async function obey(order: PeerOrder): Promise<PeerAnswer> {
  switch (order.do) {
    case "listen":
      return order.udp === true ? listenDatagrams(order.port) : listen(order.port);
    case "connect":
      return open(order);
    case "say":
      return say(order.kept);
    case "push":
      for (const socket of served.get(order.port) ?? []) socket.write("pushed\n");
      return "open";
    case "received":
      return String(received.get(order.kept) ?? 0);
    case "datagram":
      return sendDatagram(order);
    default:
      return flood(order);
  }
}

function listen(port: number): Promise<PeerAnswer> {
  const sockets = new Set<Socket>();
  served.set(port, sockets);
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => sockets.delete(socket));
    socket.pipe(socket);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject).listen(port, "::", () => resolve("open"));
  });
}

function listenDatagrams(port: number): Promise<PeerAnswer> {
  const socket = createSocket({ type: "udp6", ipv6Only: false });
  socket.on("message", (message, { port: toPort, address }) => socket.send(message, toPort, address));
  return new Promise((resolve) => {
    socket.bind(port, () => resolve("open"));
  });
}

function open(order: Extract<PeerOrder, { do: "connect" }>): Promise<PeerAnswer> {
  const { host, port, from, fromPort, keep } = order;
  const local = {
    ...(from === undefined ? {} : { localAddress: from }),
    ...(fromPort === undefined ? {} : { localPort: fromPort }),
  };
  const socket = connect({ host, port, ...local, timeout: SILENT_MS });
  return new Promise((resolve) => {
    const end = (answer: PeerAnswer): void => {
      // Away at once, so that its port may be used again.
      if (answer !== "open") socket.destroy();
      else if (keep === undefined) socket.resetAndDestroy();
      resolve(answer);
    };
    socket.once("timeout", () => end("silent"));
    socket.once("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.once("connect", () => {
      if (keep !== undefined) {
        socket.setTimeout(0);
        kept.set(keep, socket);
        socket.on("data", (chunk) => received.set(keep, (received.get(keep) ?? 0) + chunk.length));
      }
      end("open");
    });
  });
}

/** Whether an open connection still carries a word there and back. */
function say(name: string): Promise<PeerAnswer> {
  const socket = kept.get(name);
  if (socket === undefined) throw new Error(`no connection ${name}`);
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve("silent"), SILENT_MS);
    const end = (answer: PeerAnswer): void => {
      clearTimeout(timer);
      resolve(answer);
    };
    socket.once("data", () => end("open"));
    socket.once("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.write("said\n");
  });
}

function sendDatagram(order: Extract<PeerOrder, { do: "datagram" }>): Promise<PeerAnswer> {
  const { host, port, from, fromPort = 0 } = order;
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  return new Promise((resolve) => {
    const end = (answer: PeerAnswer): void => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => end("silent"), SILENT_MS);
    socket.once("message", () => end("open"));
    socket.once("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.once("connect", () => socket.send("asked\n"));
    // Connected, so that an ICMP error is told.
    socket.bind(fromPort, from, () => socket.connect(port, host));
  });
}

/** A datagram each millisecond; answers `SENT sent, CAME came back`. */
function flood({ host, port, forMs }: Extract<PeerOrder, { do: "flood" }>): Promise<PeerAnswer> {
  const socket = createSocket("udp4");
  const seen = { sent: 0, came: 0 };
  socket.on("message", () => (seen.came += 1));
  const timer = setInterval(() => {
    seen.sent += 1;
    // What its own host refuses is an error of the call.
    socket.send("flood\n", port, host, () => undefined);
  }, 1);
  return new Promise((resolve) => {
    setTimeout(() => {
      clearInterval(timer);
      socket.close();
      resolve(`${seen.sent} sent, ${seen.came} came back`);
    }, forMs);
  });
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, order } = JSON.parse(line) as { id: number; order: PeerOrder };
  void obey(order).then(
    (answer) => console.log(JSON.stringify({ id, answer })),
    (error: unknown) => console.log(JSON.stringify({ id, answer: `failed: ${String(error)}` })),
  );
});
