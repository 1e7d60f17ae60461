// What Git servers send, taken apart: packets, refs, packs, commits, trees. Whatever comes in, only a GitFailure comes out.

import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import * as fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";

import { describeNetwork } from "../../../shared/text/words/exchange-words.ts";
import { parseRetryAfter } from "../../../agent/http/retry-after.ts";
import { GitFailure } from "../../../agent/sources/git/wire/git-failure.ts";
import { describeSourceFault } from "../../../shared/text/words/source-words.ts";
import { parseCommit, parseTrailers, parseTree } from "../../../agent/sources/git/store/git-objects.ts";
import { PackReceiver } from "../../../agent/sources/git/wire/git-pack.ts";
import {
  encodePacket,
  parseAdvertisement,
  parseLsRefs,
  parsePackets,
} from "../../../agent/sources/git/wire/git-packets.ts";

const A = "a".repeat(40);
const B = "b".repeat(40);

function packets(...lines: string[]): Buffer {
  return Buffer.from(lines.map((line) => (/^000[012]$/.test(line) ? line : encodePacket(line))).join(""));
}

/** Runs something that may only fail with a GitFailure; anything else is a fault of the parser. */
function failsWell(act: () => unknown): boolean {
  try {
    act();
    return true;
  } catch (error) {
    return error instanceof GitFailure;
  }
}

