// Pushes as Gitea tells of them: the payload, its signature and its headers.

import { createHmac, randomUUID } from "node:crypto";
import { request } from "node:http";

/** What a test may choose of a payload. */
export interface PushChoices {
  ref?: string;
  before?: string;
  after?: string;
  repository?: string;
}

const COMMIT = "5f0c2a1e7b7d4d539a410d6d3f1b1a015f0c2a1e";

/** The body of a push event, with the keys that Gitea sends and that matter. */
export function buildPush(choices: PushChoices = {}): string {
  const { ref = "refs/heads/main", before = "1".repeat(40), after = COMMIT, repository = "acme/platform" } = choices;
  return JSON.stringify({
    ref,
    before,
    after,
    compare_url: "",
    total_commits: 1,
    commits: [{ id: after, message: "change", added: [], removed: [], modified: ["README.md"] }],
    head_commit: after.startsWith("0000") ? null : { id: after },
    repository: { id: 1, full_name: repository, clone_url: `https://git.example.com/${repository}.git` },
    pusher: { login: "jane" },
  });
}

/** One request to a webhook. */
export interface PushRequest {
  body: string | Buffer;
  method?: string;
  path?: string;
  headers?: Record<string, string>;
  /** What it is signed with; left out for no signature. */
  secret?: string;
}

/** The answer to it. */
export interface PushReply {
  status: number;
  headers: Record<string, unknown>;
  body: { id?: string; message: string };
}

/** The headers of a delivery, as Gitea 1.21 sends them. */
export function signPush(body: string | Buffer, secret: string, event = "push"): Record<string, string> {
  const signature = createHmac("sha256", secret).update(body).digest("hex");
  const id = randomUUID();
  return {
    "content-type": "application/json",
    "x-gitea-delivery": id,
    "x-gitea-event": event,
    "x-gitea-event-type": event,
    "x-gitea-signature": signature,
    "x-gogs-delivery": id,
    "x-gogs-event": event,
    "x-gogs-signature": signature,
    "x-github-delivery": id,
    "x-github-event": event,
    "x-hub-signature-256": `sha256=${signature}`,
  };
}

/** Posts to a webhook. */
export function postPush(
  address: string,
  { body, method = "POST", path = "/webhook", ...rest }: PushRequest,
): Promise<PushReply> {
  const colon = address.lastIndexOf(":");
  const headers = { ...(rest.secret === undefined ? {} : signPush(body, rest.secret)), ...rest.headers };
  return new Promise((resolve, reject) => {
    const host = address.slice(0, colon).replaceAll(/[[\]]/g, "");
    const call = request({ host, port: address.slice(colon + 1), method, path, headers, agent: false }, (response) => {
      let text = "";
      response.on("data", (piece: Buffer) => (text += piece.toString()));
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: (text === "" ? { message: "" } : JSON.parse(text)) as PushReply["body"],
        }),
      );
    });
    call.on("error", reject);
    call.end(body);
  });
}
