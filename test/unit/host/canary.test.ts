// The finder of secret values: every form in which a program might write one, at any place, packed or wrapped; and that it
// finds nothing where there is nothing.

import { deflateSync, gzipSync } from "node:zlib";

import { describe, expect, test } from "vitest";

import { CanaryFinder, MARKS } from "../../../scripts/lab/canary/canary.ts";

const finder = new CanaryFinder(MARKS);
const PASSWORD = MARKS["/canary/lane/PASSWORD"] ?? "";
const KEY = MARKS["/canary/lane/KEY"] ?? "";

function base64At(shift: number, text: string): string {
  return Buffer.from(`${"xy".slice(0, shift)}${text} and more`).toString("base64");
}

describe("a value is found", () => {
  test.each<[string, string | Buffer]>([
    ["as it is", `before ${PASSWORD} after`],
    ["in JSON", JSON.stringify({ password: PASSWORD })],
    ["in JSON inside JSON", JSON.stringify({ line: JSON.stringify({ password: PASSWORD }) })],
    [
      "in JSON as Go writes it",
      JSON.stringify({ p: PASSWORD }).replaceAll("&", "\\u0026").replaceAll("<", "\\u003c").replaceAll(">", "\\u003e"),
    ],
    ["in a URL", `https://host/?p=${encodeURIComponent(PASSWORD)}`],
    ["in a form", new URLSearchParams({ p: PASSWORD }).toString()],
    [
      "on a page",
      `<td>${PASSWORD.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")}</td>`,
    ],
    ["in base64", Buffer.from(PASSWORD).toString("base64")],
    ["in base64 one byte on", base64At(1, PASSWORD)],
    ["in base64 two bytes on", base64At(2, PASSWORD)],
    ["in base64url", Buffer.from(`x${PASSWORD}`).toString("base64url")],
    ["in hex", Buffer.from(PASSWORD).toString("hex")],
    ["in hex with capitals", Buffer.from(PASSWORD).toString("hex").toUpperCase()],
    ["in UTF-16", Buffer.from(`x${PASSWORD}`, "utf16le")],
    ["in UTF-16 where nothing stands before it", Buffer.from(PASSWORD, "utf16le")],
    ["in UTF-16 of the other order", Buffer.from(PASSWORD, "utf16le").swap16()],
    ["in Latin-1", Buffer.from(PASSWORD, "latin1")],
    ["in a gzip file", gzipSync(`before ${PASSWORD} after`)],
    ["in a gzip file inside another", Buffer.concat([Buffer.from("head"), gzipSync(gzipSync(PASSWORD))])],
    ["in a gzip file that was cut off", gzipSync(`${PASSWORD}${"x".repeat(100_000)}`).subarray(0, -10)],
    ["in a zlib stream, as Git packs it", Buffer.concat([Buffer.from("PACK"), deflateSync(PASSWORD)])],
    ["of several lines, one of them alone", KEY.split("\n")[1] ?? ""],
    ["of several lines in wrapped base64", Buffer.from(KEY).toString("base64").replaceAll(/.{60}/g, "$&\n")],
    [
      "of several lines in wrapped base64 in JSON",
      JSON.stringify(Buffer.from(KEY).toString("base64").replaceAll(/.{60}/g, "$&\n")),
    ],
  ])("%s", (_how, text) => {
    const found = finder.find(text);
    expect(found.length).toBeGreaterThan(0);
    // It is named, and not shown.
    for (const name of found) expect(name).toMatch(/^\/canary\/lane\/(PASSWORD|KEY) as /);
  });
});

describe("nothing is found", () => {
  test.each([
    ["in nothing", ""],
    [
      "in the paths and names of the secrets",
      `${Object.keys(MARKS).join()} MARK_PASSWORD_FILE=/run/secrets/mark.password`,
    ],
    ["in a part of a value", PASSWORD.slice(0, -6)],
    ["in random bytes with the heads of packed ones", Buffer.from([0x1f, 0x8b, 0x08, 1, 2, 3, 0x78, 0x9c, 9, 9, 9])],
  ])("%s", (_where, text) => expect(finder.find(text)).toEqual([]));
});
