// The agent's side of its own update: asks the updater by a file, once, waits for the canary, says what keeps it, and tells its peers
// whether its version is confirmed. On real files.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { listPlaces } from "../../../agent/update/places.ts";
import { UpdateKeeper } from "../../../agent/update/update-keeper.ts";
import { printRecord } from "../../../agent/update/core/update-record.ts";
import type { AgentPin, AgentWord } from "../../../shared/fleet/agent-version.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";
import { buildTurn } from "../../builders/node/turns.ts";

const SHA = "a".repeat(64);
const PIN: AgentPin = { version: "0.2.0", sha256: { amd64: SHA }, canary: "vm-a" };

let root = "";
let clock = new FakeClock();
let events: AgentEvent[] = [];
let canary: AgentWord | undefined;
let hasKey = true;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "orca-keeper-"));
  mkdirSync(join(root, "versions/0.1.0"), { recursive: true });
  symlinkSync("versions/0.1.0", join(root, "current"));
  [clock, events, canary, hasKey] = [new FakeClock(), [], undefined, true];
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

function open(running = "0.1.0"): UpdateKeeper {
  return new UpdateKeeper({
    node: "vm-b",
    running,
    arch: "amd64",
    places: listPlaces(root),
    requestPath: join(root, "request.json"),
    clock,
    hasSource: true,
    hasKey: async () => hasKey,
    hear: (node) => (node === "vm-a" ? canary : undefined),
    emit: (event) => events.push(event),
  });
}

/** A turn with that pin, a while after the one before. */
async function turn(keeper: UpdateKeeper, pin: AgentPin | undefined): Promise<void> {
  await clock.advance(11_000);
  const { desired, ...rest } = buildTurn({ views: [] });
  if (desired === undefined) throw new Error("the turn has nothing that is wanted");
  keeper.follow({ ...rest, desired: { ...desired, ...(pin === undefined ? {} : { agentPin: pin }) } });
  await keeper.whenLooked();
}

const stages = (): string[] => events.flatMap((event) => (event.kind === "agent-update" ? [event.update.stage] : []));

test("waits for the canary's word that it is confirmed there, then asks once", async () => {
  const keeper = open();
  await turn(keeper, PIN);
  expect(keeper.notes[0]?.text).toMatch(/0\.1\.0 runs, fleet\.toml wants 0\.2\.0: vm-a goes first/);
  canary = { version: "0.2.0", confirmed: false };
  await turn(keeper, PIN);
  expect(existsSync(join(root, "request.json"))).toBe(false);
  canary = { version: "0.2.0", confirmed: true };
  await turn(keeper, PIN);
  expect(JSON.parse(readFileSync(join(root, "request.json"), "utf8"))).toEqual({ version: "0.2.0", sha256: SHA });
  // The updater has taken it: nothing more is asked while that goes on.
  rmSync(join(root, "request.json"));
  await turn(keeper, PIN);
  expect(existsSync(join(root, "request.json"))).toBe(false);
  expect(stages()).toEqual(["waits", "go", "waits"]);
  await keeper.close();
});

test("a version that has failed here is an alert once, and is not asked for", async () => {
  canary = { version: "0.2.0", confirmed: true };
  writeFileSync(
    join(root, "updates.json"),
    printRecord([], { version: "0.2.0", sha256: SHA, result: "failed", reason: "it hangs", atMs: 1 }),
  );
  const keeper = open();
  await turn(keeper, PIN);
  await turn(keeper, PIN);
  expect(stages()).toEqual(["stuck"]);
  expect(keeper.notes[0]?.text).toMatch(/it has failed here: it hangs; .*orca update --retry/);
  // The pin is taken back.
  await turn(keeper, undefined);
  expect([keeper.notes, stages()]).toEqual([[], ["stuck", "none"]]);
  await keeper.close();
});

test("what peers are told: confirmed, but while it is on trial", async () => {
  const keeper = open("0.2.0");
  writeFileSync(join(root, "trial"), "orca-trial 1\n");
  expect(keeper.word).toEqual({ version: "0.2.0", confirmed: false });
  rmSync(join(root, "trial"));
  expect(keeper.word).toEqual({ version: "0.2.0", confirmed: true });
  await turn(keeper, PIN);
  expect([keeper.notes, stages()]).toEqual([[], []]);
  await keeper.close();
});

test("a policy that pins no key, and an agent that no package has brought, are said", async () => {
  canary = { version: "0.2.0", confirmed: true };
  hasKey = false;
  const keeper = open();
  await turn(keeper, PIN);
  expect(keeper.notes[0]?.text).toMatch(/the policy pins no release_key/);
  rmSync(join(root, "current"));
  await turn(keeper, PIN);
  expect(keeper.notes[0]?.text).toMatch(/not installed by its package/);
  await keeper.close();
});
