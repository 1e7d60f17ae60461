// What the agent and the child say to each other, and when a branch is asked for next.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  decodeAnswer,
  encodeFailure,
  encodeRead,
  type ReadParts,
} from "../../../agent/sources/git/poll/git-exchange.ts";
import { GitFailure } from "../../../agent/sources/git/wire/git-failure.ts";
import { hintDelayMs, failPoll, pollDelayMs } from "../../../agent/sources/git/poll/git-schedule.ts";
import { selectOthers } from "../../../agent/sources/git/store/git-select.ts";
import { isHeldBack, type Setback } from "../../../shared/state/backoff.ts";

const COMMIT = { author: "a", committer: "b", committedMs: 5, subject: "s", trailers: [["K", "v"]] as const };

function buildParts(parts: Partial<ReadParts> = {}): ReadParts {
  const found = { objects: { directory: "d".repeat(40), fleet: undefined }, notes: [] };
  const base = {
    revision: "c".repeat(40),
    commit: COMMIT,
    ...found,
    shown: "orca/",
    rewritten: false,
    fleet: undefined,
  };
  return { ...base, manifests: [], files: [], ...parts };
}

describe("the answer", () => {
  test("comes out as it went in, whatever the names and contents", () => {
    const content = fc.uint8Array({ maxLength: 50 });
    const name = fc.oneof(
      fc.string({ minLength: 1, maxLength: 8 }),
      fc.constantFrom("__proto__", "constructor", 'é/"\n'),
    );
    const file = fc.record({ path: name, content });
    const parts = fc.record({
      fleet: fc.option(fc.string(), { nil: undefined }),
      texts: fc.dictionary(name, fc.string()),
      files: fc.uniqueArray(file, { selector: ({ path }) => path }),
      rewritten: fc.boolean(),
    });
    fc.assert(
      fc.property(parts, ({ fleet, texts, files, rewritten }) => {
        const manifests = Object.entries(texts).map(([service, text]) => ({
          node: "vm1",
          service,
          content: Buffer.from(text),
        }));
        const answer = encodeRead(
          buildParts({ fleet: fleet === undefined ? undefined : Buffer.from(fleet), manifests, files, rewritten }),
        );
        const { snapshot, rewritten: said } = decodeAnswer(answer, "vm1");
        expect(said).toBe(rewritten);
        expect(snapshot.fleet).toBe(fleet === undefined ? undefined : Buffer.from(fleet).toString());
        const expected = Object.entries(texts).map(([service, text]) => [service, Buffer.from(text).toString()]);
        expect(Object.entries(snapshot.manifests["vm1"] ?? {})).toEqual(Object.entries(Object.fromEntries(expected)));
        for (const { path, content: bytes } of files)
          expect(Object.entries(snapshot.files).find(([key]) => key === path)?.[1]).toEqual(bytes);
        expect(snapshot.commit).toEqual(COMMIT);
      }),
    );
  });

  test("that is a failure is thrown as it was", () => {
    const failure = new GitFailure(
      { code: "server-said", message: "no such branch" },
      { lasting: true, retryAfterMs: 5_000 },
    );
    expect(() => decodeAnswer(encodeFailure(failure), "vm1")).toThrow(failure);
    try {
      decodeAnswer(encodeFailure(failure), "vm1");
    } catch (error) {
      expect(error).toMatchObject({ lasting: true, retryAfterMs: 5_000 });
    }
  });

  test("that is a failure keeps its code and fields; one of another version, whose code is not known, keeps its words", () => {
    const fault = { code: "not-git", host: "git.example.com", type: "text/html" } as const;
    const thrown = (answer: Buffer): unknown => {
      try {
        return decodeAnswer(answer, "vm1");
      } catch (error) {
        return error;
      }
    };
    expect(thrown(encodeFailure(new GitFailure(fault)))).toMatchObject({ fault });
    const later = new GitFailure(fault, { distrusted: true });
    const said = { code: "said", message: later.message };
    const unknown = [
      { code: "of-a-later-version" },
      { code: "broken-answer", why: "of-a-later-version" },
      { code: "exchange", fault: { kind: "of-a-later-version" }, place: {} },
      { code: "exchange", fault: { kind: "ended" } },
    ];
    for (const one of unknown) {
      Object.assign(later, { fault: one });
      expect(thrown(encodeFailure(later))).toMatchObject({ fault: said, distrusted: true });
    }
    // What an earlier version's process answers.
    const text = JSON.stringify({ kind: "failed", reason: "commit x is not trusted", lasting: true, distrusted: true });
    const sizes = Buffer.alloc(8);
    sizes.writeUInt32BE(text.length, 0);
    const earlier = thrown(Buffer.concat([Buffer.from("orcagit1"), sizes, Buffer.from(text)]));
    expect(earlier).toMatchObject({ message: "commit x is not trusted", lasting: true, distrusted: true });
  });

  test("that is cut, longer or changed anywhere is a GitFailure or another answer, never anything else", () => {
    const files = [{ path: "files/x", content: Buffer.from("content") }];
    const whole = encodeRead(buildParts({ fleet: Buffer.from("[nodes]"), files }));
    const decode = (answer: Buffer): unknown => {
      try {
        return decodeAnswer(answer, "vm1");
      } catch (error) {
        return error;
      }
    };
    for (let end = 0; end < whole.length; end += 1) expect(decode(whole.subarray(0, end))).toBeInstanceOf(GitFailure);
    expect(decode(Buffer.concat([whole, Buffer.from("x")]))).toBeInstanceOf(GitFailure);
    for (let at = 0; at < whole.length; at += 1) {
      const changed = Buffer.from(whole);
      changed.writeUInt8(changed.readUInt8(at) ^ 0x15, at);
      const result = decode(changed);
      expect(!(result instanceof Error) || result instanceof GitFailure).toBe(true);
    }
    expect(decode(Buffer.alloc(0))).toBeInstanceOf(GitFailure);
  });
});

