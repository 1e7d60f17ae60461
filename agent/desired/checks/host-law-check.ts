// The host's law against every service of the repository, and against what fleet.toml says of its nodes and repositories.

import { buildStrictPolicy, type Policy } from "../../../shared/policy/policy.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { listRefusedAlerts } from "../build/plan-alerts.ts";
import { checkPolicy } from "../policy/policy-check.ts";
import { checkRepositoryPolicy } from "../policy/policy-repositories.ts";
import { checkContents } from "../policy/policy-values.ts";
import {
  blame,
  blameFleet,
  type FiledService,
  type FileFinding,
  findNode,
  findRealm,
  type RepositoryView,
} from "./view/repository-view.ts";

/**
 * Judges the repository by one host's policy. A policy that names a realm is the law of hosts of that realm: services of
 * other realms are left to theirs.
 * @param host the node whose policy it is, where that is known
 */
export function checkByPolicy(view: RepositoryView, policy: Policy, host: string | undefined): FileFinding[] {
  const services = view.services.filter((service) => isSubject(view, policy, service.node));
  return [
    ...judgeRealm(view, policy, host),
    ...services.flatMap((service) => judgeService(view, service, policy)),
    ...services.flatMap((service) => judgeFiles(view, service, policy)),
    ...judgeTotals(view, policy),
    ...judgeRepositories(view, policy),
    ...judgeAlerts(view, policy),
  ];
}

/** Rules whose refusal nobody expects who does not know that a host has a law of its own. */
const DANGEROUS = /^(?:security\.|mounts\.docker_socket|mounts \(Orca's own)/;

/** Without a policy at hand: what every host refuses until its own policy allows it, as the shipped one does not. */
export function checkByDefault(view: RepositoryView): FileFinding[] {
  const policy = buildStrictPolicy();
  return view.services.flatMap((service) =>
    checkPolicy({ ...service, realPaths: {}, address: undefined }, policy)
      .filter(({ rule }) => DANGEROUS.test(rule))
      .map(({ rule, path, message }) =>
        blame(service, path, {
          severity: "warning",
          code: "host-policy",
          message: `${message} unless the host's policy allows it, and the shipped one does not`,
          hint: /^\w+\.\w+$/.test(rule)
            ? `leave it out, or allow it there (/etc/orca/policy.toml, rule ${rule}) and judge by that: orca lint --policy FILE`
            : `leave it out: no policy can allow it (rule ${rule})`,
        }),
      ),
  );
}

function isSubject(view: RepositoryView, policy: Policy, node: string): boolean {
  const realm = findRealm(view.fleet.fleet, node);
  return policy.realm === undefined || realm === undefined || realm === policy.realm;
}

function judgeRealm(view: RepositoryView, { realm }: Policy, host: string | undefined): FileFinding[] {
  const nodes = Object.entries(view.fleet.fleet?.nodes ?? {});
  if (realm === undefined || nodes.length === 0) return [];
  if (host === undefined) {
    if (nodes.some(([, node]) => node.env === realm)) return [];
    const message = `no node is in the realm ${realm} of the policy: no service was judged by it`;
    return [
      blameFleet(view, ["nodes"], { severity: "warning", code: "policy", message, hint: "use that host's policy" }),
    ];
  }
  const mine = findRealm(view.fleet.fleet, host);
  if (mine === undefined || mine === realm) return [];
  const message = `the host's policy is for the realm ${realm}, not ${mine}`;
  return [
    blameFleet(view, ["nodes", host, "env"], {
      severity: "error",
      code: "policy",
      message,
      hint: describeRule("realm"),
    }),
  ];
}

function judgeService(view: RepositoryView, service: FiledService, policy: Policy): FileFinding[] {
  // Bind-mount sources are judged as written: where they really lead is known on the host alone.
  const address = findNode(view.fleet.fleet, service.node)?.address;
  const refusals = checkPolicy({ ...service, realPaths: {}, address }, policy);
  return refusals.map(({ rule, path, message, deferred }) =>
    deferred === true
      ? blame(service, path, { severity: "warning", code: "policy-on-host", message, hint: `rule ${rule}` })
      : blame(service, path, { severity: "error", code: "policy", message, hint: describeRule(rule) }),
  );
}

/** Files as they are written; the host judges templates as they are rendered too. */
function judgeFiles(view: RepositoryView, service: FiledService, policy: Policy): FileFinding[] {
  if (policy.text.forbidden.length === 0) return [];
  const files = service.manifest.files.flatMap(({ source }, index) => {
    const content = view.files.read(service.node, source);
    return content === undefined ? [] : [{ path: ["files", index, "source"], content }];
  });
  return checkContents(files, policy).map(({ rule, path, message }) =>
    blame(service, path, { severity: "error", code: "policy", message, hint: describeRule(rule) }),
  );
}

function describeRule(rule: string): string {
  return `the host's policy refuses it: rule ${rule}`;
}

function judgeTotals(view: RepositoryView, { memory: { max_total: most }, ...policy }: Policy): FileFinding[] {
  if (most === undefined) return [];
  return [...view.servicesOf].flatMap(([node, services]) => {
    if (policy.realm !== undefined && findRealm(view.fleet.fleet, node) !== policy.realm) return [];
    const running = services.filter(({ manifest }) => manifest.state === "running");
    const totalBytes = running.reduce((sum, { manifest }) => sum + manifest.resources.memory, 0);
    if (totalBytes <= most) return [];
    const message = `the caps of ${node} come to ${describeSize(totalBytes)}, and ${describeSize(most)} are allowed`;
    const fault = { severity: "error", code: "policy", message, hint: describeRule("memory.max_total") } as const;
    return [{ ...blameFleet(view, ["nodes", node, "memory"], fault), nodes: [node] }];
  });
}

function judgeRepositories(view: RepositoryView, policy: Policy): FileFinding[] {
  return Object.entries(view.fleet.fleet?.repositories ?? {}).flatMap(([name, repository]) =>
    checkRepositoryPolicy(repository, policy).map(({ key, rule, message }) =>
      blameFleet(view, ["repositories", name, key], {
        severity: "error",
        code: "policy",
        message,
        hint: describeRule(rule),
      }),
    ),
  );
}

function judgeAlerts(view: RepositoryView, policy: Policy): FileFinding[] {
  return listRefusedAlerts(view.fleet.fleet, policy).map(({ path, message }) =>
    blameFleet(view, ["alerts", ...path], {
      severity: "error",
      code: "policy",
      message,
      hint: describeRule("secrets.allowed_prefixes"),
    }),
  );
}
