// What may be read: the same routes on loopback and on the unix socket. A trusted reader, on the socket, also gets what
// containers printed; nobody on loopback ever does.

import { HELP_TOPICS, isHelpTopic, listHelpTopics } from "../../shared/text/help-topic.ts";
import { suggestWord } from "../../shared/text/problem.ts";
import type { StatusDocument } from "../../shared/document/status-document.ts";
import type { ReadView } from "../report/read-view.ts";
import { type Answer, answerError, answerJson, answerText, type Call, chooseForm } from "./http-answer.ts";
import { printColdStart } from "../report/text/cold-start-text.ts";
import { printFleet } from "../report/text/fleet-text.ts";
import { answerPage } from "./text-page.ts";
import { cleanLines } from "../report/text/public-text.ts";
import { selectTroubled } from "../report/status/status-builder.ts";
import { DEFAULT_WIDTH, printStatus } from "../report/text/status-text.ts";
import { printWhy } from "../report/text/why-text.ts";

const WIDEST = 500;

/** Answers a read; undefined when there is no such route. */
export async function answerRead(view: ReadView, call: Call, trusted: boolean): Promise<Answer | undefined> {
  const [first, second, third] = call.path;
  switch (call.path.length) {
    case 0:
      return answerStatus(view, call);
    case 1:
      return answerSingle(view, call, first ?? "");
    case 2:
      if (first === "help") return answerHelp(call, second ?? "");
      if (first === "why") return answerWhy(view, call, { service: second ?? "", trusted });
      if (first === "v1" && second === "fleet") return answerJson(200, view.fleet());
      if (first === "v1" && second === "cold-start") return answerJson(200, view.coldStarts());
      return first === "v1" && second === "status" ? answerFresh(view) : undefined;
    case 3: {
      if (first !== "v1" || second !== "why") return undefined;
      const asJson = { ...call, accept: "application/json" };
      return answerWhy(view, asJson, { service: third ?? "", trusted });
    }
    default:
      return undefined;
  }
}

async function answerSingle(view: ReadView, call: Call, name: string): Promise<Answer | undefined> {
  switch (name) {
    case "fleet":
      return answerFleet(view, call);
    case "cold-start":
      return answerColdStart(view, call);
    case "help":
      return answerTopics(call);
    case "healthz": {
      const { ok, message } = view.liveness();
      return answerText(ok ? 200 : 503, message);
    }
    case "readyz":
      return answerReady(view.status());
    case "metrics": {
      await view.refresh();
      const { type, body } = await view.metrics();
      return { status: 200, type, body: cleanLines(body) };
    }
    default:
      return undefined;
  }
}

async function answerFresh(view: ReadView): Promise<Answer> {
  await view.refresh();
  return answerJson(200, view.status());
}

async function answerStatus(view: ReadView, call: Call): Promise<Answer> {
  const form = chooseForm(call.accept);
  if (form === "json") return vary(await answerFresh(view));
  await view.refresh();
  const text = printStatus(view.status(), { width: readWidth(call) });
  return vary(form === "html" ? answerPage(`${view.node}: status`, text) : answerText(200, text));
}

/** The fleet as this node sees it. */
function answerFleet(view: ReadView, call: Call): Answer {
  const form = chooseForm(call.accept);
  if (form === "json") return vary(answerJson(200, view.fleet()));
  const text = printFleet(view.fleet(), { width: readWidth(call) });
  return vary(form === "html" ? answerPage(`${view.node}: fleet`, text) : answerText(200, text));
}

/** How this node, or the realm, came up the last time. */
function answerColdStart(view: ReadView, call: Call): Answer {
  const form = chooseForm(call.accept);
  if (form === "json") return vary(answerJson(200, view.coldStarts()));
  const text = printColdStart(view.coldStarts(), { width: readWidth(call) });
  return vary(form === "html" ? answerPage(`${view.node}: cold start`, text) : answerText(200, text));
}

/** The pages that there are. */
function answerTopics(call: Call): Answer {
  return answerStill(call, "help", `pages of help, each at /help/TOPIC\n\n${listHelpTopics().join("\n")}\n`);
}

/** One page: read and laid out for whoever asks, so that neither the pages nor what lays them out stay in memory unasked. */
async function answerHelp(call: Call, topic: string): Promise<Answer> {
  if (!isHelpTopic(topic)) {
    const meant = suggestWord(topic, Object.keys(HELP_TOPICS));
    const hint = meant === undefined ? "/help lists them" : `did you mean /help/${meant}?`;
    return answerError(call, 404, `there is no page ${JSON.stringify(topic.slice(0, 63))}; ${hint}`);
  }
  const [{ readPage }, { renderPage }] = await Promise.all([
    import("../help/read-page.ts"),
    import("../help/render-page.ts"),
  ]);
  return answerStill(call, topic, renderPage(await readPage(topic), { width: readWidth(call) }));
}

/** Text that does not change while somebody reads it. */
function answerStill(call: Call, title: string, text: string): Answer {
  const isPage = chooseForm(call.accept) === "html";
  return vary(isPage ? answerPage(`orca: ${title}`, text, { refresh: false }) : answerText(200, text));
}

/** Caches must not mix the forms up. */
function vary(answer: Answer): Answer {
  return { ...answer, headers: { ...answer.headers, vary: "accept" } };
}

function readWidth(call: Call): number {
  const columns = Number(call.query.get("columns") ?? DEFAULT_WIDTH);
  return Number.isInteger(columns) && columns > 0 ? Math.min(columns, WIDEST) : DEFAULT_WIDTH;
}

function answerReady(status: StatusDocument): Answer {
  if (status.healthy) return answerText(200, "ready");
  const troubled = selectTroubled(status).map(({ name, state }) => `${name} is ${state}`);
  return answerText(503, troubled.length === 0 ? "not ready: nothing is known yet" : troubled.join("\n"));
}

async function answerWhy(view: ReadView, call: Call, asked: { service: string; trusted: boolean }): Promise<Answer> {
  await view.refresh();
  const why = view.why(asked.service, asked.trusted);
  if (why === undefined) return answerUnknownService(view, call, asked.service);
  const form = chooseForm(call.accept);
  if (form === "json") return vary(answerJson(200, why));
  const text = printWhy(why, {});
  return vary(form === "html" ? answerPage(`${view.node}: ${asked.service}`, text) : answerText(200, text));
}

/** There is no such service: says which one may have been meant. */
export function answerUnknownService(view: Pick<ReadView, "status">, call: Call, service: string): Answer {
  const names = view.status().services.map((entry) => entry.name);
  const meant = suggestWord(service, names);
  const known = names.length === 0 ? "there are none" : `there are ${names.join(", ")}`;
  const hint = meant === undefined ? known : `did you mean ${meant}?`;
  return answerError(call, 404, `there is no service ${JSON.stringify(service.slice(0, 63))} on this node; ${hint}`);
}
