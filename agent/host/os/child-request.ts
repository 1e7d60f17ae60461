// The child's side of child-process.ts: one request comes on stdin, one answer goes to stdout, and the child ends when its stdin does,
// since nobody waits for it then. For the hidden commands that the agent runs as processes of their own.

import { stdin, stdout } from "node:process";

/** Answers one request and ends the process; a failure is for `answer` to put into words. */
export async function serveParent<Request>(answer: (request: Request) => Promise<unknown>): Promise<never> {
  const text = JSON.stringify(await answer(await readRequest<Request>()));
  await new Promise<void>((resolve) => stdout.write(text, () => resolve()));
  process.exit(0);
}

/** The agent alone writes here: its line is taken as it is. */
async function readRequest<Request>(): Promise<Request> {
  const text = await new Promise<string>((resolve, reject) => {
    let received = "";
    stdin.setEncoding("utf8");
    stdin.on("data", (piece: string) => {
      received += piece;
      if (received.includes("\n")) resolve(received);
    });
    stdin.once("end", () => reject(new Error("there is no request on stdin; the agent asks this, not people")));
  });
  stdin.once("end", () => process.exit(1));
  return JSON.parse(text) as Request;
}