describe("refs", () => {
  test("protocol 0: refs, HEAD's branch and capabilities", () => {
    const advertisement = parseAdvertisement(
      packets(
        "# service=git-upload-pack\n",
        "0000",
        `${A} HEAD\0multi_ack shallow symref=HEAD:refs/heads/main object-format=sha1\n`,
        `${A} refs/heads/main\n`,
        `${B} refs/pull/7/head\n`,
        "0000",
      ),
    );
    expect(advertisement).toMatchObject({ version: 0, head: "refs/heads/main" });
    expect([...advertisement.refs.keys()]).toEqual(["HEAD", "refs/heads/main", "refs/pull/7/head"]);
    expect(advertisement.capabilities).toContain("shallow");
  });

  test("protocol 0 of an empty repository: flushes only, or capabilities without a ref", () => {
    expect(parseAdvertisement(packets("# service=git-upload-pack\n", "0000", "0000")).refs.size).toBe(0);
    const line = `${"0".repeat(40)} capabilities^{}\0shallow\n`;
    expect(parseAdvertisement(packets("# service=git-upload-pack\n", "0000", line, "0000")).refs.size).toBe(0);
  });

  test("protocol 2: what the server can do, with and without the line that names the service", () => {
    const lines = ["version 2\n", "agent=git/2.39\n", "ls-refs=unborn\n", "fetch=shallow wait-for-done\n", "0000"];
    for (const head of [[], ["# service=git-upload-pack\n", "0000"]])
      expect(parseAdvertisement(packets(...head, ...lines))).toMatchObject({ version: 2 });
  });

  test("ls-refs: the branch, and what HEAD stands for", () => {
    const refs = parseLsRefs(
      packets(`${A} HEAD symref-target:refs/heads/trunk\n`, `${A} refs/heads/main peeled:${B}\n`, "0000"),
    );
    expect([refs.refs.get("refs/heads/main"), refs.head]).toEqual([A, "refs/heads/trunk"]);
    expect(parseLsRefs(packets("unborn HEAD symref-target:refs/heads/main\n", "0000"))).toMatchObject({
      head: "refs/heads/main",
    });
    expect(parseLsRefs(packets("0000")).refs.size).toBe(0);
  });

  test.each([
    [packets("# service=git-upload-pack\n", "0000", `${A} refs/heads/main\n`), "breaks off"],
    [Buffer.from("<html>"), "no packet lines"],
    [Buffer.from("00ff"), "within a packet"],
    [Buffer.from("0003"), "length 3"],
    [packets("# service=git-receive-pack\n", "0000"), "another service"],
    [packets("hello\n", "0000"), "no ref"],
    [packets("ERR access \u001b[31mdenied\n", "0000"), "the server says: access  [31mdenied"],
    [packets("version 2\n", "object-format=sha256\n", "0000"), "SHA-256"],
  ])("%#: what is not refs is told by name", (bytes, said) => {
    expect(() => parseAdvertisement(bytes)).toThrow(said);
  });

  test("any bytes give refs or a GitFailure", () => {
    const line = fc.oneof(
      fc.string(),
      fc.constantFrom(`${A} HEAD\0x`, `${A} refs/heads/main`, "version 2", "ERR no", ""),
    );
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
      line.map((text) => Buffer.from(encodePacket(text))),
      fc.constantFrom("0000", "0001", "0002", "0003", "0004", "fff0", "zzzz").map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const bytes = Buffer.concat(pieces);
        return [parsePackets, parseAdvertisement, parseLsRefs].every((parse) => failsWell(() => parse(bytes)));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("packs", () => {
  const directory = mkdtempSync(join(tmpdir(), "orca-pack-"));
  const file = join(directory, "pack");
  afterAll(() => rmSync(directory, { recursive: true }));

  const head = Buffer.concat([Buffer.from("PACK"), Buffer.from([0, 0, 0, 2, 0, 0, 0, 7])]);
  const body = Buffer.concat([head, Buffer.alloc(300, 9)]);
  const pack = Buffer.concat([body, createHash("sha1").update(body).digest()]);
  const band = (number: number, content: Uint8Array): Buffer => {
    const length = (content.length + 5).toString(16).padStart(4, "0");
    return Buffer.concat([Buffer.from(length), Buffer.from([number]), content]);
  };
  const whole = Buffer.concat([
    packets(`shallow ${A}\n`, "0000", "NAK\n"),
    band(2, Buffer.from("counting\n")),
    band(1, pack.subarray(0, 100)),
    band(1, pack.subarray(100, 310)),
    band(1, pack.subarray(310)),
    Buffer.from("0000"),
  ]);

  async function receive(bytes: Buffer, size: number): Promise<unknown> {
    const receiver = await PackReceiver.create(file);
    try {
      for (let at = 0; at < bytes.length; at += size) await receiver.push(bytes.subarray(at, at + size));
      return await receiver.finish();
    } catch (error) {
      return error;
    } finally {
      await receiver.close();
    }
  }

  test.each([1, 3, 7, 64, 10_000])("a whole pack comes out as it went in, in pieces of %i", async (size) => {
    expect(await receive(whole, size)).toEqual({ checksum: pack.subarray(-20).toString("hex"), objects: 7 });
    expect(readFileSync(file).equals(pack)).toBe(true);
  });

  test("a pack that breaks off anywhere, or has one byte changed, is refused", async () => {
    for (let end = 0; end < whole.length; end += 5) {
      const error = await receive(whole.subarray(0, end), 50);
      expect([end, error instanceof GitFailure]).toEqual([end, true]);
    }
    const damaged = Buffer.from(whole);
    damaged.writeUInt8(1, 200);
    expect(await receive(damaged, 50)).toMatchObject({ message: expect.stringContaining("checksum") });
  });

  test("what the server says in place of a pack is told, without its control characters", async () => {
    expect(await receive(Buffer.concat([band(3, Buffer.from("out of\u001b[2J memory\n"))]), 9)).toMatchObject({
      message: "the server says: out of [2J memory",
    });
    expect(await receive(packets("ERR upload-pack: not our ref\n"), 9)).toMatchObject({
      message: "the server says: upload-pack: not our ref",
    });
  });

  test("any bytes give a GitFailure", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        expect(await receive(Buffer.from(bytes), 11)).toBeInstanceOf(GitFailure);
      }),
      { numRuns: 200 },
    );
  });
});

