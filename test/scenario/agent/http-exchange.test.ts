// The one HTTP exchange against a server that means harm: whatever it sends, the exchange ends within its deadline and limits, the token
// stays with its origin, and no connection is left.

import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { gzipSync } from "node:zlib";

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { ask, type Question, type WholeAnswer } from "../../../agent/http/exchange.ts";
import { ExchangeFailure } from "../../../agent/http/exchange-failure.ts";
import { describeExchange } from "../../../shared/text/words/exchange-words.ts";
import { parseRetryAfter } from "../../../agent/http/retry-after.ts";

/** Answers one request, given as its first line and headers. */
type Behaviour = (socket: Socket, request: string) => void;

/** A server that says raw bytes. */
class HostileServer {
  readonly requests: string[] = [];
  readonly open = new Set<Socket>();
  readonly #paths = new Map<string, Behaviour>();
  readonly #server: Server;

  constructor() {
    this.#server = createServer((socket) => {
      this.open.add(socket);
      socket.on("error", () => undefined);
      socket.once("close", () => this.open.delete(socket));
      let text = "";
      socket.on("data", (piece) => {
        text += piece.toString("latin1");
        if (!text.includes("\r\n\r\n")) return;
        const request = text;
        text = "";
        this.requests.push(request);
        this.#paths.get(request.split(" ")[1] ?? "")?.(socket, request);
      });
    });
  }

  async start(): Promise<this> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return this;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  at(path: string, behaviour: Behaviour): void {
    this.#paths.set(path, behaviour);
  }

  /** Answers a path with these bytes, and ends the connection. */
  say(path: string, ...lines: string[]): void {
    this.at(path, (socket) => socket.end(lines.join("\r\n")));
  }

  async stop(): Promise<void> {
    for (const socket of this.open) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}

const TOKEN = "Basic c2VjcmV0LWNhbmFyeQ==";
const HEAD = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n";

let server: HostileServer;
let other: HostileServer;

beforeEach(async () => {
  server = await new HostileServer().start();
  other = await new HostileServer().start();
});

afterEach(async () => {
  // Whatever happened, nobody is left who could go on sending.
  await vi.waitUntil(() => server.open.size + other.open.size === 0);
  await Promise.all([server.stop(), other.stop()]);
});

function put(path: string, choices: Partial<Question> = {}): Promise<WholeAnswer> {
  return ask({
    url: new URL(`${server.origin}${path}`),
    authorization: TOKEN,
    deadlineMs: 5_000,
    judge: () => ({ limitBytes: 1_000 }),
    ...choices,
  });
}

async function fault(asked: Promise<unknown>): Promise<unknown> {
  const error: unknown = await asked.then(
    () => "it went well",
    (thrown: unknown) => thrown,
  );
  return error instanceof ExchangeFailure ? error.fault : error;
}

/** Writes for as long as somebody reads. */
function writeForever(socket: Socket, piece: string, everyMs: number): void {
  const timer = setInterval(() => socket.write(piece), everyMs);
  socket.once("close", () => clearInterval(timer));
}

