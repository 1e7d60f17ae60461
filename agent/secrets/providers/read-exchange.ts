// What the agent and its child that reads secrets say to each other: a line of JSON each, through pipes that nobody else
// holds. Values and tokens travel in it; it is never logged.

import type { SecretFilePlace } from "./secret-store-file.ts";

/** What the child is asked. */
export type ReadRequest = { kind: "file"; place: SecretFilePlace } | ({ kind: "infisical" } & InfisicalRequest);

/** Which server, project and environment, as which identity. */
export interface InfisicalPlace {
  url: string;
  project: string;
  environment: string;
  clientIdFile: string;
  clientSecretFile: string;
  /** The only CA that is trusted; undefined for those that Node trusts. */
  caFile: string | undefined;
}

/** One round of questions to an Infisical server. */
export interface InfisicalRequest {
  place: InfisicalPlace;
  paths: readonly string[];
  /** Folders outside of which nothing may be asked for. */
  within: readonly string[] | undefined;
  /** True where lists of a folder with all below it did not help. */
  flat: boolean;
  /** A token of an earlier round; undefined where a login is needed. */
  token: string | undefined;
  /** False while no login may be tried. */
  mayLogin: boolean;
  deadlineMs: number;
}

/** One path's answer, as it travels. */
export type WireAnswer =
  | { kind: "value"; value: string }
  | { kind: "unavailable"; reason: string; waitMs?: number }
  | { kind: "denied" | "not-found"; reason: string; listed?: boolean };

/** What the child answers. */
export interface ReadAnswer {
  /** What was read before a failure is among it. */
  answers: Record<string, WireAnswer>;
  /** Why the paths without an answer have none; `refused` where the server is well and says no. */
  failure?: { reason: string; waitMs?: number; refused?: "login" | "everything" };
  /** A list of a folder with all below it was refused or held nothing: one for each folder is better. */
  flat?: boolean;
  /** The token to use next time, and how long it is good; undefined where it is not good any more. */
  token?: { value: string; expiresInMs: number };
  /** Logins that were sent. */
  logins: number;
  /** Requests for lists and single secrets that were sent. */
  requests: number;
}

/** Said in place of a login that would come too soon. */
export const LOGIN_LATER = "a login is needed, and the last ones failed: it is tried again later";

/** How the child is called; not for people. */
export const READ_COMMAND = "read-secrets";
