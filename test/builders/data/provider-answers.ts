// What an Infisical server can answer, and which class each answer is (ops table of provider answers). Two tests hold on to this one
// list: the docker lane shows that the real SDK in the real child makes of each wire answer the class that stands here, and a
// scenario shows what each class does to a service in each situation. Neither may say something of its own.

import type { SecretAnswer } from "../../../shared/secret/secret-provider.ts";
import type { FakeInfisical } from "../../fakes/fake-infisical.ts";

/** What becomes of a wire answer. */
type AnswerClass = SecretAnswer["kind"];

/** One row. */
export interface ProviderAnswer {
  name: string;
  class: AnswerClass;
  /** Makes a server answer like this; a token has been given before. */
  apply(server: FakeInfisical, path: string): void | Promise<void>;
  /** What the reason says. */
  says: RegExp;
  /** A reason as it was seen. */
  sample: string;
  /** How long the server wants to be left alone. */
  waitMs?: number;
  /** Only servers of this year answer like this. */
  only?: 2024 | 2026;
  /** Everything that the identity asks for is refused, and no folder can be listed: a round that failed. */
  ofAll?: true;
}

/** What the other tests of the table have beside the path that it is about, in a folder of its own. */
export const NEIGHBOUR = "/prod/db/PASSWORD";

/** On a machine that is busy enough the child has not come up before its own time is over, and is ended. */
const LATE = { says: /^no answer within 20 s$|it took longer than 25 s$/, sample: "no answer within 20 s" };

/** A wrong secret often enough locks the identity, and then the right one is refused as well. */
async function lockOut(server: FakeInfisical): Promise<void> {
  server.expireTokens();
  for (let tried = 0; tried < 3; tried += 1) await logInWrongly(server);
}

async function logInWrongly(server: FakeInfisical): Promise<void> {
  const body = JSON.stringify({ clientId: server.clientId, clientSecret: "wrong" });
  await fetch(`${server.url}/api/v1/auth/universal-auth/login`, { method: "POST", body });
}

function referOutOfScope(server: FakeInfisical, path: string): void {
  server.scopes = ["/prod"];
  server.secrets.set("/other/KEY", "canary-of-others");
  server.secrets.set(path, "x-${prod.other.KEY}-y");
}

/** It was the folder's own, and is now to be had through an import alone. */
function importOutOfScope(server: FakeInfisical, path: string): void {
  server.scopes = ["/prod"];
  server.secrets.delete(path);
  server.secrets.set(`/other${path.slice(path.lastIndexOf("/"))}`, "canary-of-others");
  server.imports.set(path.slice(0, path.lastIndexOf("/")), ["/other"]);
}

