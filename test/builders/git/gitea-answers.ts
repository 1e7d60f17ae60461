// What a Gitea server answers to a node that follows it (the wire's last section, and what it says of fetches and statuses), as one
// table: a test tries each row while services run, over a restart of the agent, over a boot of the host, and with a new deploy.

import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { CommitStatus } from "../../../agent/report/notify/commit-status.ts";
import { createLogger } from "../../../agent/report/log/logger.ts";
import type { TrustedKey } from "../../../shared/config/trusted-key.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { FakeGitea } from "../../fakes/fake-gitea.ts";
import { fetchHere, openGitSource } from "./git-node.ts";
import { makeKey, trust } from "./git-signing.ts";
import { TestNode } from "../node/node.ts";

/** A node that follows a repository on a forge, and tells it what became of a commit. */
export interface ForgeNode {
  node: TestNode;
  server: GitServer;
  forge: FakeGitea;
  /** Who may change this node; undefined: whoever may push. */
  keys: readonly TrustedKey[] | undefined;
  dispose(): Promise<void>;
}

/** Opens one; the agent is not started yet. */
export async function openForgeNode(): Promise<ForgeNode> {
  const server = await new GitServer().start();
  const forge = await new FakeGitea().start();
  const statusToken = join(server.root, "status-token");
  writeFileSync(statusToken, "writer\n", { mode: 0o600 });
  server.isPrivate = true;
  const tokenFile = server.writeToken();
  const node = new TestNode({
    openSource: (clock) =>
      openGitSource(server, clock, {
        fetch: fetchHere,
        tokenFile,
        requestMs: 2_000,
        fetchMs: 60_000,
        readKeys: async () => one.keys,
      }),
    openSink: (clock, stateDir) => {
      const logger = createLogger("error", { write: () => undefined });
      const sink = new CommitStatus({ node: "vm1", stateDir, clock, logger, deadlineMs: 400 });
      const told = { url: forge.url, apiUrl: undefined, tokenFile: statusToken, caFile: undefined };
      sink.configure({ ...told, targetUrl: undefined });
      return sink;
    },
  });
  const dispose = async (): Promise<void> => {
    await node.dispose();
    await server.dispose();
    await forge.stop();
  };
  const one: ForgeNode = { node, server, forge, keys: undefined, dispose };
  return one;
}

/** What an answer is to the agent. */
type GiteaEffect =
  /** The repository cannot be read: what is in force stays. */
  | "unread"
  /** A commit is read and not followed. */
  | "not-followed"
  /** It is followed, and a note says what to look at; or nothing is different. */
  | "followed"
  /** It is followed, and the forge is not told. */
  | "untold";

/** One row. */
export interface GiteaAnswer {
  name: string;
  effect: GiteaEffect;
  /** The forge answers like this from now on. */
  apply(one: ForgeNode): void | Promise<void>;
  /** It answers well again. */
  heal(one: ForgeNode): void | Promise<void>;
  /** What status says of it; left out where nothing is said. */
  says?: RegExp;
  /** True where only a person, and no further try, changes it. */
  lasting?: true;
}

const wellAgain = ({ server }: ForgeNode): void => void (server.fault = undefined);
const forgeWellAgain = ({ forge }: ForgeNode): void => void (forge.fault = undefined);

type Part = Omit<GiteaAnswer, "effect" | "heal"> & Partial<Pick<GiteaAnswer, "heal">>;

function complete(effect: GiteaEffect, heal: GiteaAnswer["heal"], rows: readonly Part[]): GiteaAnswer[] {
  return rows.map((row) => ({ heal, effect, ...row }));
}

/** The token that tells statuses is another one, as an administrator changed its rights. */
function tellAs(token: string): (one: ForgeNode) => void {
  return ({ server }) => writeFileSync(join(server.root, "status-token"), `${token}\n`, { mode: 0o600 });
}

