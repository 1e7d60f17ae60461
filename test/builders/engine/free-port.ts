// What there is once on a machine: ports, subnets, and fixtures that bear fixed names. Whoever is given one has it for as long as its
// process lives, whatever else runs tests on the machine: each is held by a socket in the kernel's abstract namespace.

import { createServer, type Server } from "node:net";

/** Below the ports that the kernel hands out by itself, and above those of services. */
const PORTS = { first: 20_100, count: 12_000 };
/** 10.211.N.0/24: none of the engine's own pools. */
const SUBNETS = { first: 1, count: 250 };
const ASK_AGAIN_MS = 200;

/** Finds a port of loopback that nobody has. */
export function findPort(): Promise<number> {
  return findOne("port", PORTS, isFree);
}

/** Finds a subnet for a network of the engine; answers its first three numbers. */
export async function findSubnet(): Promise<string> {
  return `10.211.${await findOne("subnet", SUBNETS, async () => true)}`;
}

/** Waits until no other run holds a thing that bears a fixed name. */
export async function holdAlone(name: string): Promise<void> {
  while (!(await hold(name))) await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
}

async function findOne(
  kind: string,
  { first, count }: { first: number; count: number },
  isUsable: (number: number) => Promise<boolean>,
): Promise<number> {
  const start = Math.floor(Math.random() * count);
  for (let step = 0; step < count; step += 1) {
    const number = first + ((start + step) % count);
    if ((await isUsable(number)) && (await hold(`${kind}/${number}`))) return number;
  }
  throw new Error(`every ${kind} is taken`);
}

/** Takes a name unless another process that lives has it. */
export async function hold(name: string): Promise<boolean> {
  const server = await listen({ path: `\0orca-test/${name}` });
  server?.unref();
  return server !== undefined;
}

/** A program that no test knows may listen there. */
async function isFree(port: number): Promise<boolean> {
  const server = await listen({ port, host: "0.0.0.0" });
  if (server === undefined) return false;
  await new Promise((resolve) => server.close(resolve));
  return true;
}

function listen(place: { path: string } | { port: number; host: string }): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen(place, () => resolve(server));
  });
}
