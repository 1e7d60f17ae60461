// `orca why` as people read it. Pure: from the document to text, whole reasons, nothing cut.

import { shortRevision } from "../../../shared/text/short-revision.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import { describeSize } from "../../../shared/text/size.ts";
import type {
  ActionDocument,
  ChangeDocument,
  ExitDocument,
  RotationDocument,
  WaitDocument,
  WhyDocument,
} from "../../../shared/document/why-document.ts";
import { nameHelp } from "../../../shared/text/help-topic.ts";
import { describeFieldChange } from "../status/manifest-fields.ts";
import { findServicePage } from "../status/trouble-pages.ts";
import { cutControlCharacters } from "./public-text.ts";
import { colourOf, type TextOptions } from "./status-text.ts";

const INDENT = "  ";
const SHOWN = 10;

/** Prints why a service is as it is. */
export function printWhy(why: WhyDocument, options: Pick<TextOptions, "paint">): string {
  const { service } = why;
  const age = describeDuration(Date.parse(why.at) - Date.parse(service.since));
  const state = options.paint?.(service.state, colourOf(service.state)) ?? service.state;
  // Only the state is painted: all else is cleaned as it stands, also what a container has coloured itself.
  const head = `${cutControlCharacters(`${service.name} on ${why.node} is `)}${state} for ${age}`;
  const lines = [
    `${INDENT}${service.reason}`,
    ...printRefused(why),
    ...service.notes.map((note) => `${INDENT}note: ${note}`),
    ...printNext(why),
    ...printPage(why),
    "",
    ...printFacts(why),
    ...section(
      "waits for",
      why.waitsFor.flatMap((wait) => printWait(wait, 1)),
    ),
    ...section("last change", why.change === null ? [] : printChange(why.change)),
    ...section("last new values of its secrets", why.rotation === null ? [] : [printRotation(why.rotation)]),
    ...section("memory", printMemory(why)),
    ...section("last actions", why.actions.slice(0, SHOWN).map(printAction)),
    ...section("ends of its containers", why.exits.slice(0, SHOWN).map(printExit)),
    ...section(
      "states before",
      why.transitions
        .slice(0, SHOWN)
        .map((entry) => `${clock(entry.at)} ${entry.from ?? "new"} → ${entry.to}: ${entry.reason}`),
    ),
    ...printOutput(why),
  ];
  return `${[head, ...lines.map(cutControlCharacters)].join("\n")}\n`;
}

/** How old the values are that it runs with: the reason names moments only. */
function printRefused({ service, at }: WhyDocument): string[] {
  const ageOf = (iso: string): string => describeDuration(Math.max(0, Date.parse(at) - Date.parse(iso)));
  // An agent of an earlier version says nothing of them.
  return ((service.refusedSecrets as typeof service.refusedSecrets | null | undefined) ?? []).map(
    ({ path, kind, since, read, until }) => {
      const end = until === null ? "nothing starts with it any more" : `used for starts until ${clock(until)} at least`;
      const state = kind === "denied" ? "denied" : "not there";
      return `${INDENT}secret ${path}: ${state} for ${ageOf(since)}; the value in use is ${ageOf(read)} old, ${end}`;
    },
  );
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ["", title, ...lines.map((line) => `${INDENT}${line}`)];
}

function printNext({ service, at }: WhyDocument): string[] {
  if (service.nextRetry === null) return [];
  const waitMs = Date.parse(service.nextRetry) - Date.parse(at);
  return waitMs <= 0
    ? [`${INDENT}next: now`]
    : [`${INDENT}next: in ${describeDuration(waitMs)}, at ${clock(service.nextRetry)}`];
}

function printPage({ service }: WhyDocument): string[] {
  const page = findServicePage(service);
  return page === undefined ? [] : [`${INDENT}what to do: ${nameHelp(page)}`];
}

function printFacts({ service, cause, releases }: WhyDocument): string[] {
  const { revision, desiredRevision, image, container, owner } = service;
  const good = releases[0];
  const rows: [string, string | null][] = [
    ["cause", cause],
    ["runs", revision === null ? null : shortRevision(revision)],
    ["wanted", desiredRevision === null || desiredRevision === revision ? null : shortRevision(desiredRevision)],
    ["last good", good === undefined ? null : `${shortRevision(good.revision)}, settled ${clock(good.settled)}`],
    ["image", image],
    ["container", container === null ? null : container.slice(0, 12)],
    ["health", service.health === null ? null : `${service.health}${service.settled ? ", settled" : ""}`],
    [
      "restarts",
      `${service.restarts}${service.oomKills === 0 ? "" : `, ${service.oomKills} of them or their processes killed for memory`}`,
    ],
    ["owner", owner],
  ];
  return rows.flatMap(([name, value]) => (value === null ? [] : [`${name.padEnd(10)}${value}`]));
}

function printWait(wait: WaitDocument, depth: number): string[] {
  const mark = depth === 1 ? "" : `${INDENT.repeat(depth - 2)}└ `;
  const state = wait.state === null ? "" : ` is ${wait.state}`;
  return [
    `${mark}${wait.name}${state}: ${wait.reason}`,
    ...wait.waitsFor.flatMap((entry) => printWait(entry, depth + 1)),
  ];
}

function printChange(change: ChangeDocument): string[] {
  const span = `${shortRevision(change.fromRevision)} → ${shortRevision(change.toRevision)}, taken over ${clock(change.at)}`;
  return [span, ...change.fields.map(describeFieldChange)];
}

function printRotation({ at, paths, ended, how, reason }: RotationDocument): string {
  const which = `${clock(at)} it was given the new ${paths.length === 1 ? "value" : "values"} of ${paths.join(", ")}`;
  if (ended === null || how === null) return `${which}, and has not settled yet`;
  if (how === "settled") return `${which}, and settled with it at ${clock(ended)}`;
  if (how === "replaced") return `${which}; its manifest changed at ${clock(ended)}, before it had settled`;
  return `${which}, and went back to the old at ${clock(ended)}: ${reason ?? ""}`;
}

function printMemory({ memory }: WhyDocument): string[] {
  const { usedBytes, peakBytes, capBytes, suggestion } = memory;
  if (usedBytes === null && suggestion === null) return [];
  const used = usedBytes === null ? [] : [`${describeSize(usedBytes)} in use`];
  const peak = peakBytes === null ? [] : [`at most ${describeSize(peakBytes)} seen`];
  const cap = capBytes === null ? [] : [`cap ${describeSize(capBytes)}`];
  return [[...used, ...peak, ...cap].join(", "), ...(suggestion === null ? [] : [suggestion])];
}

function printAction(action: ActionDocument): string {
  const times = action.times === 1 ? "" : ` ×${action.times}`;
  const took = action.tookMs === null ? "" : ` in ${describeDuration(action.tookMs)}`;
  const end = action.ok ? `done${took}` : `FAILED: ${action.message ?? ""}`;
  return `${clock(action.at)} ${action.action}${times} ${end} (${action.cause})`;
}

function printExit(exit: ExitDocument): string {
  const ran = exit.ranSeconds === null ? "" : ` after ${describeDuration(exit.ranSeconds * 1_000)}`;
  return `${clock(exit.at)}${ran}: ${exit.reason}`;
}

function printOutput({ output }: WhyDocument): string[] {
  if (output === null) return ["", "log lines are shown over the unix socket only: orca why, orca logs"];
  return [
    ...section("last probe", output.probe === null ? [] : [output.probe]),
    ...section("last lines before its last end", output.logTail),
  ];
}

/** A time for people, in UTC: `2026-11-20 02:15:00Z`. */
function clock(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)}Z`;
}
