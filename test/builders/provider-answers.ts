// What an Infisical server can answer, and which class each answer is (ops table of provider answers). Two tests hold on to this one
// list: the docker lane shows that the real SDK in the real child makes of each wire answer the class that stands here, and a
// scenario shows what each class does to a service in each situation. Neither may say something of its own.

import type { SecretAnswer } from "../../shared/secret-provider.ts";
import type { FakeInfisical } from "../fakes/fake-infisical.ts";

/** What becomes of a wire answer. */
export type AnswerClass = SecretAnswer["kind"];

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
  /** Only servers of 2026 answer like this. */
  isNew?: true;
}

const LATE = { says: /^no answer within 20 s$/, sample: "no answer within 20 s" };

/** A wrong secret often enough locks the identity, and then the right one is refused as well. */
async function lockOut(server: FakeInfisical): Promise<void> {
  server.expireTokens();
  const body = JSON.stringify({ clientId: server.clientId, clientSecret: "wrong" });
  const url = `${server.url}/api/v1/auth/universal-auth/login`;
  for (let tried = 0; tried < 3; tried += 1) await fetch(url, { method: "POST", body });
}

/** Every row of the table. */
export const PROVIDER_ANSWERS: readonly ProviderAnswer[] = [
  {
    ...{
      name: "a network error",
      class: "unavailable",
      says: /ECONNREFUSED/,
      sample: "connect ECONNREFUSED 127.0.0.1:8080",
    },
    apply: (server) => server.close(),
  },
  {
    ...{ name: "a timeout", class: "unavailable", ...LATE },
    apply: (server) => void (server.fault = { kind: "slow", ms: 40_000 }),
  },
  {
    ...{
      name: "5xx",
      class: "unavailable",
      says: /^it answered 500: /,
      sample: "it answered 500: Something went wrong",
    },
    apply: (server) =>
      void (server.fault = { kind: "status", status: 500, body: '{"message":"Something went wrong"}' }),
  },
  {
    ...{
      name: "429",
      class: "unavailable",
      says: /\(429\)$/,
      sample: "it asks for fewer requests (429)",
      waitMs: 7_000,
    },
    apply: (server) => void (server.fault = { kind: "rate", retryAfter: "7" }),
  },
  {
    ...{ name: "401, invalid credentials", class: "unavailable", waitMs: 60_000 },
    ...{ says: /refused the login: Invalid credentials/, sample: "it refused the login: Invalid credentials" },
    apply: (server) => {
      server.expireTokens();
      server.clientSecret = "another one by now";
    },
  },
  {
    ...{ name: "401, locked out", class: "unavailable", waitMs: 300_000, isNew: true },
    ...{
      says: /refused the login: .*temporarily locked/,
      sample: "it refused the login: This identity auth method is temporarily locked",
    },
    apply: lockOut,
  },
  {
    ...{
      name: "403, PermissionDenied",
      class: "denied",
      says: /not allowed to/,
      sample: "You are not allowed to readValue on secrets",
    },
    apply: (server) => void (server.scopes = ["/elsewhere"]),
  },
  {
    ...{ name: "404", class: "not-found", says: /not found/, sample: "Secret with name 'PASSWORD' not found" },
    apply: (server, path) => void server.secrets.delete(path),
  },
  {
    ...{ name: "a value that is hidden", class: "denied", isNew: true },
    ...{ says: /its value is hidden/, sample: "its value is hidden from this identity: give it the action readValue" },
    apply: (server, path) => void server.hidden.add(path),
  },
  {
    ...{ name: "403, TokenError: expired", class: "value", says: /^$/, sample: "" },
    apply: (server) => server.expireTokens(),
  },
  {
    ...{ name: "a hang", class: "unavailable", ...LATE },
    apply: (server) => void (server.fault = { kind: "hang" }),
  },
  {
    ...{ name: "a reset", class: "unavailable", says: /ECONNRESET|closed|hang up/, sample: "read ECONNRESET" },
    apply: (server) => void (server.fault = { kind: "reset" }),
  },
];
