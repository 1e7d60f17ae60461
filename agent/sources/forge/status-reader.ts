// Reads other nodes' words on a commit from the forge: what a rollout waits for. The API is loaded when it is first needed.

import type { GitLocation } from "../git/poll/git-exchange.ts";
import type { GiteaApi } from "./gitea-api.ts";
import type { ReadStatus } from "./rollout-watch.ts";

/** Makes a reader for one repository; the token that reads the repository reads its statuses too. */
export function createStatusReader({
  location,
  apiUrl,
}: {
  location: GitLocation;
  apiUrl: string | undefined;
}): ReadStatus {
  let api: GiteaApi | undefined;
  return async (sha, context, signal) => {
    const { GiteaApi: Api } = await import("./gitea-api.ts");
    const { url, tokenFile, caFile } = location;
    api ??= new Api({ url, apiUrl, tokenFile, tokenKey: "source.git.token_file", caFile });
    return api.readStatus(sha, context, signal);
  };
}
