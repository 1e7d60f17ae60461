// `orca fleet plan`: how a realm would come up after a power loss, by its repository and by what starts took when a running
// agent last saw them.

import { type ColdStartPlan, planColdStart } from "../../desired/cold-start/cold-start-plan.ts";
import { DEFAULT_PLAN_SETTINGS } from "../../plan/world.ts";
import { layOutTable } from "../../report/text/text-table.ts";
import { describeDuration, parseDuration } from "../../../shared/text/duration.ts";
import { FLEET_SCHEMA, type FleetDocument } from "../../../shared/document/fleet-document.ts";
import { AgentClient, type ClientOptions, expectJson } from "../frame/client.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import type { RepositoryView } from "../../desired/checks/view/repository-view.ts";
import { readRepository } from "../lint/lint-read.ts";
import { describeOutput, printDocument, printText } from "../frame/terminal.ts";
import { describeCount } from "../../../shared/text/count.ts";

/** The options of `orca fleet plan`. */
export interface FleetPlanOptions extends ClientOptions {
  env?: string;
  assume: string;
  json?: boolean;
}

/** Runs `orca fleet plan`; answers the exit code. */
export async function fleetPlan(directory: string, options: FleetPlanOptions): Promise<number> {
  const defaultMs = parseDuration(options.assume);
  if (defaultMs === undefined) throw new CommandError(`--assume ${options.assume} is not a duration: write 5s`);
  const { view } = await readRepository(directory);
  const realm = chooseRealm(
    Object.values(view.fleet.fleet?.nodes ?? {}).map(({ env }) => env),
    options.env,
  );
  const services = view.services.filter(({ node }) => view.fleet.fleet?.nodes[node]?.env === realm);
  const known = await readTimes(options);
  const { startSlots: slots, slotMs } = DEFAULT_PLAN_SETTINGS;
  const plan = planColdStart(services, { known, defaultMs, slots, slotMs });
  if (options.json === true) printDocument({ realm, ...plan });
  else printText(printColdStartPlan(plan, { realm, defaultMs, unusable: countUnusable(view, realm) }));
  return EXIT.ok;
}

function chooseRealm(found: readonly string[], asked: string | undefined): string {
  const realms = [...new Set(found)].toSorted();
  if (asked !== undefined && !realms.includes(asked))
    throw new CommandError(`there is no realm ${asked}; there are ${realms.join(", ")}`);
  const [only, ...more] = realms;
  if (asked !== undefined) return asked;
  if (only === undefined)
    throw new CommandError("there is no valid fleet.toml with a node in it: orca lint says what is wrong");
  if (more.length > 0) throw new CommandError(`name a realm with --env: there are ${realms.join(", ")}`);
  return only;
}

/** Manifests of this realm that cannot be read, of which nobody knows what they start. */
function countUnusable({ fleet, namesOf, servicesOf }: RepositoryView, realm: string): number {
  return Object.entries(fleet.fleet?.nodes ?? {})
    .filter(([, { env }]) => env === realm)
    .reduce((sum, [node]) => sum + (namesOf.get(node)?.size ?? 0) - (servicesOf.get(node)?.length ?? 0), 0);
}

/** What starts took, as a running agent knows it; without one nothing is known, and all is assumed. */
async function readTimes(options: ClientOptions): Promise<Map<string, number>> {
  const client = new AgentClient(options);
  const times = new Map<string, number>();
  try {
    const fleet = expectJson<Partial<FleetDocument>>(await client.read("/v1/fleet", "application/json"));
    if (fleet.schema !== FLEET_SCHEMA) return times;
    for (const { node, services } of fleet.nodes ?? [])
      for (const { name, startSeconds } of services)
        if (startSeconds !== null) times.set(`${node}/${name}`, startSeconds * 1_000);
  } catch (error) {
    // Whoever names a socket wants its answer.
    if (client.isNamed) throw error;
  }
  return times;
}

const COLUMNS = [
  { heading: "WAVE", align: "right" },
  { heading: "SERVICE", least: 24 },
  { heading: "STARTS", align: "right" },
  { heading: "TAKES", align: "right" },
  { heading: "READY", align: "right" },
  { heading: "WAITS FOR", least: 12 },
] as const;

/** What a plan is printed with. */
interface PlanFacts {
  realm: string;
  /** What a start takes that was never measured. */
  defaultMs: number;
  unusable: number;
}

/** Prints a cold start as it would go; what is assumed is said to be so, and what is left out too. */
export function printColdStartPlan(plan: ColdStartPlan, { realm, defaultMs, unusable }: PlanFacts): string {
  const { services, criticalPath, criticalMs, totalMs } = plan;
  const left =
    unusable === 0
      ? []
      : [`${describeCount(unusable, "manifest is", "manifests are")} left out, since orca lint finds errors there`];
  if (services.length === 0) return [`cold start of ${realm}: nothing starts`, ...left, ""].join("\n");
  const shown = (ms: number): string => describeDuration(Math.round(ms / 100) * 100);
  const rows = services.map(({ wave, name, startMs, takesMs, isAssumed, readyMs, waitsFor }) => [
    String(wave + 1),
    name,
    shown(startMs),
    `${shown(takesMs)}${isAssumed ? "?" : ""}`,
    shown(readyMs),
    waitsFor.join(", "),
  ]);
  const assumed = services.filter(({ isAssumed }) => isAssumed).length;
  const standsIn = `${shown(defaultMs)} stands in (--assume)`;
  const measured =
    assumed === services.length
      ? [`no start was measured here: for each of them ${standsIn}`]
      : assumed === 0
        ? []
        : [
            `${describeCount(assumed, "start marked with ? was", "starts marked with ? were")} never measured: ${standsIn}`,
          ];
  return [
    `cold start of ${realm}: ${describeCount(services.length, "service")}, ready after ${shown(totalMs)}`,
    `critical path ${shown(criticalMs)}: ${criticalPath.join(" → ")}`,
    ...measured,
    ...left,
    "",
    ...layOutTable(COLUMNS, rows, { width: describeOutput().width }),
    "",
  ].join("\n");
}
