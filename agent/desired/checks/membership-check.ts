// Who belongs to the fleet: fleet.toml against the directories under manifests/, and what nodes say of each other.

import { findCycles } from "../../../shared/fleet/graph.ts";
import { quoteText } from "../../../shared/text/problem.ts";
import { NearNames } from "./view/near-name.ts";
import { blameFleet, type FileFinding, type RepositoryView } from "./view/repository-view.ts";

/** Directories that fleet.toml does not list, listed nodes without a directory, and rollouts that wait for each other. */
export function checkMembership(view: RepositoryView): FileFinding[] {
  return [...checkFleet(view), ...view.strays.map(describeStray)];
}

function describeStray(file: string): FileFinding {
  const message = "it stands beside the nodes' directories, where nothing reads it";
  const hint = "move it into the directory of its node";
  return { severity: "error", code: "stray-file", path: [], file, nodes: [], message, hint };
}

function checkFleet(view: RepositoryView): FileFinding[] {
  const { fleet, text } = view.fleet;
  if (text === undefined) {
    return [
      blameFleet(view, [], {
        severity: "error",
        code: "no-fleet",
        message: "there is no fleet.toml",
        hint: "write it beside manifests/, with a table [nodes.NAME] for each node: address, env, memory",
      }),
    ];
  }
  if (fleet === undefined) return [];
  return [...checkDirectories(view), ...checkStandby(view), ...checkRollouts(view)];
}

function checkDirectories(view: RepositoryView): FileFinding[] {
  const listed = Object.keys(view.fleet.fleet?.nodes ?? {});
  const known = new Set(listed);
  const found = new Set(view.nodes);
  const near = new NearNames();
  const unlisted = view.nodes
    .filter((node) => !known.has(node))
    .map((node): FileFinding => {
      const meant = near.suggest(node, listed);
      const hint = `add [nodes.${node}], or ${meant === undefined ? "remove the directory" : `rename it to ${quoteText(meant)}`}`;
      const message = `manifests/${node} is a directory, and no such node is listed`;
      return {
        ...blameFleet(view, ["nodes"], { severity: "error", code: "unlisted-node", message, hint }),
        nodes: [node],
      };
    });
  const empty = listed.filter((node) => !found.has(node) && view.fleet.fleet?.nodes[node]?.standby_for === undefined);
  return [
    ...unlisted,
    ...empty.map((node) =>
      blameFleet(view, ["nodes", node], {
        severity: "info",
        code: "empty-node",
        message: `there is no directory manifests/${node}: nothing runs there`,
        hint: "",
      }),
    ),
  ];
}

function checkStandby(view: RepositoryView): FileFinding[] {
  const nodes = Object.entries(view.fleet.fleet?.nodes ?? {});
  return nodes
    .filter(([name, node]) => node.standby_for === name)
    .map(([name]) =>
      blameFleet(view, ["nodes", name, "standby_for"], {
        severity: "error",
        code: "standby",
        message: "a node cannot stand by for itself",
        hint: "name the node whose place it may take",
      }),
    );
}

/** Nodes that wait for each other's rollout never take a new commit. */
function checkRollouts(view: RepositoryView): FileFinding[] {
  const nodes = Object.entries(view.fleet.fleet?.nodes ?? {});
  const edges = new Map(nodes.map(([name, node]) => [name, node.rollout === undefined ? [] : [node.rollout.after]]));
  return findCycles(edges).map((cycle) => ({
    ...blameFleet(view, ["nodes", cycle.at(-1) ?? "", "rollout", "after"], {
      severity: "error",
      code: "rollout-cycle",
      message: `they wait for each other's rollout: ${[...cycle, cycle[0]].join(" → ")}`,
      hint: "let one of them follow no other",
    }),
    nodes: cycle,
  }));
}
