// A port of loopback that nobody holds just now, for a program that a test starts.

import { createServer } from "node:net";

/** Finds one; another program may still take it before it is used. */
export async function findPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
