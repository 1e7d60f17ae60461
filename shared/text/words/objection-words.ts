// Why Git's word for a service is not in force, in words; part of describe-reason.ts's table. Pure.

import { describeSecretKind } from "../../secret/secret-refusal.ts";
import type { ObjectionReason } from "../../state/reason.ts";
import { describeProblem } from "../problem.ts";
import type { WordTable } from "./word-table.ts";

/** One sentence for each way in which a manifest cannot be followed. */
export const OBJECTION_WORDS: WordTable<ObjectionReason> = {
  "manifest-invalid": ({ first, more }) =>
    first === undefined ? "its manifest is invalid" : `${describeProblem(first)}${describeMore(more)}`,
  "parts-missing": ({ problems }) => problems.map(describeProblem).join("; "),
  "build-fault": ({ message }) =>
    `it cannot be built: ${message}; this is a fault of Orca's: report it with the manifest`,
  "constraint-broken": ({ message, hint }) => `${message}; ${hint}`,
  "release-refused": ({ revision, why, objection }, { of }) => {
    const refused = `its release ${revision} may not take its place: ${of(why)}`;
    return objection === undefined ? refused : `${of(objection)}; ${refused}`;
  },
  "policy-refuses": ({ first: { key, message, rule }, more }) =>
    `the host's policy refuses it: ${key}: ${message}; rule ${rule}${describeMore(more)}`,
  "source-unsteady": ({ message }) => message,
  "file-undeliverable": ({ target, message }) => `${target} cannot be delivered: ${message}`,
  "backup-first": ({ of, trouble, doing, now: { sinceMs } }, { age }) => {
    const done = doing === undefined ? "" : ` (${doing})`;
    const why =
      trouble === undefined
        ? ""
        : `; there is none: ${trouble}; in an emergency, a commit whose message ends with Orca-Emergency: <why> does not wait`;
    return `it gets its new container after a verified backup of ${of.join(", ")}${done}, waiting for ${age(sinceMs)}${why}`;
  },
  "promise-broken": ({ promise }) =>
    promise === "unknown"
      ? "slo.freeze holds its changes until the agent knows whether its promises hold"
      : `slo.${promise} is broken (see orca slo), and slo.freeze holds its changes until it is not; a commit whose message ends with Orca-Emergency: <why> does not wait`,
  "no-provider": () =>
    "it takes secrets, and no provider is configured: write [secrets] into agent.toml, or --secrets FILE",
  "secret-pending": ({ path }) => `the secret ${path} is being read`,
  "secret-missing": ({ path, kind, message }) => `the secret ${path} ${describeSecretKind(kind)}: ${message}`,
  "not-started": ({ why }, { of }) => `it is not started: ${of(why)}`,
};

function describeMore(more: number): string {
  return more === 0 ? "" : ` (and ${more} more)`;
}