const UNREAD = complete("unread", wellAgain, [
  {
    name: "401, the token was revoked",
    says: /\(401\)/,
    apply: ({ server }) => void server.writeToken("revoked"),
    heal: ({ server }) => void server.writeToken(),
  },
  {
    name: "403, the token lacks the repository scope",
    says: /\(403\)/,
    apply: ({ server }) => void (server.fault = { kind: "status", status: 403 }),
  },
  {
    name: "404, no access or no repository",
    says: /finds no such repository \(404\)/,
    apply: ({ server }) => void (server.fault = { kind: "status", status: 404 }),
  },
  {
    name: "429 with retry-after",
    says: /\(429\)/,
    apply: ({ server }) => void (server.fault = { kind: "status", status: 429, headers: { "retry-after": "30" } }),
  },
  {
    name: "500",
    says: /failed \(500\)/,
    apply: ({ server }) => void (server.fault = { kind: "status", status: 500 }),
  },
  {
    name: "a portal's page with 200",
    says: /a web page in place of Git's data/,
    apply: ({ server }) => void (server.fault = { kind: "html" }),
  },
  {
    name: "a redirect to its login page",
    says: /a web page in place of Git's data|redirects a request of Git/,
    apply: ({ server }) => void (server.fault = { kind: "login-redirect" }),
  },
  {
    name: "a connection that is reset",
    says: /was cut before the answer was whole/,
    apply: ({ server }) => void (server.fault = { kind: "reset" }),
  },
  {
    name: "nothing at all, it is down",
    says: /nothing listens/,
    apply: ({ server }) => server.stop(),
    heal: async ({ server }) => void (await server.start()),
  },
  {
    name: "an empty repository",
    says: /the repository is empty/,
    apply: ({ server }) => hideBranch(server),
    heal: ({ server }) => showBranch(server),
  },
]);

/** The commits of repositories that were emptied. */
const hidden = new Map<GitServer, string>();

function hideBranch(server: GitServer): void {
  hidden.set(server, server.repository.tip() ?? "");
  server.repository.git("update-ref", "-d", "refs/heads/main");
}

function showBranch(server: GitServer): void {
  server.repository.git("update-ref", "refs/heads/main", hidden.get(server) ?? "");
}

const FOLLOWED: readonly GiteaAnswer[] = [
  {
    name: "307, the repository was renamed; fetches and statuses are still taken",
    effect: "followed",
    says: /the repository was renamed; write its new URL into source\.git\.url/,
    apply: ({ server, forge }) => {
      server.fault = { kind: "renamed", to: "/acme/newname" };
      forge.renamed.clear();
      forge.renamed.add("acme/platform");
      forge.repository = "acme/newname";
    },
    heal: (one) => {
      wellAgain(one);
      // Its name is the old one again: of the other one, Gitea redirects now.
      one.forge.renamed.clear();
      one.forge.renamed.add("acme/newname");
      one.forge.repository = "acme/platform";
    },
  },
  {
    name: "no push: its webhook refuses this node's private address",
    effect: "followed",
    apply: () => undefined,
    heal: () => undefined,
  },
  {
    name: "403, a merge by its API is not signed, and keys are asked for",
    effect: "not-followed",
    says: /is not trusted: it is not signed/,
    lasting: true,
    apply: (one) =>
      void (one.keys = [trust(makeKey(mkdtempSync(join(one.server.root, "keys-")), "ops"), ["vm1"], true)]),
    heal: (one) => void (one.keys = undefined),
  },
];

const UNTOLD = complete("untold", forgeWellAgain, [
  {
    name: "403, the status token may only read",
    says: /needs the scope write:repository/,
    apply: tellAs("reader"),
    heal: tellAs("writer"),
  },
  {
    name: "403, the status token's user may not write",
    says: /may not write the repository/,
    apply: tellAs("weak"),
    heal: tellAs("writer"),
  },
  {
    name: "404, the status token's user has no access",
    says: /finds no such repository or commit \(404\)/,
    apply: tellAs("stranger"),
    heal: tellAs("writer"),
  },
  {
    name: "401, the status token is unknown",
    says: /does not know the token in .* \(401\)/,
    apply: tellAs("nonsense"),
    heal: tellAs("writer"),
  },
  {
    name: "500 with no words, a commit that it does not have",
    says: /\(500\)|the commit may be gone there/,
    apply: ({ forge }) => void (forge.commits = new Set()),
    heal: ({ forge }) => void (forge.commits = undefined),
  },
  {
    name: "429 to a status, with retry-after",
    says: /limits the rate of requests \(429\)/,
    apply: ({ forge }) => void (forge.fault = { kind: "status", status: 429, headers: { "retry-after": "60" } }),
  },
  {
    name: "its login page to a status",
    says: /answers with a web page/,
    apply: ({ forge }) => void (forge.fault = { kind: "html" }),
  },
  {
    name: "no answer to a status",
    says: /no whole answer within/,
    apply: ({ forge }) => void (forge.fault = { kind: "hang" }),
  },
]);

/** Every row. */
export const GITEA_ANSWERS: readonly GiteaAnswer[] = [...UNREAD, ...FOLLOWED, ...UNTOLD];
