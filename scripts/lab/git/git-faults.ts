// The ways in which a Git server misbehaves, as data, and what each sends in place of git's own answer. Used by the test
// server alone.

import type { ServerResponse } from "node:http";

/** What is wrong with the server; `pack-…` let a poll through and spoil the pack alone. */
export type Fault =
  | { kind: "status"; status: number; headers?: Record<string, string> }
  | { kind: "html" }
  | { kind: "login-redirect" }
  | { kind: "foreign-redirect"; to: string }
  | { kind: "renamed"; to: string }
  | { kind: "garbage" }
  | { kind: "dumb" }
  | { kind: "reset" }
  | { kind: "hang" }
  | { kind: "protocol-0" }
  | { kind: "pack-half" }
  | { kind: "pack-cut" }
  | { kind: "pack-garbage" }
  | { kind: "pack-damaged" }
  | { kind: "pack-hang" }
  | { kind: "pack-status"; status: number }
  | { kind: "pack-refusal" }
  | { kind: "pack-endless" };

/** What a request was for. */
export type Purpose = "discover" | "list" | "pack" | "files";

/** Which request is spoilt. */
export interface Spoilt {
  url: URL;
  purpose: Purpose;
  /** The repository's path as the server knows it, without `.git`. */
  name: string;
}

const RESULT = { "content-type": "application/x-git-upload-pack-result" };

/** Answers in git's place where that is what is wrong; true when it did. */
export function spoilAnswer(response: ServerResponse, fault: Fault | undefined, spoilt: Spoilt): boolean {
  if (fault === undefined) return false;
  return fault.kind.startsWith("pack-")
    ? spoilt.purpose === "pack" && spoilPack(response, fault)
    : spoilAny(response, fault, spoilt);
}

function spoilAny(response: ServerResponse, fault: Fault, { url, purpose, name }: Spoilt): boolean {
  switch (fault.kind) {
    case "status":
      response.writeHead(fault.status, { "content-type": "text/plain", ...fault.headers }).end(`error ${fault.status}`);
      return true;
    case "html":
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<html>Sign in</html>");
      return true;
    case "login-redirect":
      if (url.pathname === "/user/login")
        response.writeHead(200, { "content-type": "text/html" }).end("<html>Sign in</html>");
      else response.writeHead(303, { location: "/user/login" }).end();
      return true;
    case "foreign-redirect":
      response.writeHead(307, { location: `${fault.to}${url.pathname}${url.search}` }).end();
      return true;
    case "renamed":
      if (!url.pathname.startsWith(`${name}.git/`)) return false;
      response.writeHead(307, { location: `${url.pathname.replace(`${name}.git`, fault.to)}${url.search}` }).end();
      return true;
    case "garbage": {
      const type = purpose === "discover" ? "advertisement" : "result";
      response
        .writeHead(200, { "content-type": `application/x-git-upload-pack-${type}` })
        .end(Buffer.alloc(5_000, 0xa5));
      return true;
    }
    case "dumb":
      response.writeHead(200, { "content-type": "text/plain" }).end(`${"0".repeat(40)}\trefs/heads/main\n`);
      return true;
    case "reset":
      response.socket?.resetAndDestroy();
      return true;
    case "hang":
      return true;
    default:
      return false;
  }
}

function spoilPack(response: ServerResponse, fault: Fault): boolean {
  switch (fault.kind) {
    case "pack-hang":
      return true;
    case "pack-status":
      response.writeHead(fault.status, { "content-type": "text/plain" }).end();
      return true;
    case "pack-garbage":
      response.writeHead(200, RESULT).end("no pack at all");
      return true;
    case "pack-refusal":
      response.writeHead(200, RESULT).end("0031ERR upload-pack: not our ref\u001b[31m 0123456789\n".slice(0, 0x31));
      return true;
    case "pack-endless":
      sendEndlessly(response);
      return true;
    default:
      return false;
  }
}

/** A pack that never ends: what a wrong repository, or a wrong server, can send. */
function sendEndlessly(response: ServerResponse): void {
  response.writeHead(200, RESULT);
  const packet = Buffer.concat([Buffer.from("fff0\u0001"), Buffer.alloc(0xfff0 - 5, 1)]);
  const more = (): void => {
    while (!response.destroyed && response.write(packet));
    if (!response.destroyed) response.once("drain", more);
  };
  more();
}
