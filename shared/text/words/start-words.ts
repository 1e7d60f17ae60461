// The sentences of why a start waits or does not come, and of what is waited for. Pure; describe-reason.ts alone uses them.

import type { ReasonOf, StartReason, TargetReason } from "../../state/reason.ts";
import { describeDuration } from "../duration.ts";
import { describeSize } from "../size.ts";
import { describeEnd, type WordTable } from "./word-table.ts";
import { describeCount } from "../count.ts";

export const START_WORDS: WordTable<StartReason | TargetReason> = {
  "node-unknown": ({ node }) => `nothing is known of ${node}`,
  "target-state": ({ state }) => `it is ${state}`,
  healthy: () => "healthy",
  "assumed-healthy": () => "assumed healthy: its node is not here",
  "not-healthy": () => "it is not healthy",
  "not-running": () => "it is not running",
  "no-such-service": () => "there is no such service on this node",
  "no-traffic-yet": () => "its front does not send it traffic yet",
  "job-completed": () => "completed",
  "job-not-completed": () => "it is a job that has not ended with 0 yet",
  "manifest-stopped": () => 'its manifest says state = "stopped"',
  "engine-not-asked": () => "the engine does not answer",
  "not-probed": () => "not probed yet",
  "waiting-for": ({ missing, now }, words) => {
    const soft =
      now === undefined ? "" : `; starts without in ${words.wait(now.untilMs)}, since it was healthy before it crashed`;
    return `${words.isColumn ? "" : "waiting for "}${words.missing(missing)}${soft}`;
  },
  "waiting-wanted": ({ missing, timeoutMs }, words) =>
    `waiting up to ${describeDuration(timeoutMs)} for ${words.missing(missing)}`,
  "not-healthy-within": ({ missing: { target, why }, withinMs }, { of }) =>
    `${target} was not healthy within ${describeDuration(withinMs)}: ${of(why)}`,
  "no-start-slot": ({ slots }) =>
    `waiting for a start slot (${describeCount(slots, "service starts", "services start")} at once)`,
  "data-awaited": () => "a recovery goes on here: it waits until the lost node's data is restored",
  "peer-awaited": ({ now: { untilMs } }, { wait }) =>
    `a spare may stand in this node's place: waiting up to ${wait(untilMs)} for a peer's word`,
  "cannot-start": ({ why }, { of }) => `it cannot start: ${of(why)}`,
  "could-not-start": ({ why }, { of }) => `it could not start: ${of(why)}`,
  "could-not-start-again": ({ why }, { of }) => `it could not start again: ${of(why)}`,
  "restart-waits": ({ why }, { of }) => `the restart that was asked for waits: it could not start: ${of(why)}`,
  "source-missing": ({ path }) => `the bind source ${path} does not exist on this host`,
  "port-without-address": ({ port }) => `${describeHostPort(port)} cannot be published: this host has no such address`,
  "port-held-by-program": ({ port }) =>
    `${describeHostPort(port)} is held by another program on this host (sudo ss -lnp shows which)`,
  "port-held-by-container": ({ port, container, owner }) => {
    const whose = owner === undefined ? "which was not made by Orca" : `which belongs to node ${owner}`;
    return `${describeHostPort(port)} is held by the container ${container}, ${whose}: stop that, or publish another port`;
  },
  "port-held-by-service": ({ port, service, runsOn }) => {
    const why = runsOn === undefined ? "" : `, which is ${runsOn} and runs on`;
    return `${describeHostPort(port)} is held by the service ${service} of this node${why}: publish another port`;
  },
  "front-being-made": ({ front, revision }) => `its front ${front} is being made; ${revision} still runs`,
  "waiting-for-ports": ({ container }) => `waiting until ${container} gives up its ports for it`,
  "waiting-for-data": ({ service, data, wanted }) =>
    wanted
      ? `waiting until the container of ${service} that may still write to ${data} has ended`
      : `waiting until ${service}, which is no longer in Git, has ended: it may still write to ${data}`,
  "waiting-for-memory": ({ needBytes, now: { leftBytes } }) =>
    `waiting for memory: its second copy needs ${describeSize(needBytes)}, and the caps of what runs leave ` +
    `${describeSize(Math.max(0, leftBytes))}; the old one serves`,
  "policy-leaves-ended": ({ exitCode, policy }) =>
    `it ended with exit code ${exitCode}, and its restart policy is ${policy}`,
  backoff: ({ end, now: { attempt, untilMs } }, { wait }) =>
    `${describeEnd(end)}; restart ${attempt} in ${wait(untilMs)}`,
  "network-being-made": ({ network }) => `the network ${network} is being made`,
  "network-taken": ({ network, owner }) => `the network ${network} ${describeOwner(owner)}; remove or rename it`,
  "name-taken": ({ container, owner }) => `the container ${container} ${describeOwner(owner)}; remove or rename it`,
  "volume-taken": ({ volume, owner }) => `the volume ${volume} belongs to node ${owner}; choose another name`,
  "volume-foreign": ({ volume, leadsTo }) => {
    const remedy = `choose another name, or write volumes.foreign = [${JSON.stringify(volume)}] into this host's policy`;
    return leadsTo === undefined
      ? `the volume ${volume} was not made by Orca and holds somebody's data; ${remedy}`
      : `the volume ${volume} is really ${leadsTo}; ${remedy}`;
  },
  "data-not-mounted": ({ said }, words) => `it has volumes, and ${words.said(said)}`,
  "moved-without-data": ({ service, from, missing, stopped }) => {
    const here = missing.length === 0 ? [] : [`its data (${missing.join(", ")}) is not here`];
    const there = stopped ? [] : [`${from.node} has not reported that it is stopped there`];
    const why = [...here, ...there].join(", and ") || "nobody knows whether its directories hold its data";
    return (
      `it moved here from ${from.node}/${from.service}: ${why}; ` +
      `restore its data, or say that it starts with what is here: orca start ${service} --empty`
    );
  },
  "generation-found": ({ volume }) => `its data is in ${volume}`,
  "generation-unknown": ({ service, volume, there }) =>
    `there are several volumes with its data (${there.join(", ")}), and nobody knows which was in force: ` +
    `orca backup restore ${service} --use ${there.at(-1) ?? volume} begins with that one`,
  "generation-gone": ({ service, volume, generation, there }) =>
    `its data was in the volume ${generation}, which is gone; ` +
    (there.length === 0
      ? `orca backup restore ${service} makes a new one from a backup, and --use ${volume} begins empty`
      : `orca backup restore ${service} --use ${there.at(-1) ?? volume} begins with one that is here (${there.join(", ")})`),
  "data-uncovered": ({ service, volume, target }) =>
    `a new container of it would begin without the data at ${target}: its image keeps that in a VOLUME of its own, ` +
    `the engine's volume ${volume}, which no [[volumes]] covers. ` +
    `Write [[volumes]] with name = "${service}-data" and target = "${target}", and bring the data over; ` +
    'or backup = { none = "why losing it is fine" }',
  "data-cover-empty": describeEmptyCover,
  "started-without": ({ names, wanted }) => `started without ${names.join(", ")}${wanted ? ", which it wants" : ""}`,
  "hosts-being-written": () => "the node's hosts file is being written",
  "somebody-removes-it": () => "somebody removes its container; it is made anew when that is gone",
  "started-by-person": () => "started by a person without what it requires",
};

function describeHostPort({ address, hostPort, protocol }: ReasonOf<"port-held-by-program">["port"]): string {
  const on = address === undefined ? "" : `${address.includes(":") ? `[${address}]` : address}:`;
  return `host port ${on}${hostPort}/${protocol}`;
}

function describeOwner(owner: string | undefined): string {
  return owner === undefined ? "was not made by Orca" : `belongs to node ${owner}`;
}

function describeEmptyCover({ service, volume, target, cover }: ReasonOf<"data-cover-empty">): string {
  const begin = `the data at ${target} is in the engine's volume ${volume}, and`;
  if (cover.name === undefined) {
    const where = cover.source ?? "a directory in memory";
    return (
      `${begin} ${where} would take its place: stop ${service}, bring the data over, then ` +
      `orca start ${service} --empty begins with what is there`
    );
  }
  return (
    `${begin} the volume ${cover.name} that shall take its place does not exist yet and would begin empty. ` +
    `Bring the data over: orca stop ${service}, make ${cover.name} with docker volume create, copy from one to the other, ` +
    `orca start ${service}; orca start ${service} --empty begins without it`
  );
}