describe("commits and trees", () => {
  const commit = [
    `tree ${A}`,
    `parent ${B}`,
    "author Jane Doe <jane@example.com> 1700000000 +0100",
    "committer Forge <forge@example.com> 1700000060 +0000",
    "gpgsig -----BEGIN SSH SIGNATURE-----",
    " tree of lies",
    " -----END SSH SIGNATURE-----",
    "",
    "Remove the old ones\n\nThey are not needed.\n\nOrca-Allow-Removal: 3\nSigned-off-by: Jane\n  Doe\n",
  ].join("\n");

  test("a commit: tree, parents, people, subject, trailers; a signature is none of them", () => {
    expect(parseCommit(Buffer.from(commit))).toEqual({
      tree: A,
      parents: [B],
      info: {
        author: "Jane Doe <jane@example.com>",
        committer: "Forge <forge@example.com>",
        committedMs: 1_700_000_060_000,
        subject: "Remove the old ones",
        trailers: [
          ["Orca-Allow-Removal", "3"],
          ["Signed-off-by", "Jane Doe"],
        ],
      },
    });
  });

  test.each([
    ["subject only", []],
    ["Orca-Allow-Removal: 3", []],
    ["subject\n\nnot a trailer\nOrca-Allow-Removal: 3", []],
    ["subject\n\nOrca-Allow-Removal: 3\n\nthe end", []],
    ["subject\r\n\r\nOrca-Allow-Removal: 3\r\n", [["Orca-Allow-Removal", "3"]]],
    ["subject\n\n__proto__: 3", []],
  ])("trailers of %j", (message, trailers) => {
    expect(parseTrailers(message)).toEqual(trailers);
  });

  test("a tree: files, directories, links and submodules by their kind", () => {
    const id = Buffer.alloc(20, 0xab);
    const entry = (mode: string, name: string): Buffer => Buffer.concat([Buffer.from(`${mode} ${name}\0`), id]);
    const tree = Buffer.concat([
      entry("100644", "a b.toml"),
      entry("100755", "run"),
      entry("40000", "files"),
      entry("120000", "link"),
      entry("160000", "module"),
    ]);
    expect(parseTree(tree).map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      "file a b.toml",
      "file run",
      "directory files",
      "link link",
      "submodule module",
    ]);
    expect(parseTree(tree)[0]?.id).toBe("ab".repeat(20));
    expect(() => parseTree(tree.subarray(0, 40))).toThrow(GitFailure);
  });

  test("any bytes give an object or a GitFailure", () => {
    const text = fc.oneof(fc.string(), fc.constantFrom("tree ", `tree ${A}`, "\n\n", "100644 a\0", "author x"));
    fc.assert(
      fc.property(fc.array(text, { maxLength: 8 }), (parts) => {
        const bytes = Buffer.from(parts.join("\n"));
        return failsWell(() => parseCommit(bytes)) && failsWell(() => parseTree(bytes));
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("words", () => {
  const place = { host: "git.example.com", tokenFile: "/etc/orca/git-token" };

  test.each([
    [401, /refuses the token in \/etc\/orca\/git-token \(401\)/],
    [403, /needs the right to read the repository/],
    [404, /the repository or the token's right to read it is missing/],
    [429, /limits the rate/],
    [502, /failed \(502\)/],
    [418, /none of Git's answers/],
  ])("a %i says what to do", (status, said) => {
    const fault = { code: "http-status", status, ...place } as const;
    expect(describeSourceFault(fault)).toMatch(said);
    expect(describeSourceFault({ ...fault, tokenFile: undefined })).toContain("git.example.com");
  });

  test.each([
    ["ENOTFOUND", /cannot be looked up.*check DNS/],
    ["ECONNREFUSED", /nothing listens/],
    ["ECONNRESET", /was cut/],
    ["EHOSTUNREACH", /cannot be reached/],
    ["SELF_SIGNED_CERT_IN_CHAIN", /is not trusted .*source.git.ca_file/],
    ["CERT_HAS_EXPIRED", /has run out .*renew it/],
    ["ERR_TLS_CERT_ALTNAME_INVALID", /is for another name/],
    ["EPROTO", /does not speak TLS/],
    ["EWHATEVER", /failed \(EWHATEVER\)/],
  ])("%s says what it means", (code, said) => {
    const keys = { urlKey: "source.git.url", caKey: "source.git.ca_file", caFile: undefined };
    const redirect = { who: "Git", redirectHint: "correct source.git.url" };
    expect(describeNetwork(code, { host: "git.example.com", ...keys, ...redirect })).toMatch(said);
  });

  test("Retry-After is seconds or a date, and at most a quarter of an hour, however large", () => {
    const nowMs = Date.UTC(2026, 10, 21, 12);
    const said = [
      undefined,
      "60",
      "Sat, 21 Nov 2026 12:02:00 GMT",
      "-5",
      "soon",
      "86400",
      "999999999",
      "9".repeat(400),
      "Fri, 31 Dec 9999 23:59:59 GMT",
      "Sat, 21 Nov 2026 11:00:00 GMT",
    ];
    const waits = said.map((value) => parseRetryAfter(value, nowMs));
    expect(waits).toEqual([undefined, 60_000, 120_000, undefined, undefined, 900_000, 900_000, undefined, 900_000, 0]);
  });
});
