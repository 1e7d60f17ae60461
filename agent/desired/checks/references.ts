// Names in manifests that must exist: what a service waits for, where it backs up to, where it came from. And what may
// not be waited for although it exists: a service of another realm, a service that is stopped.

import { quoteText } from "../../../shared/text/problem.ts";
import { describeTarget, type RequirementTarget } from "../../../shared/manifest/requirement.ts";
import { NearNames } from "./view/near-name.ts";
import {
  blame,
  type Fault,
  type FiledService,
  type FileFinding,
  findRealm,
  type RepositoryView,
} from "./view/repository-view.ts";

/** Checks every name that a manifest refers to. */
export function checkReferences(view: RepositoryView): FileFinding[] {
  const near = new NearNames();
  return view.services.flatMap((service) => [
    ...checkTargets(view, service, near),
    ...checkRepositories(view, service, near),
    ...checkOrigin(view, service),
  ]);
}

function checkTargets(view: RepositoryView, service: FiledService, near: NearNames): FileFinding[] {
  const { requires, wants } = service.manifest;
  const targets = [
    ...requires.map(({ target }, index) => ({ target, path: ["requires", index] })),
    ...wants.map((target, index) => ({ target, path: ["wants", index] })),
  ];
  const findings: FileFinding[] = [];
  for (const { target, path } of targets) {
    if (target.kind === "endpoint") continue;
    const fault = judgeTarget(view, service, { target, waits: path[0] === "requires", near });
    if (fault !== undefined) findings.push(blame(service, path, fault));
  }
  return findings;
}

interface Judged {
  target: Extract<RequirementTarget, { kind: "service" }>;
  /** True for `requires`, which waits without end. */
  waits: boolean;
  near: NearNames;
}

function judgeTarget(view: RepositoryView, service: FiledService, { target, waits, near }: Judged): Fault | undefined {
  const node = target.node ?? service.node;
  const names = view.namesOf.get(node);
  if (names === undefined && findRealm(view.fleet.fleet, node) === undefined) {
    const meant = near.suggest(node, view.nodes);
    const hint =
      meant === undefined ? describeElsewhere(view, target.service) : `did you mean "${meant}/${target.service}"?`;
    return { severity: "error", code: "unknown-node", message: `there is no node ${quoteText(node)}`, hint };
  }
  const found = names?.get(target.service);
  if (found === undefined) return describeUnknown(view, { target, node, near });
  const here = findRealm(view.fleet.fleet, service.node);
  const there = findRealm(view.fleet.fleet, node);
  if (here !== undefined && there !== undefined && here !== there) {
    const message = `${describeTarget(target)} is in the realm ${there}, and this service is in ${here}`;
    const hint = `realms know nothing of each other's health: wait for an endpoint ("https://…", "tcp://host:port") instead`;
    return { severity: "error", code: "across-realms", message, hint };
  }
  if (found.manifest?.state !== "stopped" || service.manifest.state === "stopped") return undefined;
  const message = `${describeTarget(target)} has state = "stopped"`;
  const hint = waits
    ? "this service will wait for it without end: start it, or take it out"
    : "start it, or take it out";
  return { severity: "warning", code: "waits-for-stopped", message, hint };
}

function describeUnknown(
  view: RepositoryView,
  { target, node, near }: { target: Judged["target"]; node: string; near: NearNames },
): Fault {
  const elsewhere = view.nodesOf.get(target.service);
  const meant = near.suggest(target.service, view.namesOf.get(node)?.keys() ?? []);
  const written = target.node === undefined ? (meant ?? "") : `${node}/${meant}`;
  // The right name on another node is a better guess than a near name on this one.
  const hint =
    elsewhere === undefined && meant !== undefined
      ? `did you mean ${quoteText(written)}?`
      : describeElsewhere(view, target.service);
  const message = `there is no service ${quoteText(target.service)} on ${node}`;
  return { severity: "error", code: "unknown-service", message, hint };
}

function describeElsewhere(view: RepositoryView, service: string): string {
  const nodes = view.nodesOf.get(service);
  return nodes === undefined
    ? "write its manifest, or take it out"
    : `did you mean ${nodes
        .slice(0, 3)
        .map((node) => `"${node}/${service}"`)
        .join(" or ")}?`;
}

/** The repository that exists on every node without being named. */
const LOCAL_REPOSITORY = "local";

function checkRepositories(view: RepositoryView, service: FiledService, near: NearNames): FileFinding[] {
  const { fleet } = view.fleet;
  if (fleet === undefined) return [];
  return service.manifest.backups.flatMap(({ repositories }, index) =>
    repositories.flatMap((name, entry) => {
      if (name === LOCAL_REPOSITORY || Object.hasOwn(fleet.repositories, name)) return [];
      const known = [...Object.keys(fleet.repositories), LOCAL_REPOSITORY];
      const meant = near.suggest(name, known);
      return blame(service, ["backups", index, "repositories", entry], {
        severity: "error",
        code: "unknown-repository",
        message: `fleet.toml has no repository ${quoteText(name)}`,
        hint: meant === undefined ? `known are ${known.join(", ")}` : `did you mean ${quoteText(meant)}?`,
      });
    }),
  );
}

/** What has moved away is no longer there: a service that still exists was not moved. */
function checkOrigin(view: RepositoryView, service: FiledService): FileFinding[] {
  const origin = service.manifest.moved_from;
  if (origin === undefined) return [];
  const slash = origin.indexOf("/");
  const node = slash === -1 ? service.node : origin.slice(0, slash);
  const name = origin.slice(slash + 1);
  if (view.namesOf.get(node)?.has(name) !== true) return [];
  const self = node === service.node && name === service.service;
  return [
    blame(service, ["moved_from"], {
      severity: "error",
      code: "moved-from-exists",
      message: self ? "a service cannot have moved from itself" : `${node}/${name} still has a manifest of its own`,
      hint: self ? "write the old name, or take moved_from out" : "remove the old manifest, or take moved_from out",
    }),
  ];
}
