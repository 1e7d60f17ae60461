// The short-lived child behind `orca read-secrets`: opens a file of secrets, or asks an Infisical server through its SDK.
// The agent starts it and nobody else; a request on stdin, an answer on stdout. Ends when its stdin does.

import { serveParent } from "../../host/os/child-request.ts";
import type { ReadAnswer, ReadRequest } from "./read-exchange.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** Runs the child and ends the process. A failure is an answer like any other. */
export function runRead(): Promise<never> {
  return serveParent(answerRequest);
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
    return { ...none, failure: { reason: readMessage(error) } };
  }
}
