// Which versions of secrets services run with, and which services have settled: what the keeper and the builder are told
// after each turn. Pure.

import type { DesiredService } from "../../shared/desired-state.ts";
import { listHashVersions } from "../../shared/secret-facts.ts";
import type { ServiceView } from "../../shared/status.ts";

/** Every version that these services name. */
export function listVersions(services: readonly DesiredService[]): ReadonlySet<string> {
  return new Set(
    services.flatMap(({ spec, files }) => [
      ...Object.values(spec.secretEnv ?? {}),
      ...(spec.bootstrapFile === undefined ? [] : [spec.bootstrapFile]),
      ...files.flatMap(({ hash }) => listHashVersions(hash)),
    ]),
  );
}

/** The services that run what is wanted of them and have settled, or that are not meant to run. */
export function listSettled(views: readonly ServiceView[]): ReadonlySet<string> {
  const done = views.filter(
    ({ state, settled }) => (state === "healthy" && settled) || state === "stopped" || state === "completed",
  );
  return new Set(done.map((view) => view.name));
}
