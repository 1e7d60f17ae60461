// The audit log's chain: no line can be edited, removed, inserted or moved unseen, and nothing secret gets in.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  type AuditEntry,
  type AuditVerdict,
  chainEntry,
  ChainWalk,
  EMPTY_HEAD,
  printLine,
} from "../../../agent/report/audit/audit-chain.ts";
import type { AuditHead } from "../../../shared/document/audit-head.ts";
import { buildStepEntry } from "../../../agent/report/audit/audit-entry.ts";
import { beginState } from "../../../agent/report/status/report-state.ts";
import { reduceStatus } from "../../../agent/report/status/status-reducer.ts";
import type { ContainerSpec } from "../../../shared/state/container-spec.ts";
import { MUTATING_STEPS, type Step } from "../../../shared/state/step.ts";
import { buildTurn, buildView, containerOf, NOW_MS } from "../../builders/node/turns.ts";

const ENTRY: AuditEntry = {
  actor: { kind: "user", uid: 1000 },
  action: "restart",
  what: { service: "web" },
  result: "ok",
};

function walk(lines: readonly string[], anchors: readonly AuditHead[] = []): AuditVerdict {
  const chain = new ChainWalk(anchors);
  for (const line of lines) if (!chain.push(line)) break;
  return chain.end();
}

function buildChain(entries: readonly AuditEntry[]): { lines: string[]; head: AuditHead } {
  let head: AuditHead = EMPTY_HEAD;
  const lines = entries.map((entry) => {
    const line = chainEntry(entry, head, new Date(NOW_MS).toISOString());
    head = { seq: line.seq, hash: line.hash };
    return printLine(line);
  });
  return { lines, head };
}

const entries = fc.array(
  fc.record({
    actor: fc.oneof(
      fc.record({ kind: fc.constant("user" as const), uid: fc.nat() }),
      fc.record({ kind: fc.constant("commit" as const), revision: fc.string() }),
    ),
    action: fc.string(),
    what: fc.record({ service: fc.string(), parameter: fc.jsonValue() }),
    result: fc.constantFrom("ok" as const, "failed" as const),
  }),
  { minLength: 1, maxLength: 12 },
);