/** Every row of the table. */
export const PROVIDER_ANSWERS: readonly ProviderAnswer[] = [
  {
    name: "a network error",
    class: "unavailable",
    says: /ECONNREFUSED/,
    sample: "connect ECONNREFUSED 127.0.0.1:8080",
    apply: (server) => server.close(),
  },
  {
    name: "a timeout",
    class: "unavailable",
    ...LATE,
    apply: (server) => void (server.fault = { kind: "slow", ms: 40_000 }),
  },
  {
    name: "5xx",
    class: "unavailable",
    says: /^it answered 500: /,
    sample: "it answered 500: Something went wrong",
    apply: (server) =>
      void (server.fault = { kind: "status", status: 500, body: '{"message":"Something went wrong"}' }),
  },
  {
    name: "a rate limiter, with 429 or 500",
    class: "unavailable",
    says: /^it asks for fewer requests \((429|500)\)$/,
    sample: "it asks for fewer requests (500)",
    waitMs: 7_000,
    apply: (server) => void (server.fault = { kind: "rate", retryAfter: "7" }),
  },
  {
    name: "401, a token that was revoked",
    class: "value",
    says: /^$/,
    sample: "",
    apply: (server) => server.revokeTokens(),
  },
  {
    name: "401, a token that was used up",
    class: "value",
    says: /^$/,
    sample: "",
    apply: (server) => server.revokeTokens("used-up"),
  },
  {
    name: "a rotated client secret, which is on the host already",
    class: "value",
    says: /^$/,
    sample: "",
    apply: (server) => server.revokeTokens("secret-revoked"),
  },
  {
    name: "five wrong logins, then the right one",
    class: "value",
    says: /^$/,
    sample: "",
    only: 2024,
    apply: async (server) => {
      for (let tried = 0; tried < 5; tried += 1) await logInWrongly(server);
      server.expireTokens();
    },
  },
  {
    name: "a value with blanks at both ends and a final CRLF",
    class: "value",
    says: /^$/,
    sample: "",
    apply: (server, path) => void server.secrets.set(path, "  canary of the table\r\n"),
  },
  {
    name: "500 secrets in the folder",
    class: "value",
    says: /^$/,
    sample: "",
    apply: (server, path) => {
      const folder = path.slice(0, path.lastIndexOf("/"));
      for (let index = 0; index < 500; index += 1) server.secrets.set(`${folder}/MORE_${index}`, "canary");
    },
  },
  {
    name: "403, an address that is not trusted",
    class: "unavailable",
    says: /^it refuses everything: .*current IP address/,
    sample: "it refuses everything: the current IP address",
    apply: (server) => void (server.isTrustedAddress = false),
  },
  {
    name: "403, an identity out of the project",
    class: "unavailable",
    says: /^it refuses everything: You are not a member/,
    sample: "it refuses everything: You are not a member",
    apply: (server) => void (server.isMember = false),
  },
  {
    name: "404, an unknown project",
    class: "unavailable",
    says: /^it refuses everything: Project .*not found/,
    sample: "it refuses everything: Project not found",
    apply: (server) => void (server.isProjectThere = false),
  },
  {
    name: "403, an unknown environment",
    class: "denied",
    ofAll: true,
    only: 2024,
    says: /not allowed to read/,
    sample: "You are not allowed to read on secrets",
    apply: (server) => void (server.vault.environment = "renamed"),
  },
  {
    name: "404, an unknown environment",
    class: "not-found",
    ofAll: true,
    only: 2026,
    says: /^Folder with path .* not found; /,
    sample: "Folder with path '/prod/app' not found; ",
    apply: (server) => void (server.vault.environment = "renamed"),
  },
  {
    name: "403, every path",
    class: "denied",
    ofAll: true,
    says: /not allowed to/,
    sample: "You are not allowed to describeSecret on secrets",
    apply: (server) => void (server.vault.scopes = ["/elsewhere"]),
  },
  {
    name: "401, invalid credentials",
    class: "unavailable",
    waitMs: 60_000,
    says: /refused the login: Invalid credentials/,
    sample: "it refused the login: Invalid credentials",
    apply: (server) => {
      server.expireTokens();
      server.clientSecret = "another one by now";
    },
  },
  {
    name: "401, locked out",
    class: "unavailable",
    waitMs: 300_000,
    only: 2026,
    says: /refused the login: .*temporarily locked/,
    sample: "it refused the login: This identity auth method is temporarily locked",
    apply: lockOut,
  },
  {
    name: "403, PermissionDenied",
    class: "denied",
    says: /not allowed to/,
    sample: "You are not allowed to readValue on secrets",
    apply: (server) => void (server.scopes = ["/prod/db"]),
  },
  {
    name: "404",
    class: "not-found",
    says: /not found; if .* imports it/,
    sample: "Secret with name 'PASSWORD' not found; if /prod/app imports it, this identity",
    apply: (server, path) => void server.secrets.delete(path),
  },
  {
    name: "a reference that leads nowhere",
    class: "not-found",
    says: /^its reference \$\{NOT_THERE\} leads/,
    sample: "its reference ${NOT_THERE} leads nowhere",
    apply: (server, path) => void server.secrets.set(path, "x-${NOT_THERE}-y"),
  },
  {
    name: "a reference out of scope",
    class: "not-found",
    says: /^its reference \$\{prod\.other\.KEY\} leads/,
    sample: "its reference ${prod.other.KEY} leads nowhere",
    only: 2024,
    apply: referOutOfScope,
  },
  {
    name: "403, a reference out of scope",
    class: "denied",
    says: /expand .*KEY/,
    only: 2026,
    sample: "Failed to expand one or more secret references: KEY",
    apply: referOutOfScope,
  },
  {
    name: "404, an import out of scope",
    class: "not-found",
    says: /not found; if \/prod\/app imports it/,
    only: 2024,
    sample: "Secret not found; if /prod/app imports it",
    apply: importOutOfScope,
  },
  {
    name: "an import out of scope",
    class: "denied",
    says: /of \/other, which \/prod\/app imports/,
    only: 2026,
    sample: "of /other, which /prod/app imports",
    apply: importOutOfScope,
  },
  {
    name: "a blank value",
    class: "not-found",
    says: /^it is empty/,
    sample: "it is empty",
    apply: (server, path) => void server.secrets.set(path, " \n"),
  },
  {
    name: "a value that is hidden",
    class: "denied",
    only: 2026,
    says: /its value is hidden/,
    sample: "its value is hidden from this identity: give it the action readValue",
    apply: (server, path) => void server.hidden.add(path),
  },
  {
    name: "403, TokenError: expired",
    class: "value",
    says: /^$/,
    sample: "",
    apply: (server) => server.expireTokens(),
  },
  {
    name: "a hang",
    class: "unavailable",
    ...LATE,
    apply: (server) => void (server.fault = { kind: "hang" }),
  },
  {
    name: "a reset",
    class: "unavailable",
    says: /ECONNRESET|closed|hang up/,
    sample: "read ECONNRESET",
    apply: (server) => void (server.fault = { kind: "reset" }),
  },
];