describe("the next poll", () => {
  test("comes within a tenth of its time, always the same for a node, and not the same for all", () => {
    const nodes = Array.from({ length: 200 }, (_value, index) => `vm${index}\nhttps://git.example.com/a/b`);
    const first = nodes.map((key) => pollDelayMs(15_000, key, 1));
    expect(Math.min(...first)).toBeGreaterThanOrEqual(13_500);
    expect(Math.max(...first)).toBeLessThanOrEqual(16_500);
    expect(new Set(first).size).toBeGreaterThan(150);
    expect(nodes.map((key) => pollDelayMs(15_000, key, 1))).toEqual(first);
    expect(pollDelayMs(15_000, "vm1", 1)).not.toBe(pollDelayMs(15_000, "vm1", 2));
    const mean = first.reduce((sum, delay) => sum + delay, 0) / first.length;
    expect(Math.abs(mean - 15_000)).toBeLessThan(300);
  });

  test("after failures backs off from 5 s to 5 min, jittered, and never below what the server asks for", () => {
    const fail = (times: number, key: string): Setback | undefined => {
      let setback: Setback | undefined;
      for (let count = 0; count < times; count += 1) setback = failPoll(setback, { nowMs: 1_000, message: "no", key });
      return setback;
    };
    const delays = Array.from({ length: 12 }, (_value, index) => (fail(index + 1, "vm1")?.nextMs ?? 0) - 1_000);
    for (const [index, delay] of delays.entries()) {
      const whole = Math.min(300_000, 5_000 * 2 ** index);
      expect(delay).toBeGreaterThanOrEqual(whole * 0.8);
      expect(delay).toBeLessThanOrEqual(whole);
    }
    expect(delays.at(-1)).toBeGreaterThanOrEqual(240_000);
    const asked = failPoll(undefined, { nowMs: 1_000, message: "no", key: "vm1", retryAfterMs: 90_000 });
    expect(asked).toEqual({ message: "no", attempt: 0, nextMs: 91_000 });
    expect([isHeldBack(asked, 90_999), isHeldBack(asked, 91_000), isHeldBack(undefined, 0)]).toEqual([
      true,
      false,
      false,
    ]);
    const nodes = Array.from({ length: 50 }, (_value, index) => fail(3, `vm${index}`)?.nextMs);
    expect(new Set(nodes).size).toBeGreaterThan(40);
  });

  test("after a hint is at once, but for a poll, a fetch or a rate limit just before", () => {
    const never = { polledMs: -Infinity, fetchedMs: -Infinity, notBeforeMs: -Infinity };
    expect(hintDelayMs(never, 0)).toBe(0);
    expect(hintDelayMs({ ...never, polledMs: 9_800 }, 10_000)).toBe(800);
    expect(hintDelayMs({ ...never, polledMs: 9_800, fetchedMs: 9_800 }, 10_000)).toBe(5_800);
    expect(hintDelayMs({ polledMs: 0, fetchedMs: 0, notBeforeMs: 70_000 }, 10_000)).toBe(60_000);
  });
});

