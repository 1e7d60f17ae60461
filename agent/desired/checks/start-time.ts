// A release that is given less time to be good than it is given to come up: it would be called failed while it still starts.

import { formatDuration } from "../../../shared/text/duration.ts";
import { blame, type FileFinding, type RepositoryView } from "./view/repository-view.ts";

/** Checks every manifest that says both. What it leaves out follows the other. */
export function checkStartTimes({ services }: RepositoryView): FileFinding[] {
  return services.flatMap((service) => {
    const { health, update } = service.manifest;
    const neededMs = (health?.start_period ?? 0) + update.settle;
    const { healthy_within: withinMs } = update;
    if (withinMs === undefined || (health?.start_period ?? 0) === 0 || withinMs >= neededMs) return [];
    const needed = formatDuration(neededMs);
    return [
      blame(service, ["update", "healthy_within"], {
        severity: "error",
        code: "healthy-within",
        message:
          `a release must be good within ${formatDuration(withinMs)}, and may take ${needed} for that: ` +
          `health.start_period ${formatDuration(health?.start_period ?? 0)} and update.settle ${formatDuration(update.settle)}`,
        hint: `write ${needed} or more, or leave healthy_within out: then it follows the two`,
      }),
    ];
  });
}
