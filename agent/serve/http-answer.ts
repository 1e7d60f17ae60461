// What a route answers, and how that goes out: always with the headers that keep a browser from doing anything with it.

import type { IncomingMessage, ServerResponse } from "node:http";

import { cleanLines, printJson } from "../report/text/public-text.ts";

/** One answer. */
export interface Answer {
  status: number;
  type: string;
  body: string;
  headers?: Readonly<Record<string, string>>;
}

/** One request, as a route sees it. */
export interface Call {
  method: string;
  /** Decoded parts of the path. */
  path: readonly string[];
  query: URLSearchParams;
  accept: string;
}

const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

/** Plain text; `curl` shows it on a terminal, which must not obey it. */
export function answerText(status: number, text: string): Answer {
  const body = cleanLines(text.endsWith("\n") ? text : `${text}\n`);
  return { status, type: "text/plain; charset=utf-8", body };
}

/** JSON, laid out for people too. */
export function answerJson(status: number, value: unknown): Answer {
  return { status, type: "application/json; charset=utf-8", body: `${printJson(value, 2)}\n` };
}

/** Something went wrong, in words, in the form the caller reads. */
export function answerError(call: Pick<Call, "accept" | "path">, status: number, message: string): Answer {
  const wantsJson = call.path[0] === "v1" || call.accept.includes("application/json");
  return wantsJson ? answerJson(status, { error: message }) : answerText(status, message);
}

/** Reads what a route needs of a request; undefined when it is none that could be meant for us. */
export function readCall(request: IncomingMessage): Call | undefined {
  const { url = "", method = "", headers } = request;
  if (!url.startsWith("/") || url.length > 2_000) return undefined;
  const [path = "", query = ""] = url.split("?", 2);
  try {
    const parts = path.split("/").filter((part) => part !== "");
    return {
      method,
      path: parts.map(decodeURIComponent),
      query: new URLSearchParams(query),
      accept: headers.accept ?? "*/*",
    };
  } catch {
    return undefined;
  }
}

/** The form that the caller likes best: `curl` likes everything and gets text. */
export function chooseForm(accept: string): "html" | "json" | "text" {
  const likes = accept.split(",").map((part) => {
    const [type = "", ...parameters] = part.split(";").map((piece) => piece.trim().toLowerCase());
    const q = Number(parameters.find((parameter) => parameter.startsWith("q="))?.slice(2) ?? 1);
    return { type, q: Number.isFinite(q) ? q : 0 };
  });
  const liking = (type: string): number => Math.max(0, ...likes.filter((like) => like.type === type).map(({ q }) => q));
  const [html, json, text] = [liking("text/html"), liking("application/json"), liking("text/plain")];
  if (html > 0 && html >= json && html >= text) return "html";
  return json > 0 && json >= text ? "json" : "text";
}

/** Begins an answer that is streamed. */
export function beginStream(response: ServerResponse, type: string): void {
  response.writeHead(200, { ...SECURITY_HEADERS, "content-type": type });
}

/** Sends a whole answer. */
export function sendAnswer(response: ServerResponse, answer: Answer): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const length = Buffer.byteLength(answer.body);
  response.writeHead(answer.status, {
    ...SECURITY_HEADERS,
    "content-type": answer.type,
    "content-length": length,
    ...answer.headers,
  });
  response.end(answer.body);
}
