// The short-lived child behind `orca read-secrets`: opens a file of secrets, or asks an Infisical server through its SDK.
// The agent starts it and nobody else; a request on stdin, an answer on stdout. Ends when its stdin does.

import { stdin, stdout } from "node:process";

import type { ReadAnswer, ReadRequest } from "./read-exchange.ts";

/** Runs the child and ends the process. A failure is an answer like any other. */
export async function runRead(): Promise<never> {
  const answer = await answerRequest(await readRequest());
  await new Promise<void>((resolve) => stdout.write(JSON.stringify(answer), () => resolve()));
  process.exit(0);
}

async function readRequest(): Promise<ReadRequest> {
  const text = await new Promise<string>((resolve, reject) => {
    let received = "";
    stdin.setEncoding("utf8");
    stdin.on("data", (piece: string) => {
      received += piece;
      if (received.includes("\n")) resolve(received);
    });
    stdin.once("end", () => reject(new Error("there is no request on stdin; the agent asks this, not people")));
  });
  // The agent is gone when stdin ends: nobody waits for the answer.
  stdin.once("end", () => process.exit(1));
  return JSON.parse(text) as ReadRequest;
}

async function answerRequest(request: ReadRequest): Promise<ReadAnswer> {
  const none = { answers: {}, logins: 0, requests: 0 };
  try {
    if (request.kind === "infisical") return await (await import("./infisical-read.ts")).readInfisical(request);
    const { readSecretTable } = await import("./secret-store-file.ts");
    const table = await readSecretTable(request.place);
    return {
      ...none,
      answers: Object.fromEntries([...table].map(([path, value]) => [path, { kind: "value", value }])),
    };
  } catch (error) {
    return { ...none, failure: { reason: error instanceof Error ? error.message : String(error) } };
  }
}