describe("the chain", () => {
  test("holds as it was written", () => {
    fc.assert(
      fc.property(entries, (list) => {
        const { lines, head } = buildChain(list);
        expect(walk(lines, [head])).toEqual({ ok: true, head });
      }),
    );
  });

  test("any edit of any character is found, at its line", () => {
    fc.assert(
      fc.property(
        entries,
        fc.nat(),
        fc.nat(),
        fc.string({ minLength: 1, maxLength: 1 }),
        (list, at, place, character) => {
          const { lines } = buildChain(list);
          const index = at % lines.length;
          const line = lines[index] ?? "";
          const cut = place % line.length;
          const edited = `${line.slice(0, cut)}${character}${line.slice(cut + 1)}`;
          fc.pre(edited !== line);
          expect(walk(lines.with(index, edited))).toMatchObject({ ok: false, line: index + 1 });
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test("an edit to what no agent writes is found and breaks nothing", () => {
    const { lines } = buildChain([{ ...ENTRY, what: { service: "web", count: 1 } }]);
    for (const edit of ["1e999", '"\\ud800"', "{}", "null"]) {
      const edited = lines.map((line) => line.replace('"count":1', `"count":${edit}`));
      expect(edited).not.toEqual(lines);
      expect(walk(edited)).toMatchObject({ ok: false, line: 1 });
    }
    for (const line of ["null", "[]", "1", '"x"', "{}", ""]) expect(walk([line])).toMatchObject({ ok: false, line: 1 });
  });

  test("a message cut within a character, or a number that is none, is written all the same", () => {
    const odd = { ...ENTRY, message: "🐋".slice(0, 1), what: { service: "web", share: Number.NaN } };
    const { lines, head } = buildChain([odd, ENTRY]);
    expect(walk(lines, [head])).toEqual({ ok: true, head });
  });

  test("white space, another order of keys and a doubled key are edits too", () => {
    const { lines } = buildChain([ENTRY, ENTRY]);
    const first = lines[0] ?? "";
    const reordered = JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(first) as object).toReversed()));
    for (const edited of [
      ` ${first}`,
      `${first} `,
      first.replace(",", ", "),
      reordered,
      first.replace("{", '{"seq":1,'),
    ]) {
      expect(edited).not.toBe(first);
      expect(walk([edited, ...lines.slice(1)])).toMatchObject({ ok: false, line: 1 });
    }
  });

  test("any deletion is found, of the last lines by the head that is kept", () => {
    fc.assert(
      fc.property(entries, fc.nat(), fc.nat(), (list, from, count) => {
        const { lines, head } = buildChain(list);
        const start = from % lines.length;
        const left = lines.toSpliced(start, 1 + (count % lines.length));
        expect(walk(left, [head]).ok).toBe(false);
      }),
    );
  });

  test("any insertion is found: of a line of this log, of another log, of an empty line", () => {
    fc.assert(
      fc.property(entries, entries, fc.nat(), fc.nat(), (list, others, from, to) => {
        const { lines, head } = buildChain(list);
        const foreign = buildChain(others).lines;
        const place = to % (lines.length + 1);
        for (const line of [lines[from % lines.length] ?? "", foreign.at(-1) ?? "", ""]) {
          expect(walk(lines.toSpliced(place, 0, line), [head]).ok).toBe(false);
        }
      }),
    );
  });

  test("any swap is found", () => {
    fc.assert(
      fc.property(entries, fc.nat(), fc.nat(), (list, first, second) => {
        const { lines } = buildChain(list);
        const [left, right] = [first % lines.length, second % lines.length];
        fc.pre(left !== right);
        const swapped = lines.with(left, lines[right] ?? "").with(right, lines[left] ?? "");
        expect(walk(swapped)).toMatchObject({ ok: false, line: Math.min(left, right) + 1 });
      }),
    );
  });

  test("a chain that does not begin with its first line is not whole", () => {
    const first = chainEntry(ENTRY, { ...EMPTY_HEAD, seq: 4 }, new Date(NOW_MS).toISOString());
    expect(walk([printLine(first)])).toMatchObject({
      ok: false,
      line: 1,
      message: expect.stringContaining("number is 5") as string,
    });
  });

  test("a log written anew, whole and consistent, is not the one whose head is known", () => {
    const { head } = buildChain([ENTRY, ENTRY]);
    const { lines } = buildChain([{ ...ENTRY, action: "pause" }, ENTRY, ENTRY]);
    expect(walk(lines)).toMatchObject({ ok: true });
    expect(walk(lines, [head])).toMatchObject({ ok: false, line: 2 });
  });
});

describe("what is recorded", () => {
  const spec: ContainerSpec = {
    image: "app:2",
    env: { KC_DB: "CANARY-ENV" },
    secretEnv: { PASSWORD: "/prod/x#CANARY-DIGEST" },
    labels: { note: "CANARY-LABEL" },
    volumes: [{ name: "data", target: "/data" }],
    ports: ["127.0.0.1:80:80"],
  };
  const caps = { memoryBytes: 1, nanoCpus: 0, cpuShares: 0, pids: 1 };
  const container = containerOf("web");
  const steps: Step[] = [
    { kind: "ensure-network", network: "orca-vm1", internal: false },
    { kind: "write-hosts", hosts: { vm1: "10.0.0.1" } },
    { kind: "ensure-image", service: "web", image: "app:2" },
    { kind: "ensure-volume", service: "web", volume: "data" },
    {
      kind: "write-files",
      service: "web",
      specHash: "v1:1",
      files: [{ target: "/a", content: { kind: "plain", hash: "h" }, mode: "0444" }],
    },
    {
      kind: "write-files",
      service: "web",
      specHash: "v1:1",
      files: [
        {
          target: "/run/secrets/tls.key",
          content: { kind: "secret", path: "/prod/web/TLS_KEY", version: "0123456789abcdef" },
          mode: "0400",
        },
      ],
    },
    { kind: "remove-files", service: "web", specHash: "v1:1" },
    {
      kind: "create-container",
      service: "web",
      name: "orca-vm1-web-1",
      network: "orca-vm1",
      specHash: "v1:1",
      revision: "b".repeat(40),
      spec,
      caps,
      stopTimeoutMs: 1,
    },
    { kind: "start-container", service: "web", container },
    { kind: "unpause-container", service: "web", container },
    { kind: "stop-container", service: "web", container, timeoutMs: 1 },
    { kind: "remove-container", service: "web", container },
    { kind: "update-caps", service: "web", container, from: caps, to: { ...caps, memoryBytes: 2 } },
    { kind: "connect-network", service: "web", container, network: "orca-vm1", aliases: ["web"] },
    { kind: "signal-container", service: "web", container, signal: "SIGHUP" },
    { kind: "exec-in-container", service: "web", container, command: ["reload"] },
    { kind: "switch-traffic", service: "web", front: "web.front", run: "r", ports: [80], address: "172.30.0.2" },
    { kind: "drain-traffic", service: "web", front: "web.front", ports: [80], address: "172.30.0.3", timeoutMs: 1_000 },
    { kind: "rename-container", service: "web", container, name: "orca-vm1-web-12345678" },
  ];
  const cause = {
    kind: "commit",
    why: { code: "said", said: { message: "new spec" } },
    detail: "new spec",
    revision: "b".repeat(40),
  } as const;
  const turn = { kind: "turn", atMs: NOW_MS, turn: buildTurn({ views: [buildView("web")] }) } as const;
  const state = reduceStatus(beginState(NOW_MS), turn);
  const done = (step: Step, changed = true): Parameters<typeof buildStepEntry>[0] => ({
    kind: "step-done",
    atMs: NOW_MS,
    lane: "web",
    step,
    cause,
    tookMs: 1,
    changed,
  });

  test("each mutating step that changed something, and no other", () => {
    const recorded = steps.filter((step) => buildStepEntry(done(step), state) !== undefined).map(({ kind }) => kind);
    expect(new Set(recorded)).toEqual(MUTATING_STEPS);
    expect(steps.map((step) => buildStepEntry(done(step, false), state)).filter(Boolean)).toEqual([]);
  });

  test("no value of the environment, of a secret or of a label", () => {
    const text = steps.map((step) => JSON.stringify(buildStepEntry(done(step), state))).join("");
    expect(text).not.toContain("CANARY");
    expect(text).toContain("KC_DB");
    expect(text).toContain("PASSWORD");
  });

  test("who signed the commit and which tag let it in, also once the source says it no more", () => {
    const revision = "a".repeat(40);
    const commit = { author: "Jane", committer: "Forge", committedMs: 0, subject: "x", trailers: [] };
    const take = (before: ReturnType<typeof beginState>, source: object): ReturnType<typeof beginState> => {
      const made = buildTurn({ views: [buildView("web")], source: { revision, ...source } });
      return reduceStatus(before, { kind: "turn", atMs: NOW_MS, turn: made });
    };
    const approval = "orca/approve/vm1/1 by SHA256:xyz (ops), who signed it";
    const fresh = take(beginState(NOW_MS), { commit: { ...commit, signer: "SHA256:abc (dev)" }, approval });
    const later = take(fresh, { commit });
    const event = { ...done(steps[8] as Step), cause: { ...cause, kind: "commit", revision } } as const;
    for (const known of [fresh, later])
      expect(buildStepEntry(event, known)?.actor).toMatchObject({
        kind: "commit",
        author: "Jane",
        signer: "SHA256:abc (dev)",
        approval,
      });
    const next = take(later, { revision: "b".repeat(40), commit });
    const other = { ...event, cause: { ...event.cause, revision: "b".repeat(40) } };
    expect(buildStepEntry(other, next)?.actor).toEqual({
      kind: "commit",
      revision: "b".repeat(40),
      author: "Jane",
      committer: "Forge",
    });
  });

  test("a failed step too, with what was said", () => {
    const event = {
      kind: "step-failed",
      atMs: NOW_MS,
      lane: "web",
      step: steps[8] as Step,
      cause,
      message: "x".repeat(9_000),
    } as const;
    const entry = buildStepEntry(event, state);
    expect(entry).toMatchObject({ result: "failed", action: "start-container" });
    expect(entry?.message).toHaveLength(2_000);
  });

  test("the value before, where there is one", () => {
    expect(buildStepEntry(done(steps[12] as Step), state)).toMatchObject({ from: caps });
    expect(buildStepEntry(done(steps[7] as Step), state)).toMatchObject({
      from: { container, image: "app:1", revision: "a".repeat(40) },
    });
    expect(buildStepEntry(done(steps[7] as Step), beginState(NOW_MS))).not.toHaveProperty("from");
  });

  test.each([
    [
      { kind: "commit", why: { code: "said", said: { message: "" } }, detail: "", revision: "abc" },
      { kind: "commit", revision: "abc" },
    ],
    [
      { kind: "removal", why: { code: "said", said: { message: "" } }, detail: "", revision: "abc" },
      { kind: "commit", revision: "abc" },
    ],
    [
      { kind: "drift", why: { code: "said", said: { message: "" } }, detail: "", revision: "abc" },
      { kind: "agent", revision: "abc" },
    ],
    [{ kind: "crash", why: { code: "said", said: { message: "" } }, detail: "" }, { kind: "agent" }],
    [
      { kind: "operator", why: { code: "said", said: { message: "" } }, detail: "", uid: 1000 },
      { kind: "user", uid: 1000 },
    ],
  ] as const)("the cause %j is recorded under %j", (why, actor) => {
    expect(buildStepEntry({ ...done(steps[8] as Step), cause: why }, state)?.actor).toEqual(actor);
  });
});
