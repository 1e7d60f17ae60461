// A node whose source is a real Git server: for tests of the source alone and of the whole agent.

import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Clock } from "../../../agent/host/os/clock.ts";
import { type Fetch, fetchBy } from "../../../agent/sources/git/poll/git-child.ts";
import { decodeAnswer } from "../../../agent/sources/git/poll/git-exchange.ts";
import { answerRequest } from "../../../agent/sources/git/store/git-fetch.ts";
import { GitSource, type GitSourceOptions } from "../../../agent/sources/git/poll/git-source.ts";
import type { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";

// Many tests run the child: what Node made of its modules once is kept.
process.env["NODE_COMPILE_CACHE"] ??= join(tmpdir(), "orca-compile-cache");

/**
 * Fetches in this process, as the child does: for tests of what is fetched and judged, where a process for each fetch is most of the time.
 * What a process of its own brings (limits, kills, its end) is tested beside the source itself.
 */
export const fetchHere: Fetch = async (request) => decodeAnswer(await answerRequest(request), request.node);

/** What a test may choose of a source. */
export interface GitChoices extends Partial<Omit<GitSourceOptions, "location" | "clock">> {
  tokenFile?: string;
  caFile?: string;
  url?: string;
  branch?: string;
}

/** Opens a source on a server. */
export function openGitSource(server: GitServer, clock: Clock, choices: GitChoices = {}): GitSource {
  const { tokenFile, caFile, url = server.url, branch = "main", ...others } = choices;
  return new GitSource({
    location: { url, branch, tokenFile, caFile },
    path: "orca",
    node: "vm1",
    pollMs: 15_000,
    fetchMs: 20_000,
    limitBytes: 32 * 1024 ** 2,
    directory: join(server.root, "state"),
    fetch: fetchBy(PROGRAM),
    requestMs: 5_000,
    readStatus: () => Promise.reject(new Error("the test has no forge")),
    ...others,
    clock,
  });
}

/** The files of a repository: a fleet of two nodes, and this node's manifests. */
export function buildPlatform(
  manifests: Readonly<Record<string, string>>,
  others: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const own = Object.entries(manifests).map(([name, text]) => [`orca/manifests/vm1/${name}.toml`, text] as const);
  const fleet = ["vm1", "vm2"].map((node, index) => {
    return `[nodes.${node}]\naddress = "10.0.0.${index + 1}"\nenv = "prod"\nmemory = "8GiB"\n`;
  });
  return { "orca/fleet.toml": fleet.join("\n"), ...Object.fromEntries(own), ...others };
}
