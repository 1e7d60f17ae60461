// What every listener of the agent has around it: its address is tried until it is had, it ends whole, and callers who are slow, many or
// strange cost nothing.

import { once } from "node:events";
import { request } from "node:http";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";

import { afterEach, describe, expect, test, vi } from "vitest";

import { BoundServer, type BindOptions } from "../../../agent/http/bound-server.ts";
import { makeServer, type ShellOptions } from "../../../agent/http/server-shell.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";

const RETRY_MS = 30_000;
const clock = new FakeClock();
const ended: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const end of ended.splice(0)) await end();
});

function bind(options: Partial<BindOptions> = {}): { bound: BoundServer; tried: (string | undefined)[] } {
  const tried: (string | undefined)[] = [];
  const bound = new BoundServer({
    clock,
    retryMs: RETRY_MS,
    make: () => createServer(),
    listen: (server, done) => void server.listen({ host: "127.0.0.1", port: 0 }, done),
    onTried: (error) => tried.push(error && (error.code ?? error.message)),
    ...options,
  });
  ended.push(() => bound.close());
  return { bound, tried };
}

describe("an address", () => {
  test("that is taken is tried again until it is free, and had again after an end", async () => {
    const holder = createServer().listen(0, "127.0.0.1");
    await once(holder, "listening");
    const { port } = holder.address() as AddressInfo;
    const { bound, tried } = bind({
      listen: (server, done) => void server.listen({ host: "127.0.0.1", port, exclusive: true }, done),
    });
    await bound.open();
    expect([tried, bound.address, bound.isWanted]).toEqual([["EADDRINUSE"], undefined, true]);
    holder.close();
    await once(holder, "close");
    await clock.advance(RETRY_MS);
    await vi.waitUntil(() => bound.address !== undefined);
    expect([tried, bound.address]).toEqual([["EADDRINUSE", undefined], `127.0.0.1:${port}`]);
    await bound.close();
    expect([bound.address, bound.isWanted]).toEqual([undefined, false]);
    await bound.open();
    expect(bound.address).toBe(`127.0.0.1:${port}`);
  });

  test("is bound once, however often it is asked for, and not at all where it was left meanwhile", async () => {
    const made: Server[] = [];
    const make = async (): Promise<Server> => {
      await Promise.resolve();
      made.push(createServer());
      return made.at(-1) as Server;
    };
    const { bound, tried } = bind({ make });
    await Promise.all([bound.open(), bound.open()]);
    expect([made.length, tried]).toEqual([1, [undefined]]);
    await bound.close();
    const opening = bound.open();
    await bound.close();
    await opening;
    expect([made.map(({ listening }) => listening), bound.isWanted, tried]).toEqual([
      [false, false],
      false,
      [undefined],
    ]);
  });

  test("whose last step fails is left, and tried again", async () => {
    const made: Server[] = [];
    let failures = 1;
    const { bound, tried } = bind({
      make: () => made[made.push(createServer()) - 1] as Server,
      finish: async () => {
        if (failures-- > 0) throw new Error("no such group");
      },
    });
    await bound.open();
    expect([tried, bound.address]).toEqual([["no such group"], undefined]);
    await vi.waitUntil(() => made[0]?.listening === false);
    await clock.advance(RETRY_MS);
    await vi.waitUntil(() => bound.address !== undefined);
    expect(tried).toEqual(["no such group", undefined]);
  });
});

describe("a shell", () => {
  async function serve(options: Partial<ShellOptions> = {}): Promise<number> {
    const server = makeServer({
      mostConnections: 4,
      answer: async (_request, response) => void response.end("good"),
      refuse: (response, status, message) => void response.writeHead(status).end(message),
      ...options,
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    ended.push(async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    });
    return (server.address() as AddressInfo).port;
  }

  function call(port: number, headers: Record<string, string> = {}): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const asked = request({ host: "127.0.0.1", port, headers }, (response) => {
        response
          .setEncoding("utf8")
          .once("data", (text: string) => resolve({ status: response.statusCode ?? 0, text }));
      });
      asked.on("error", reject).end();
    });
  }

  async function open(port: number, text = ""): Promise<Socket> {
    const socket = connect({ host: "127.0.0.1", port }).on("error", () => undefined);
    ended.unshift(async () => socket.destroy());
    await once(socket, "connect");
    if (text !== "") socket.write(text);
    socket.resume();
    return socket;
  }

  test("answers readers by loopback's name alone, and what throws with a 500", async () => {
    const port = await serve({ forReaders: true });
    expect(await call(port)).toEqual({ status: 200, text: "good" });
    expect(await call(port, { host: "rebound.example" })).toMatchObject({ status: 421 });
    const failing = await serve({ answer: () => Promise.reject(new Error("no")) });
    expect(await call(failing, { host: "any.example" })).toEqual({ status: 500, text: "this could not be answered" });
  });

  test("takes one more connection than it holds, and ends the oldest that asks nothing", async () => {
    const port = await serve();
    const idle: Socket[] = [];
    for (let count = 0; count < 4; count += 1) idle.push(await open(port));
    expect(await call(port)).toMatchObject({ status: 200 });
    await vi.waitUntil(() => idle[0]?.closed);
    expect(idle.map(({ closed }) => closed)).toEqual([true, false, false, false]);
  });

  test("a connection that was given away is in use: another is ended first", async () => {
    const given: Duplex[] = [];
    ended.push(async () => given.map((socket) => socket.destroy()));
    const port = await serve({ upgrade: async (_request, socket) => void given.push(socket) });
    const upgraded = await open(port, "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    await vi.waitUntil(() => given.length === 1);
    const idle: Socket[] = [];
    for (let count = 0; count < 4; count += 1) idle.push(await open(port));
    await vi.waitUntil(() => idle[0]?.closed);
    expect(upgraded.closed).toBe(false);
  });

  test("where none is given away, a request that asks for it is answered", async () => {
    expect(await call(await serve(), { connection: "upgrade", upgrade: "x" })).toMatchObject({ status: 200 });
  });
});
