// Every kind of alert on a whole agent, by real HTTP: told once, again after its time while it lasts, and once that it is over. And channels
// that refuse, fail and hang: the next one gets the message, and nothing is lost.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { DrillStanding } from "../../../shared/drill/drill.ts";
import type { StoreStanding } from "../../../shared/state/promise.ts";
import { AlertNode } from "../../builders/node/alert-node.ts";
import { buildManifest } from "../../builders/node/manifest.ts";

const MINUTE = 60_000;
const HOUR = 3_600_000;
const CHAT = '{ url_secret = "/prod/alerts/chat", min = "warning" }';
const ISSUES = '{ gitea_issues = true, min = "warning" }';
const FAST = '[update]\nsettle = "1s"\nhealthy_within = "10s"';
const good = (tables = FAST): string => buildManifest({ tables });

let one: AlertNode;
let standings: StoreStanding[] = [];
let drills: DrillStanding[] = [];
beforeEach(async () => {
  one = await new AlertNode().open();
  [standings, drills] = [[], []];
  one.parts = {
    backups: {
      notes: [],
      get standings() {
        return standings;
      },
    },
    drills: {
      notes: [],
      get standings() {
        return drills;
      },
    },
  };
  one.node.engine.images.set("bad:1", { endsAfterMs: 10, exitCode: 3 });
});
afterEach(() => one.dispose());

async function begin(webhooks: string, rest = 'repeat = "1h"'): Promise<void> {
  one.tell(`webhooks = [${webhooks}]\n${rest}`);
  one.node.source.set({ web: good(), db: good(), third: good() });
  await one.node.start();
  await one.node.untilSettled(["web", "db", "third"]);
  await one.pass(2 * MINUTE);
  expect(one.taken).toEqual([]);
}

function stand(parts: Partial<StoreStanding>): StoreStanding {
  return {
    service: "db",
    store: "main",
    repository: "local",
    rpoMs: 6 * HOUR,
    newestMs: one.node.clock.nowMs(),
    seenMs: 0,
    trouble: undefined,
    lastRun: undefined,
    lastVerify: undefined,
    proof: undefined,
    ...parts,
  };
}

function end(how: { oom?: boolean } = {}): void {
  const container = one.node.engine.running("web");
  if (container !== undefined) one.node.engine.end(container, 137, how);
}

/** One kind: how it comes about, and how it ends. */
interface Kind {
  name: string;
  subject: string;
  state: string;
  fire: () => void;
  heal: () => void;
  /** It ends by itself before it would be told again. */
  passing?: true;
}

const source = (manifests: Record<string, string | undefined>): void => one.node.source.set(manifests);
const GIB = 2 ** 30;