describe("which manifests of others matter", () => {
  /** A reader over places in memory that counts what it reads. */
  function open(texts: Record<string, string>): { reader: Parameters<typeof selectOthers>[1]; read: string[] } {
    const read: string[] = [];
    const nodes = [...new Set(Object.keys(texts).map((place) => place.split("/")[0] ?? ""))];
    const readOne = async (node: string, service: string): Promise<string | undefined> => {
      read.push(`${node}/${service}`);
      return texts[`${node}/${service}`];
    };
    const readRouted = async (node: string): Promise<Map<string, string>> => {
      const routed = Object.entries(texts).filter(
        ([place, text]) => place.startsWith(`${node}/`) && text.includes("routes"),
      );
      return new Map(routed.map(([place, text]) => [place.slice(node.length + 1), text]));
    };
    return { reader: { nodes, readOne, readRouted }, read };
  }

  async function select(own: string, texts: Record<string, string>): Promise<string[]> {
    const { reader } = open({ ...texts, "vm1/a": own });
    const chosen = await selectOthers([{ node: "vm1", service: "a", text: own }], reader);
    return chosen.map(({ node, service }) => `${node}/${service}`).toSorted();
  }

  test("those that are required, through any number of nodes, and no others", async () => {
    const texts = {
      "vm2/db": 'requires = ["store", "vm3/disk"]',
      "vm2/store": "",
      "vm2/other": "",
      "vm3/disk": '{ on = "vm4/net", expires = "5m" }',
      "vm4/net": 'requires = ["vm1/a"]',
    };
    expect(await select('requires = ["vm2/db"]', texts)).toEqual(["vm2/db", "vm2/store", "vm3/disk", "vm4/net"]);
    expect(await select("requires = ['vm2/other']", texts)).toEqual(["vm2/other"]);
    expect(await select('image = "vm2/db:1"\nsource = "/mnt/vm2/db"', texts)).toEqual([]);
    expect(await select("", texts)).toEqual([]);
  });

  test("circles end", async () => {
    const texts = { "vm2/b": 'requires = ["vm3/c"]', "vm3/c": 'requires = ["vm2/b", "vm1/a"]' };
    expect(await select('requires = ["vm2/b"]', texts)).toEqual(["vm2/b", "vm3/c"]);
  });

  test("a node without templates reads nothing that it does not require", async () => {
    const texts = Object.fromEntries(
      Array.from({ length: 500 }, (_value, index) => [`vm${index + 2}/x`, "[[routes]]"]),
    );
    const { reader, read } = open(texts);
    await selectOthers([{ node: "vm1", service: "a", text: 'requires = ["vm9/x"]' }], reader);
    expect(read).toEqual(["vm9/x"]);
  });
});
