// What is needed to speak with one server: its token, which goes there and nowhere else, and the CA that vouches for it. Both
// files are read anew for every question, so that they can be changed while the agent runs.

import { readFile } from "node:fs/promises";
import type { Agent } from "node:http";
import { Agent as HttpsAgent } from "node:https";

import type { Secret } from "../../shared/secret/secret.ts";
import { readSecretFile } from "../host/files/secret-file.ts";

/** Where a server's token and CA are. */
export interface OriginFiles {
  tokenFile: string | undefined;
  caFile: string | undefined;
}

/** One server. */
export class Origin {
  readonly #url: URL;
  readonly #files: OriginFiles;
  #kept: { ca: string | undefined; agent: Agent | undefined } | undefined;

  constructor(url: URL, files: OriginFiles) {
    this.#url = url;
    this.#files = files;
  }

  /**
   * Reads both files. Throws in words where one cannot be used.
   * @returns the token, and an agent that trusts the CA alone; undefined where the system's CAs are meant
   */
  async open(): Promise<{ token: Secret | undefined; agent: Agent | undefined }> {
    const { tokenFile, caFile } = this.#files;
    const token = tokenFile === undefined ? undefined : await readSecretFile(tokenFile);
    if (token?.expose() === "") throw new Error(`the token file ${tokenFile} is empty`);
    const ca = caFile === undefined ? undefined : await readFile(caFile, "utf8");
    if (this.#kept === undefined || this.#kept.ca !== ca) {
      this.#kept?.agent?.destroy();
      this.#kept = { ca, agent: openAgent(this.#url, ca) };
    }
    return { token, agent: this.#kept.agent };
  }
}

function openAgent(url: URL, ca: string | undefined): Agent | undefined {
  return url.protocol === "https:"
    ? new HttpsAgent({ keepAlive: false, ...(ca === undefined ? {} : { ca }) })
    : undefined;
}

/** A token of the form `user:token` is sent as Basic authentication, and one alone in the form that the server wants. */
export function buildAuthorization(token: Secret, describeAlone: (token: string) => string): string {
  const text = token.expose();
  return text.includes(":") ? buildBasic(text) : describeAlone(text);
}

/** Basic authentication of `user:password`. */
export function buildBasic(text: string): string {
  return `Basic ${Buffer.from(text).toString("base64")}`;
}
