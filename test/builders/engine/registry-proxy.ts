// Stands before a real registry and makes it misbehave in the middle of a pull: 429, 500, or a layer that breaks off.

import { createServer, request, type Server } from "node:http";

/** How layers are answered. */
export type RegistryMood = "well" | "429" | "500" | "cut";

/** A proxy before a registry. */
export class RegistryProxy {
  mood: RegistryMood = "well";
  /** Layers asked for while the mood was bad. */
  refused = 0;
  readonly #server: Server;
  readonly #port: number;

  /**
   * @param port where it listens, on loopback
   * @param registry host and port of the real one
   */
  constructor(port: number, registry: string) {
    this.#port = port;
    const [host, target] = registry.split(":");
    this.#server = createServer((incoming, answer) => {
      const isLayer = incoming.method === "GET" && /\/blobs\//.test(incoming.url ?? "");
      if (isLayer && this.mood !== "well") this.refused += 1;
      if (isLayer && (this.mood === "429" || this.mood === "500")) {
        const code = this.mood === "429" ? "TOOMANYREQUESTS" : "UNKNOWN";
        answer.writeHead(Number(this.mood), { "content-type": "application/json", "retry-after": "1" });
        answer.end(JSON.stringify({ errors: [{ code, message: "not now" }] }));
        return;
      }
      const asked = request(
        { host, port: Number(target), method: incoming.method, path: incoming.url, headers: incoming.headers },
        (given) => {
          answer.writeHead(given.statusCode ?? 502, given.headers);
          if (isLayer && this.mood === "cut") {
            given.once("data", (chunk: Buffer) => {
              answer.write(chunk.subarray(0, Math.ceil(chunk.length / 2)), () => incoming.socket.destroy());
              given.destroy();
            });
            return;
          }
          given.pipe(answer);
        },
      );
      asked.on("error", () => answer.destroy());
      incoming.pipe(asked);
    });
  }

  start(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(this.#port, "127.0.0.1", () => resolve()));
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