const KINDS: readonly Kind[] = [
  {
    name: "a service in backoff",
    subject: "web",
    state: "backoff",
    fire: () => {
      one.node.engine.images.set("app:1", { endsAfterMs: 10, exitCode: 1 });
      end();
    },
    heal: () => void one.node.engine.images.set("app:1", {}),
  },
  {
    name: "an unhealthy service",
    subject: "web",
    state: "unhealthy",
    fire: () => void one.node.sick.add(one.node.engine.running("web")?.id ?? ""),
    heal: () => one.node.sick.clear(),
  },
  {
    name: "a release that was rolled back",
    subject: "web",
    state: "rolled-back",
    fire: () => source({ web: buildManifest({ image: "bad:1", tables: FAST }) }),
    heal: () => source({ web: good() }),
  },
  {
    name: "an invalid manifest",
    subject: "web",
    state: "invalid",
    fire: () => source({ web: "image = 5" }),
    heal: () => source({ web: good() }),
  },
  {
    name: "a manifest that the host's policy refuses",
    subject: "web",
    state: "refused",
    fire: () => source({ web: buildManifest({ top: "privileged = true", tables: FAST }) }),
    heal: () => source({ web: good() }),
  },
  {
    name: "a service that failed for good",
    subject: "once",
    state: "failed",
    fire: () => source({ once: buildManifest({ image: "bad:1", tables: '[restart]\npolicy = "never"' }) }),
    heal: () => source({ once: good() }),
  },
  {
    name: "a source that cannot be read",
    subject: "@source",
    state: "unreadable",
    fire: () => one.node.source.fail("it is away"),
    heal: () => one.node.source.fail(undefined),
  },
  {
    name: "an engine that does not answer",
    subject: "@engine",
    state: "unreachable",
    fire: () => void (one.node.engine.reachable = false),
    heal: () => void (one.node.engine.reachable = true),
  },
  {
    name: "secrets that cannot be read",
    subject: "@secrets",
    state: "unreadable",
    fire: () => one.secrets.fail("*", { kind: "unavailable", reason: "it is away" }),
    heal: () => one.secrets.fail("*", undefined),
  },
  {
    name: "a service that was killed for memory",
    subject: "@oom:web",
    state: "oom",
    fire: () => end({ oom: true }),
    heal: () => undefined,
    passing: true,
  },
  {
    name: "a node that is lost",
    subject: "@node:vm2",
    state: "lost",
    fire: () => {
      const view = { node: "vm2", why: "no answer", forMs: 2 * MINUTE, stale: "gone", silenceMs: 1, words: undefined };
      one.peers = [{ ...view, state: "dead" }];
    },
    heal: () => void (one.peers = one.peers.map((peer) => ({ ...peer, state: "alive" as const }))),
  },
  {
    name: "a change that removes much",
    subject: "@source",
    state: "held",
    fire: () => source({ web: undefined, db: undefined, third: undefined }),
    heal: () => source({ web: good(), db: good(), third: good() }),
  },
  {
    name: "a host that has become weaker",
    subject: "@doctor",
    state: "weak",
    fire: () => {
      const fresh = [{ id: "S01", check: "ssh", severity: "fail", what: "passwords", fix: "no" }] as const;
      const look = { weak: 1, fresh, trouble: undefined };
      one.report?.emit({ kind: "doctor-looked", atMs: one.node.clock.nowMs(), look });
    },
    heal: () => {
      const look = { weak: 0, fresh: [], trouble: undefined };
      one.report?.emit({ kind: "doctor-looked", atMs: one.node.clock.nowMs(), look });
    },
    passing: true,
  },
  {
    name: "a version of the agent that cannot be taken",
    subject: "@update",
    state: "stuck",
    fire: () => {
      const update = { running: "1.0.0", wanted: "1.1.0", stage: "stuck", why: "no package" } as const;
      one.report?.emit({ kind: "agent-update", atMs: one.node.clock.nowMs(), update });
    },
    heal: () => {
      const update = { running: "1.1.0", wanted: "1.1.0", stage: "none", why: undefined } as const;
      one.report?.emit({ kind: "agent-update", atMs: one.node.clock.nowMs(), update });
    },
  },
  {
    name: "a disk that is nearly full",
    subject: "@disk:/",
    state: "full",
    fire: () => {
      const disk = { path: "/", totalBytes: 100 * GIB, freeBytes: 9 * GIB, inodes: 10, inodesFree: 9 };
      one.host = { ...one.host, disks: [disk] };
    },
    heal: () => void (one.host = { ...one.host, disks: one.host.disks.map((d) => ({ ...d, freeBytes: 50 * GIB })) }),
  },
  {
    name: "memory that is nearly full for ten minutes",
    subject: "@capacity:memory",
    state: "memory-full",
    fire: () => void (one.host = { ...one.host, memoryAvailableBytes: GIB }),
    heal: () => void (one.host = { ...one.host, memoryAvailableBytes: 6 * GIB }),
  },
  {
    name: "processors that are busy for ten minutes",
    subject: "@capacity:cpu",
    state: "cpu-full",
    fire: () => void (one.host = { ...one.host, cpuLoadPercent: 85 }),
    heal: () => void (one.host = { ...one.host, cpuLoadPercent: 5 }),
  },
  {
    name: "a run that made no backup",
    subject: "@backup:db/main",
    state: "backup-failed",
    fire: () => {
      const run = { trigger: "schedule", startedMs: 1, endedMs: 2, reason: "the dump ended with 1" } as const;
      standings = [stand({ lastRun: run })];
    },
    heal: () => void (standings = [stand({})]),
  },
  {
    name: "a backup that cannot be restored",
    subject: "@proof:db/main",
    state: "backup-bad",
    fire: () => {
      const lastVerify = { verdict: "bad", backup: "db.dump", detail: "no table" };
      standings = [stand({ lastVerify: lastVerify as unknown as NonNullable<StoreStanding["lastVerify"]> })];
    },
    heal: () => void (standings = [stand({})]),
  },
  {
    name: "a broken recovery point",
    subject: "@rpo:db/main@local",
    state: "rpo-broken",
    fire: () => void (standings = [stand({ newestMs: one.node.clock.nowMs() - 7 * HOUR })]),
    heal: () => void (standings = [stand({})]),
  },
  {
    name: "a drill that is due",
    subject: "@drill:db/main",
    state: "drill-overdue",
    fire: () => void (drills = [{ service: "db", store: "main", drilledMs: undefined, dueMs: 1 }]),
    heal: () =>
      void (drills = [{ service: "db", store: "main", drilledMs: undefined, dueMs: Number.MAX_SAFE_INTEGER }]),
  },
];