describe("a server that is slow, or never ends", () => {
  test("headers that come one byte at a time are late", async () => {
    server.at("/", (socket) => {
      socket.write("HTTP/1.1 200 OK\r\nx-slow: ");
      writeForever(socket, "a", 10);
    });
    expect(await fault(put("/", { deadlineMs: 300 }))).toEqual({ kind: "late", deadlineMs: 300 });
  });

  test("early hints without end are late, and headers without end are refused", async () => {
    server.at("/hints", (socket) => writeForever(socket, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", 5));
    expect(await fault(put("/hints", { deadlineMs: 300 }))).toEqual({ kind: "late", deadlineMs: 300 });
    server.at("/headers", (socket) => {
      socket.write("HTTP/1.1 200 OK\r\n");
      writeForever(socket, `x-more: ${"a".repeat(4_000)}\r\n`, 5);
    });
    expect(await fault(put("/headers"))).toEqual({ kind: "network", code: "HPE_HEADER_OVERFLOW" });
  });

  test("a body that drips is late, whatever it has sent, also into a sink", async () => {
    server.at("/", (socket) => {
      socket.write(`${HEAD}\r\n`);
      writeForever(socket, "a", 10);
    });
    expect(await fault(put("/", { deadlineMs: 300 }))).toEqual({ kind: "late", deadlineMs: 300 });
    let taken = 0;
    const sink = async (piece: Buffer): Promise<void> => void (taken += piece.length);
    expect(await fault(put("/", { deadlineMs: 300, judge: () => ({ limitBytes: 1_000, sink }) }))).toMatchObject({
      kind: "late",
    });
    expect(taken).toBeGreaterThan(0);
  });

  test("an endless body ends at the limit; one that is announced is not even begun", async () => {
    server.at("/endless", (socket) => {
      socket.write(`${HEAD}transfer-encoding: chunked\r\n\r\n`);
      writeForever(socket, `200\r\n${"a".repeat(512)}\r\n`, 1);
    });
    const tooLarge = { kind: "too-large", limitBytes: 1_000, announcedBytes: undefined };
    expect(await fault(put("/endless"))).toEqual(tooLarge);
    let taken = 0;
    const sink = async (piece: Buffer): Promise<void> => void (taken += piece.length);
    expect(await fault(put("/endless", { judge: () => ({ limitBytes: 1_000, sink }) }))).toEqual(tooLarge);
    expect(taken).toBeLessThanOrEqual(1_000);
    server.at("/announced", (socket) => void socket.write(`${HEAD}content-length: 99999999999\r\n\r\n`));
    expect(await fault(put("/announced"))).toEqual({ ...tooLarge, announcedBytes: 99_999_999_999 });
  });

  test("what is wanted of an answer for its words alone is cut, and its status alone is read of none", async () => {
    server.at("/", (socket) => {
      socket.write("HTTP/1.1 500 Internal\r\n\r\n");
      writeForever(socket, "b".repeat(600), 1);
    });
    const cut = await put("/", { judge: () => ({ limitBytes: 1_000, cut: true }) });
    expect([cut.status, cut.content.length >= 1_000 && cut.content.length < 100_000]).toEqual([500, true]);
    const none = await put("/", { judge: () => ({ limitBytes: 0, cut: true }) });
    expect([none.status, none.content.length]).toEqual([500, 0]);
  });

  test("nobody waits any more: before it begins, before the head, and within the body", async () => {
    const before = AbortSignal.abort();
    expect(await fault(put("/", { signal: before }))).toEqual({ kind: "ended" });
    for (const head of ["", `${HEAD}\r\nhalf`]) {
      const ending = new AbortController();
      server.at("/", (socket) => {
        if (head !== "") socket.write(head);
        setTimeout(() => ending.abort(), 20);
      });
      expect(await fault(put("/", { signal: ending.signal }))).toEqual({ kind: "ended" });
    }
  });
});

describe("a server that breaks off, or speaks something else", () => {
  test.each([
    ["half a body of a known length", `${HEAD}content-length: 100\r\n\r\nhalf`],
    ["half a body in chunks", `${HEAD}transfer-encoding: chunked\r\n\r\n64\r\nhalf`],
    ["half a head", "HTTP/1.1 200 OK\r\ncontent-"],
    ["nothing", ""],
  ])("%s is a cut connection and never an answer", async (_name, bytes) => {
    server.at("/", (socket) => socket.end(bytes));
    expect(await fault(put("/"))).toEqual({ kind: "network", code: expect.stringMatching(/ECONNRESET|HPE_INVALID/) });
  });

  test("what is no HTTP is told as such", async () => {
    server.at("/", (socket) => socket.end("SSH-2.0-OpenSSH_9.2\r\n\r\n"));
    expect(await fault(put("/"))).toEqual({ kind: "network", code: expect.stringMatching(/^HPE_/) });
  });

  test("two lengths, and a length beside chunks, are refused", async () => {
    server.say("/two", `${HEAD}content-length: 1`, "content-length: 2", "", "ab");
    server.say("/both", `${HEAD}content-length: 1`, "transfer-encoding: chunked", "", "1\r\na\r\n0\r\n\r\n");
    for (const path of ["/two", "/both"])
      expect(await fault(put(path))).toEqual({ kind: "network", code: expect.stringMatching(/^HPE_/) });
  });

  test("an answer that is packed is never unpacked: a bomb is refused by its header", async () => {
    const bomb = gzipSync(Buffer.alloc(4 * 1024 ** 2));
    server.at("/", (socket) => {
      socket.write(`${HEAD}content-encoding: GZIP\r\ncontent-length: ${Math.min(900, bomb.length)}\r\n\r\n`);
      socket.end(bomb.subarray(0, 900));
    });
    expect(await fault(put("/"))).toEqual({ kind: "encoded", encoding: "gzip" });
    expect(server.requests[0]).not.toMatch(/accept-encoding/i);
  });

  test("what judges and what takes the answer may throw: that is the failure, and the connection ends", async () => {
    server.at("/", (socket) => {
      socket.write(`${HEAD}\r\n`);
      writeForever(socket, "a", 5);
    });
    const own = new Error("the disk is full");
    const refuse = (): never => {
      throw own;
    };
    expect(await fault(put("/", { judge: refuse }))).toBe(own);
    const sink = (): Promise<void> => Promise.reject(own);
    expect(await fault(put("/", { judge: () => ({ limitBytes: 1_000, sink }) }))).toBe(own);
  });
});

describe("a server that redirects", () => {
  test.each([307, 308, 301, 302, 303])("%i to another origin: nothing is asked there", async (status) => {
    const target = `${other.origin}/steal?it=1`;
    server.say("/", `HTTP/1.1 ${status} Elsewhere`, `location: ${target}`, "", "");
    expect(await fault(put("/"))).toEqual({ kind: "redirect-elsewhere", target: `${other.origin}/steal` });
    expect(other.requests).toEqual([]);
  });

  test.each([
    ["another scheme", (origin: string) => origin.replace("http:", "https:")],
    ["another name of the same host", (origin: string) => origin.replace("127.0.0.1", "localhost")],
    ["a name before the host", (origin: string) => `${origin}@127.0.0.9/`],
    ["no scheme", () => "//127.0.0.9/x"],
    ["a backslash", () => "\\\\127.0.0.9\\x"],
    ["a file", () => "file:///etc/passwd"],
  ])("%s is another origin", async (_name, build) => {
    server.say("/", "HTTP/1.1 307 Elsewhere", `location: ${build(server.origin)}`, "", "");
    expect(await fault(put("/"))).toMatchObject({ kind: "redirect-elsewhere" });
  });

  test("loops end after three, the ones that lead nowhere at once", async () => {
    server.say("/", "HTTP/1.1 301 Again", "location: /", "", "");
    expect(await fault(put("/"))).toEqual({ kind: "redirects-in-circles" });
    expect(server.requests).toHaveLength(4);
    for (const line of ["x: y", "location:", "location: http://[", "location: http://"]) {
      server.say("/nowhere", "HTTP/1.1 301 Again", line, "", "");
      expect(await fault(put("/nowhere"))).toMatchObject({ kind: expect.stringMatching(/^redirect-/) });
    }
  });

  test("what a redirect sends beside its target is not read, and its connection does not stay", async () => {
    server.at("/", (socket) => {
      socket.write("HTTP/1.1 307 Here\r\nlocation: /good\r\n\r\n");
      writeForever(socket, "a".repeat(60_000), 1);
    });
    server.say("/good", `${HEAD}content-length: 2`, "", "ok");
    const answer = await put("/");
    expect([answer.content.toString(), answer.url.pathname]).toEqual(["ok", "/good"]);
    await expect.poll(() => server.open.size).toBe(0);
  });

  test("within the origin it is followed with the token, and a body with 307 and 308 alone", async () => {
    server.say("/good", `${HEAD}content-length: 2`, "", "ok");
    for (const status of [307, 308]) {
      server.say("/", `HTTP/1.1 ${status} Here`, "location: /good", "", "");
      expect((await put("/", { body: Buffer.from("the body") })).content.toString()).toBe("ok");
      expect(server.requests.at(-1)).toMatch(/^POST \/good [^]*authorization: Basic [^]*the body$/);
    }
    for (const status of [301, 302, 303]) {
      server.say("/", `HTTP/1.1 ${status} Here`, "location: /good", "", "");
      expect(await fault(put("/", { body: Buffer.from("x") }))).toEqual({ kind: "redirect-of-post", status });
      expect(await fault(put("/", { method: "PUT" }))).toEqual({ kind: "redirect-of-post", status });
    }
  });

  test("a name and password in the target are not sent", async () => {
    const target = server.origin.replace("//", "//eve:password@");
    server.say("/", "HTTP/1.1 307 Here", `location: ${target}/good`, "", "");
    server.say("/good", `${HEAD}content-length: 2`, "", "ok");
    const { url } = await put("/", { authorization: undefined });
    expect([url.username, url.password]).toEqual(["", ""]);
    expect(server.requests.at(-1)).not.toMatch(/authorization/i);
  });

  test("one that is to be kept is the answer", async () => {
    server.say("/", "HTTP/1.1 302 There", `location: ${other.origin}/`, "content-length: 0", "", "");
    expect((await put("/", { keepRedirect: true })).status).toBe(302);
    expect(other.requests).toEqual([]);
  });
});

describe("words", () => {
  test.each(["", "soon", "-1", "1e9", "0x10", "NaN", "Infinity", "12 monkeys", "9".repeat(400), "1;2"])(
    "a Retry-After of %j never keeps anybody for more than a quarter of an hour",
    (value) => {
      const waitMs = parseRetryAfter(value, Date.UTC(2026, 0, 1)) ?? 0;
      expect(waitMs).toBeGreaterThanOrEqual(0);
      expect(waitMs).toBeLessThanOrEqual(900_000);
    },
  );

  test("every fault says where it was and what to do, and shows nothing that the server sent but a target", () => {
    const place = {
      host: "git.example.com",
      who: "Git",
      urlKey: "source.git.url",
      redirectHint: "correct source.git.url",
      caKey: "source.git.ca_file",
      caFile: undefined,
    };
    const say = (given: Parameters<typeof describeExchange>[0]): string => describeExchange(given, place);
    expect([
      say({ kind: "late", deadlineMs: 10_000 }),
      say({ kind: "redirects-in-circles" }),
      say({ kind: "redirect-nowhere", status: 302 }),
      say({ kind: "redirect-elsewhere", target: "http://other/x" }),
      say({ kind: "redirect-of-post", status: 302 }),
      say({ kind: "encoded", encoding: "gzip" }),
    ]).toEqual([
      "git.example.com gave no whole answer within 10 s",
      "git.example.com redirects in circles: check source.git.url",
      "git.example.com redirects (302) without saying where to",
      "git.example.com redirects to http://other/x, another origin, where the token does not go: correct source.git.url",
      "git.example.com redirects a request of Git (302): check source.git.url",
      "git.example.com packs its answer (gzip), which was not asked for: check what is between",
    ]);
  });
});
