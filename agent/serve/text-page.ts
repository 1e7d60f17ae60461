// What a browser gets: the text of the status in a page that runs no script and loads nothing. Pure; everything is escaped.

import { createHash } from "node:crypto";

import type { Answer } from "./http-answer.ts";

const STYLE =
  "body{margin:2rem;background:#101418;color:#d8dee6}pre{font:14px/1.5 ui-monospace,monospace;white-space:pre;overflow:auto}";
const STYLE_HASH = createHash("sha256").update(STYLE).digest("base64");
const REFRESH_SECONDS = 5;

/** Puts a text into a page. */
export function answerPage(title: string, text: string, { refresh = true }: { refresh?: boolean } = {}): Answer {
  const again = refresh ? `<meta http-equiv="refresh" content="${REFRESH_SECONDS}">` : "";
  const body =
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${escapeHtml(title)}</title>` +
    `${again}<style>${STYLE}</style></head>` +
    `<body><pre>${escapeHtml(text)}</pre></body></html>\n`;
  const policy =
    `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; ` +
    `frame-ancestors 'none'; base-uri 'none'; form-action 'none'`;
  return { status: 200, type: "text/html; charset=utf-8", body, headers: { "content-security-policy": policy } };
}

/** Makes a text harmless in HTML. */
export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.codePointAt(0) ?? 0};`);
}
