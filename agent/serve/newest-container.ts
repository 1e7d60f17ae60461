// The container of a service that a person wants to look into, or why there is none to look into. Called by log-stream.ts and
// exec-stream.ts.

import type { StatusDocument } from "../../shared/document/status-document.ts";

/** The id of a service's newest container, or why nobody can name one now. */
export function findNewestContainer(
  { services, engine }: StatusDocument,
  service: string,
): { id: string } | { refusal: string } {
  const { container, state } = services.find((entry) => entry.name === service) ?? {};
  if (container !== undefined && container !== null) return { id: container };
  // An engine that is away tells of no container; that is not to say that there is none.
  return engine.reachable
    ? { refusal: `${service} has no container (it is ${state ?? "unknown"})` }
    : {
        refusal: `the engine does not answer, so nobody knows the container of ${service}: ${engine.reason ?? "no reason"}`,
      };
}
