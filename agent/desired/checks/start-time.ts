// Times of a release that do not fit each other: less time to be good than it is given to come up, so that it would be called failed while
// it still starts; less time to settle than lies between two checks, so that one check alone would make it good.

import { formatDuration } from "../../../shared/text/duration.ts";
import { blame, type FileFinding, type RepositoryView } from "./view/repository-view.ts";

/** Checks every manifest. */
export function checkStartTimes(view: RepositoryView): FileFinding[] {
  return [...checkWithin(view), ...checkSettle(view)];
}

/** `settle = "0s"` says by itself that the first check is enough. */
function checkSettle({ services }: RepositoryView): FileFinding[] {
  return services.flatMap((service) => {
    const { health, update } = service.manifest;
    if (health === undefined || update.settle === 0 || update.settle >= health.interval) return [];
    const [settle, interval] = [formatDuration(update.settle), formatDuration(health.interval)];
    return [
      blame(service, ["update", "settle"], {
        severity: "warning",
        code: "settle-short",
        message: `a release settles after ${settle}, and is checked every ${interval}: one good check would record it as good`,
        hint: `write ${interval} or more, or a shorter health.interval`,
      }),
    ];
  });
}

/** Checks every manifest that says both. What it leaves out follows the other. */
function checkWithin({ services }: RepositoryView): FileFinding[] {
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
