// A platform's services as stand-ins that declare how long they take to become ready: what waits for what is the platform's own,
// everything else is busybox. For cold starts of whole fleets.

import { type ColdStartPlan, planColdStart } from "../../../agent/desired/cold-start/cold-start-plan.ts";
import type { PlacedService } from "../../../agent/desired/build/constraints.ts";
import { DEFAULT_PLAN_SETTINGS } from "../../../agent/plan/world.ts";
import { sha256 } from "../../../shared/state/identity.ts";
import { describeTarget } from "../../../shared/manifest/requirement.ts";
import { buildHttpd } from "../engine/real-node.ts";
import { readTopology } from "./topology.ts";

/** Why these services take no marked secrets. */
export const NO_MARKS = "cold starts are measured against what the services themselves take";

/** A realm of stand-ins. */
export interface ColdFleet {
  /** Node → realm, for a lab. */
  nodes: Record<string, string>;
  /** Node → service → manifest. */
  manifests: Record<string, Record<string, string>>;
  services: readonly PlacedService[];
  /** The cold start by the declared times alone. */
  plan: ColdStartPlan;
}

/** Databases, caches and applications take 6 to 18 s, drawn from the name, so that every run is the same. */
function declareSeconds(name: string, scale: number): number {
  const drawn = Number.parseInt(sha256(name).slice(0, 4), 16) / 0xff_ff;
  return Math.round((6 + 12 * drawn) * scale * 10) / 10;
}

/**
 * Builds one realm of a topology.
 * @param scale 1 for realistic times
 * @param patience the same for how long a requirement is waited for at most: where a slow machine must not reach that, more than `scale`
 */
export async function buildColdFleet(
  topology: string,
  realm: string,
  scale: number,
  patience = scale,
): Promise<ColdFleet> {
  const { fleet, services } = await readTopology(topology);
  const own = services.filter(({ node }) => fleet.nodes[node]?.env === realm);
  const manifests: Record<string, Record<string, string>> = {};
  const known = new Map<string, number>();
  for (const placed of own) {
    const name = `${placed.node}/${placed.service}`;
    const takes = declareSeconds(name, scale);
    known.set(name, takes * 1_000);
    (manifests[placed.node] ??= {})[placed.service] = buildStandIn(placed, takes, { scale, patience });
  }
  const { startSlots: slots, slotMs } = DEFAULT_PLAN_SETTINGS;
  return {
    nodes: Object.fromEntries(Object.keys(manifests).map((node) => [node, realm])),
    manifests,
    services: own,
    plan: planColdStart(own, { known, defaultMs: 0, slots, slotMs }),
  };
}

function buildStandIn(
  { manifest }: PlacedService,
  takes: number,
  { scale, patience }: { scale: number; patience: number },
): string {
  const requires = manifest.requires
    .filter(({ target }) => target.kind === "service")
    .map(({ target, expiresMs, then }) => {
      const on = JSON.stringify(describeTarget(target));
      return expiresMs === undefined
        ? on
        : `{ on = ${on}, expires = "${Math.round(expiresMs * patience)}ms", then = "${then}" }`;
    });
  const wants = manifest.wants
    .filter(({ kind }) => kind === "service")
    .map((target) => JSON.stringify(describeTarget(target)));
  return buildHttpd({
    top: [
      `requires = [${requires.join(", ")}]`,
      `wants = [${wants.join(", ")}]`,
      `wants_timeout = "${Math.round(300_000 * scale)}ms"`,
    ].join("\n"),
    command: `["/bin/sh", "-c", "sleep ${takes}; exec /bin/httpd -f -p 8080 -h /etc"]`,
    health: 'http = { port = 8080, path = "/passwd" }\nstart_period = "5m"',
    // Its times are measured against what the services themselves take.
    secrets: "",
  });
}
