// From the manifests that are in force to what is backed up on this node. Pure.

import type { Manifest } from "../../../shared/manifest/manifest.ts";
import { readAllowlist } from "../../../shared/manifest/fk-allowlist.ts";
import type {
  AllowedOrphan,
  HookPlan,
  StorePlan,
  StoreSourcePlan,
  VerifyPlan,
  WalPlan,
} from "../../../shared/state/backup.ts";
import type { DesiredService } from "../../../shared/state/desired-state.ts";
import { compareText } from "../../../shared/text/problem.ts";
import { planKeeping, type StoreFleet } from "./repository-plans.ts";

/** Who reads the store where the manifest does not say: what the environment of a stock image names, or its own superuser. */
const USERS: Readonly<Record<string, { variables: readonly string[]; own: string }>> = {
  postgres: { variables: ["POSTGRES_USER"], own: "postgres" },
  mysql: { variables: [], own: "root" },
};
/** How long a backup before an update is kept, unless its manifest says otherwise. */
const DEFAULT_KEEP_MS = 30 * 86_400_000;

/** Stands for every store of a service until all are known. */
export const EVERY_STORE = "*";

/** Names the stores of which services have backups first. */
export function nameNeeds(
  services: ReadonlyMap<string, DesiredService>,
  plans: readonly StorePlan[],
): ReadonlyMap<string, DesiredService> {
  return new Map([...services].map(([name, service]) => [name, nameStores(service, plans)]));
}

/** A service without any stays as it is written: the change waits until that is right. */
function nameStores(service: DesiredService, plans: readonly StorePlan[]): DesiredService {
  const { backupFirst } = service;
  if (backupFirst?.some(({ store }) => store === EVERY_STORE) !== true) return service;
  const needs = backupFirst.flatMap((need) => {
    if (need.store !== EVERY_STORE) return [need];
    const stores = plans.filter((plan) => plan.service === need.service).map(({ store }) => store);
    return stores.length === 0 ? [need] : stores.map((store) => ({ service: need.service, store }));
  });
  const unique = new Map(needs.map((need) => [`${need.service}/${need.store}`, need]));
  return { ...service, backupFirst: [...unique.values()] };
}

/** Reads a file that a manifest names; undefined where it is not at hand. */
type ReadText = (path: string) => string | undefined;

/** Every `[[backups]]` table of these services, in one order whatever theirs is. */
export function listStorePlans(
  services: readonly { service: string; manifest: Manifest }[],
  { readText, ...fleet }: StoreFleet & { readText: (service: string, path: string) => string | undefined },
): StorePlan[] {
  const plans = services.flatMap(({ service, manifest }) =>
    manifest.backups.map((backup) => ({
      service,
      store: backup.name,
      engine: backup.engine,
      schedule: backup.schedule,
      source: buildSource(manifest, backup),
      ...planKeeping(backup, fleet),
      keepMs: backup.before_update ? (backup.keep ?? DEFAULT_KEEP_MS) : undefined,
      retention: backup.retention,
      verify: buildVerify(backup.verify, (path) => readText(service, path)),
      rpoMs: manifest.slo?.rpo,
      ...(backup.wal === undefined ? {} : { wal: buildWal(backup.wal) }),
    })),
  );
  return plans.toSorted((one, other) => compareText(`${one.service}/${one.store}`, `${other.service}/${other.store}`));
}

type Backup = Manifest["backups"][number];

function buildSource(manifest: Manifest, backup: Backup): StoreSourcePlan {
  const { connect, command, exec, stop, image, hooks, memory, min_size: minBytes, engine, source: bucket } = backup;
  return {
    user: connect?.user ?? readUser(manifest, engine),
    password: connect?.password,
    databases: connect?.databases,
    command,
    exec,
    bucket,
    stop,
    volumes: manifest.volumes.map(({ name, source, target }) => ({ name: name ?? source ?? "", target })),
    image,
    hooks: { before: hooks.before.map(buildHook), after: hooks.after.map(buildHook) },
    memoryBytes: memory,
    minBytes,
  };
}

function buildWal({ base, ship, slot, window }: NonNullable<Backup["wal"]>): WalPlan {
  return { base, shipMs: ship, slot, windowMs: window };
}

function buildHook({ exec, timeout, on_error: onError }: Backup["hooks"]["before"][number]): HookPlan {
  return { argv: exec, timeoutMs: timeout, onError };
}

function buildVerify(verify: Backup["verify"], readText: ReadText): VerifyPlan | undefined {
  if (verify === undefined) return undefined;
  return {
    schedule: verify.schedule,
    image: verify.image,
    timeoutMs: verify.timeout,
    maxBytes: verify.max_size,
    extensions: verify.extensions,
    schemas: verify.schemas,
    queries: verify.queries,
    allowed: verify.fk_allowlist === undefined ? [] : readAllowed(verify.fk_allowlist, readText),
  };
}

function readAllowed(path: string, readText: ReadText): readonly AllowedOrphan[] | string {
  const text = readText(path);
  if (text === undefined) return `${path} is not there`;
  const read = readAllowlist(text);
  return typeof read === "string" ? `${path}: ${read}` : read;
}

function readUser({ env }: Manifest, engine: string): string {
  const { variables, own } = USERS[engine] ?? { variables: [], own: "" };
  const named = variables.map((name) => env[name]).find((user) => typeof user === "string" && user !== "");
  return typeof named === "string" ? named : own;
}
