// The head of an answer as a probe reads it, in whole and in pieces, from a server that behaves and from ones that do not.

import { createServer, type AddressInfo, type Socket } from "node:net";

import { afterEach, expect, test } from "vitest";

import { getStatus, readHead } from "../../../agent/health/plain-get.ts";

const closers: (() => void)[] = [];

afterEach(() => {
  for (const close of closers.splice(0)) close();
});

test.each([
  ["HTTP/1.1 200 OK\r\nserver: x\r\n\r\nbody", 200],
  ["HTTP/1.0 404 \r\n\r\n", 404],
  ["HTTP/1.1 503\r\n\r\n", 503],
  ["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 204],
  ["HTTP/1.1 100 Continue\r\n\r\n", "incomplete"],
  ["HTTP/1.1 200 OK\r\nserver: x\r\n", "incomplete"],
  ["HTT", "incomplete"],
  ["", "incomplete"],
  ["SSH-2.0-OpenSSH\r\n", "malformed"],
  ["HTTP/2 200\r\n\r\n", "malformed"],
  ["HTTP/1.1 abc\r\n\r\n", "malformed"],
  [`HTTP/1.1 200 OK\r\nx: ${"y".repeat(20_000)}`, "malformed"],
])("a head of %j is %s", (text, wanted) => {
  expect(readHead(text)).toBe(wanted);
});

async function ask(serve: (socket: Socket) => void): Promise<[status: number | undefined, fault: string]> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => server.close());
  const { port } = server.address() as AddressInfo;
  return new Promise((resolve) => {
    const end = getStatus({ host: "127.0.0.1", port, path: "/healthz?a=b", authority: "app:8080" }, (...got) => {
      end();
      resolve(got);
    });
  });
}

test("what is asked is one GET that names the host, the path and that the connection ends", async () => {
  let asked = "";
  const answer = await ask((socket) =>
    socket.on("data", (chunk: Buffer) => {
      asked += chunk.toString();
      socket.end("HTTP/1.1 200 OK\r\n\r\n");
    }),
  );
  expect(answer).toEqual([200, ""]);
  expect(asked).toBe(
    "GET /healthz?a=b HTTP/1.1\r\nhost: app:8080\r\nuser-agent: orca-probe\r\nconnection: close\r\n\r\n",
  );
});

test("an answer that comes byte by byte is put together", async () => {
  const answer = await ask((socket) => {
    socket.setNoDelay(true);
    const bytes = "HTTP/1.1 302 Found\r\nlocation: /x\r\n\r\n".split("");
    const next = (): void => {
      const byte = bytes.shift();
      if (byte !== undefined) socket.write(byte, () => setImmediate(next));
    };
    next();
  });
  expect(answer).toEqual([302, ""]);
});

test("a server that closes, resets or speaks something else is no answer", async () => {
  expect(await ask((socket) => socket.end())).toEqual([undefined, "ECONNRESET"]);
  expect(await ask((socket) => socket.resetAndDestroy())).toEqual([undefined, "ECONNRESET"]);
  expect(await ask((socket) => socket.write("220 mail ready\r\n"))).toEqual([undefined, "no answer in HTTP/1"]);
});

test("a port on which nobody listens refuses", async () => {
  const answer = await new Promise((resolve) => {
    getStatus({ host: "127.0.0.1", port: 1, path: "/", authority: "127.0.0.1:1" }, (...got) => resolve(got));
  });
  expect(answer).toEqual([undefined, "ECONNREFUSED"]);
});
