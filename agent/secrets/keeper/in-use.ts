// Which versions of secrets services run with: what the keeper is told after each turn. Pure.

import type { DesiredService } from "../../../shared/state/desired-state.ts";
import { listContentVersions } from "../../../shared/state/file-content.ts";

/** Every version that these services name. */
export function listVersions(services: readonly DesiredService[]): ReadonlySet<string> {
  return new Set(
    services.flatMap(({ spec, files }) => [
      ...Object.values(spec.secretEnv ?? {}),
      ...(spec.bootstrapFile === undefined ? [] : [spec.bootstrapFile]),
      ...files.flatMap(({ content }) => listContentVersions(content)),
    ]),
  );
}