describe("every kind is told once, again after its time while it lasts, and once that it is over:", () => {
  test.each(KINDS.map((kind) => [kind.name, kind] as const))(
    "%s",
    async (_name, { subject, state, fire, heal, passing }) => {
      await begin(CHAT);
      fire();
      await one.until(() => one.of(subject, state).length > 0, `${subject} ${state}`, 5_000);
      await one.pass(20 * MINUTE);
      expect(one.of(subject, state)).toHaveLength(1);
      if (passing === undefined) {
        await one.until(() => one.of(subject, state).length > 1, `${subject} again`, 60_000);
        const [first, second] = one.of(subject, state);
        expect((second?.takenMs ?? 0) - (first?.takenMs ?? 0)).toBeGreaterThanOrEqual(HOUR);
        expect((second?.takenMs ?? 0) - (first?.takenMs ?? 0)).toBeLessThan(HOUR + 15 * MINUTE);
      }
      heal();
      await one.until(() => one.of(subject, undefined, true).length > 0, `${subject} over`, 30_000);
      await one.pass(30 * MINUTE);
      expect(one.of(subject, undefined, true)).toHaveLength(1);
      expect(`${JSON.stringify(one.taken)}${one.log}`).not.toContain("CANARY");
    },
    120_000,
  );

  test("an availability that is broken, and a recovery that took too long", async () => {
    await begin(CHAT);
    const slo = '[slo]\navailability = 99.9\nrto = "10m"';
    one.node.source.set({ web: good(`${FAST}\n${slo}`) });
    await one.pass(5 * MINUTE);
    one.node.engine.images.set("app:1", { endsAfterMs: 10, exitCode: 1 });
    end();
    await one.until(() => one.of("@rto:web", "rto-broken").length > 0, "rto", 30_000);
    expect(one.of("@availability:web", undefined)).toEqual([]);
    // 43 minutes of 30 days.
    await one.until(() => one.of("@availability:web", "availability-broken").length > 0, "availability", 60_000);
    expect(one.of("@rto:web", "rto-broken")).toHaveLength(1);
    expect(one.of("@availability:web", "availability-broken")[0]?.reason).toMatch(
      /^it was down for 4\dm.*; slo\.availability of 99\.9 % allows 43m.* in 30 days$/,
    );
    const slos = one.report?.view.slo();
    expect(slos?.held).toBe(false);
    expect(slos?.rto.find(({ service }) => service === "web")).toMatchObject({ state: "broken", ended: null });
    one.node.engine.images.set("app:1", {});
    one.node.source.set({ web: good(`${FAST}\n[slo]\navailability = 90\nrto = "3h"`) });
    await one.until(() => one.of("@availability:web", undefined, true).length > 0, "availability held", 60_000);
    await one.until(() => one.of("@rto:web", undefined, true).length > 0, "rto held", 60_000);
  }, 120_000);
});

