// A proxy must open, late and with what there is, although what stands behind it never comes: else the death of one node shuts
// everything that is reached through it. Pure; used by lint.

import { formatDuration } from "../../../shared/text/duration.ts";
import { describeTarget } from "../../../shared/manifest/requirement.ts";
import { listTemplates } from "./files.ts";
import { blame, type FiledService, type FileFinding, type RepositoryView } from "./view/repository-view.ts";

/** Checks every service whose templates read the routes: that is what makes it a proxy. */
export function checkProxyWaits(view: RepositoryView): FileFinding[] {
  const proxies = new Set<FiledService>();
  for (const { service, text } of listTemplates(view)) if (/\broutes\b/.test(text)) proxies.add(service);
  return view.services.flatMap((service) => (proxies.has(service) ? checkProxy(service) : []));
}

function checkProxy(service: FiledService): FileFinding[] {
  const { requires, slo } = service.manifest;
  const rto = slo?.rto;
  return requires.flatMap(({ target, expiresMs, then }, index) => {
    if (then === "start" && expiresMs !== undefined && (rto === undefined || expiresMs < rto)) return [];
    const what = describeTarget(target);
    const promise = rto === undefined ? "" : `, and promises to be back in ${formatDuration(rto)}`;
    const end = then === "start" && expiresMs !== undefined ? `for ${formatDuration(expiresMs)}` : "without end";
    return [
      blame(service, ["requires", index], {
        severity: "warning",
        code: "proxy-wait",
        message: `this proxy waits ${end} for ${what}, should that never come${promise}`,
        hint: `write { on = "${what}", expires = "${suggest(rto)}", then = "start" }: it opens late rather than not at all`,
      }),
    ];
  });
}

/** A fifth of the time is left for the start itself. */
function suggest(rtoMs = 300_000): string {
  return formatDuration(Math.max(1_000, Math.floor((rtoMs * 0.8) / 1_000) * 1_000));
}