describe("a chat that", () => {
  const fire = (): void => void (drills = [{ service: "db", store: "main", drilledMs: undefined, dueMs: 1 }]);

  test("refuses with 404 is not tried again: the forge gets one issue for the kind and week, and a comment for each message", async () => {
    await begin(`${CHAT}, ${ISSUES}`);
    one.answer = 404;
    fire();
    await one.until(() => one.forge.issues.length > 0, "an issue");
    expect(one.asked).toBe(1);
    expect(one.forge.issues[0]?.title).toBe("Orca alert drill-overdue, week 2026-W47");
    expect(one.forge.issues[0]?.body).toMatch(/^ {4}\[warning\] vm1\/db is drill-overdue: /);
    drills = [...drills, { service: "web", store: "files", drilledMs: undefined, dueMs: 1 }];
    await one.until(() => one.forge.issues[0]?.comments.length === 1, "a comment");
    drills = drills.map((drill) => ({ ...drill, dueMs: Number.MAX_SAFE_INTEGER }));
    await one.until(() => one.forge.issues[0]?.comments.length === 3, "both are over");
    expect(one.forge.issues).toHaveLength(1);
    expect(one.report?.status().notes.join()).toContain(
      "of the alert channels in fleet.toml the webhook of /prod/alerts/chat refuses messages with 404",
    );
    expect(JSON.stringify(one.forge.issues)).not.toContain("CANARY");
  });

  test.each([["answers 500", 500] as const, ["hangs", "hang"] as const])(
    "%s is tried three times more, and then the forge is asked",
    async (_name, answer) => {
      await begin(`${CHAT}, ${ISSUES}`);
      one.answer = answer;
      fire();
      await one.until(() => one.forge.issues.length > 0, "an issue", 1_000);
      expect(one.asked).toBe(4);
      // The next message tries it once, and goes back to it when it takes messages again.
      one.answer = 200;
      drills = drills.map((drill) => ({ ...drill, dueMs: Number.MAX_SAFE_INTEGER }));
      await one.until(() => one.of("@drill:db/main", undefined, true).length > 0, "over");
      expect(one.asked).toBe(5);
    },
    120_000,
  );

  test("takes nothing while the forge does not either loses nothing: it is told when one of them is back, also over a restart", async () => {
    await begin(`${CHAT}, ${ISSUES}`);
    one.answer = 404;
    one.useToken("weak");
    fire();
    await one.until(() => one.report?.status().notes.join().includes("no alert channel") === true, "a note", 1_000);
    expect(one.report?.status().notes.join()).toContain("the forge's issues refuses messages with 403");
    await one.node.stop();
    await one.node.start();
    one.answer = 200;
    await one.until(() => one.of("@drill:db/main", "drill-overdue").length > 0, "told", 30_000);
    await one.pass(30 * MINUTE);
    expect(one.of("@drill:db/main", "drill-overdue")).toHaveLength(1);
  });
});

test("the address outside is called while the loop turns", async () => {
  await begin(CHAT, 'repeat = "1h"\nheartbeat = { url_secret = "/prod/alerts/outside", every = "1m" }');
  const before = one.beats;
  await one.pass(10 * MINUTE);
  expect(one.beats - before).toBeGreaterThanOrEqual(8);
  expect(one.beats - before).toBeLessThanOrEqual(11);
});
