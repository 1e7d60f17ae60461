// Whose turn it is to take new values of secrets, over fleets that nobody thought of: who has nothing to do with each other never
// waits, who has takes turns in the order of what they require, and no turn lasts for ever.

import * as fc from "fast-check";
import { expect, test } from "vitest";

import type { AcceptedManifest } from "../../../agent/desired/build/accept.ts";
import { chooseRotation, type RotationInput } from "../../../agent/desired/secrets/rotation-choice.ts";
import type { AcceptedService } from "../../../shared/state/in-force.ts";
import type { ServiceStanding } from "../../../shared/state/rotation.ts";
import { STAND_IN_FACTS } from "../../../shared/secret/secret-facts.ts";

const RUNS = process.env["ORCA_SLOW"] === undefined ? 500 : 20_000;
const NAMES = ["a", "b", "c", "d", "e", "f"];
const PATHS = ["/p", "/q", "/r", "/s"];

/** How a service of a generated node takes what it is given. */
interface Plant {
  /** Which others it requires: only those after it, so that there is an order. */
  requires: string[];
  paths: string[];
  /** It was well before. */
  well: boolean;
  /** What comes of a turn. */
  outcome: "settles" | "goes-back" | "crashes" | "never";
  job: boolean;
}

const plant = (index: number): fc.Arbitrary<Plant> =>
  fc.record({
    requires: fc.subarray(NAMES.slice(index + 1)),
    paths: fc.subarray(PATHS),
    well: fc.boolean(),
    outcome: fc.constantFrom("settles", "settles", "goes-back", "crashes", "never"),
    job: fc.boolean().map((job) => job && index % 3 === 2),
  });

const plants = fc
  .tuple(...NAMES.map((_name, index) => plant(index)))
  .map((list) => new Map(NAMES.map((name, index) => [name, list[index] as Plant] as const)));

/** A node in the middle of it: every service has version 1 of what it takes, version 2 is there of some secrets. */
class Node {
  readonly plants: ReadonlyMap<string, Plant>;
  readonly newest: ReadonlyMap<string, string>;
  readonly inForce = new Map<string, AcceptedService>();
  readonly standings = new Map<string, ServiceStanding>();
  readonly late = new Set<string>();

  constructor(plantsOf: ReadonlyMap<string, Plant>, changed: readonly string[]) {
    this.plants = plantsOf;
    this.newest = new Map(PATHS.map((path) => [path, changed.includes(path) ? "2" : "1"]));
    for (const [name, { paths, well }] of plantsOf) {
      const secrets = Object.fromEntries(paths.map((path) => [path, "1"]));
      this.inForce.set(name, { text: name, revision: "r", files: {}, secrets });
      this.standings.set(name, { settled: well, proven: well });
    }
  }

  input(order: readonly string[] = NAMES): RotationInput {
    const services = order.map((service) => this.#accept(service));
    const look: RotationInput["facts"]["look"] = (path) => ({
      kind: "value",
      version: this.newest.get(path) ?? "",
      readMs: 0,
    });
    return {
      services,
      standings: this.standings,
      late: this.late,
      refused: new Set(),
      inForce: { revision: "r", acceptedMs: 0, fleet: undefined, services: Object.fromEntries(this.inForce) },
      facts: { ...STAND_IN_FACTS, look },
    };
  }

  /** Gives a service what its turn says. */
  grant(service: string, paths: ReadonlySet<string>): void {
    const before = this.inForce.get(service);
    const plantOf = this.plants.get(service);
    if (before === undefined || plantOf === undefined) return;
    const secrets = { ...before.secrets };
    for (const path of paths) secrets[path] = this.newest.get(path) ?? "";
    const mark = { paths: [...paths], witness: this.standings.get(service)?.proven ?? true };
    this.inForce.set(service, { ...before, secrets, ...(plantOf.job ? {} : { rotation: mark }) });
    if (!plantOf.job) this.standings.set(service, { settled: false, proven: false });
  }

  /** Time passes: every turn under way ends as the service is. */
  end(): void {
    for (const [name, { rotation, ...rest }] of this.inForce) {
      if (rotation === undefined || this.late.has(name)) continue;
      const { outcome } = this.plants.get(name) ?? {};
      if (outcome === "settles") {
        this.standings.set(name, { settled: true, proven: true });
        this.inForce.set(name, rest);
      } else if (outcome === "never") this.late.add(name);
      else {
        const fault = { reason: "it fails", wentBack: outcome === "goes-back" };
        this.standings.set(name, { settled: false, proven: false, fault });
        this.late.add(name);
      }
    }
  }

  reaches(from: string, to: string): boolean {
    return (this.plants.get(from)?.requires ?? []).some((next) => next === to || this.reaches(next, to));
  }

  isRelated(left: string, right: string): boolean {
    const news = (name: string): string[] =>
      (this.plants.get(name)?.paths ?? []).filter((path) => this.newest.get(path) === "2");
    return (
      news(left).some((path) => news(right).includes(path)) || this.reaches(left, right) || this.reaches(right, left)
    );
  }

  isDone(name: string): boolean {
    return Object.entries(this.inForce.get(name)?.secrets ?? {}).every(
      ([path, version]) => version === this.newest.get(path),
    );
  }

  #accept(service: string): AcceptedManifest {
    const { requires = [], job = false } = this.plants.get(service) ?? {};
    const targets = requires.map((name) => ({ target: { kind: "service", node: undefined, service: name } }));
    const manifest = { requires: targets, wants: [], schedule: job ? "@once" : undefined };
    return { node: "vm1", service, manifest, accepted: this.inForce.get(service) } as unknown as AcceptedManifest;
  }
}

const world = fc.tuple(plants, fc.subarray(PATHS, { minLength: 1 }));

/** Lets turns be taken until nobody takes one any more. */
function play(node: Node, look: (turns: ReadonlyMap<string, ReadonlySet<string>>) => void = () => undefined): number {
  for (let round = 0; round <= NAMES.length * PATHS.length; round += 1) {
    const { turns } = chooseRotation(node.input());
    look(turns);
    if (turns.size === 0) return round;
    for (const [service, paths] of turns) node.grant(service, paths);
    node.end();
  }
  throw new Error("turns are taken without end");
}

test("those that take a value at once have nothing to do with each other, and none goes before what it requires", () => {
  let together = 0;
  fc.assert(
    fc.property(world, ([plantsOf, changed]) => {
      const node = new Node(plantsOf, changed);
      const order: string[] = [];
      play(node, (turns) => {
        const names = [...turns.keys()].filter((name) => plantsOf.get(name)?.job !== true);
        if (names.length > 1) together += 1;
        const pairs = names.flatMap((name) =>
          names.filter((other) => name < other).map((other) => [name, other] as const),
        );
        for (const [name, other] of pairs) {
          expect([name, other, [...(turns.get(name) ?? [])].some((path) => turns.get(other)?.has(path))]).toEqual([
            name,
            other,
            false,
          ]);
          expect([name, other, node.reaches(name, other) || node.reaches(other, name)]).toEqual([name, other, false]);
        }
        for (const name of names) if (!order.includes(name)) order.push(name);
      });
      // Nobody goes before what it requires has had its turn, where that has one at all.
      const early = order.flatMap((name, index) =>
        order
          .slice(index + 1)
          .filter((other) => node.reaches(name, other))
          .map((other) => `${name} before ${other}`),
      );
      expect(early).toEqual([]);
    }),
    { numRuns: RUNS },
  );
  expect(together).toBeGreaterThan(0);
});

test("who has nothing to do with any other takes its new value at once, whatever the others do", () => {
  let alone = 0;
  fc.assert(
    fc.property(world, ([plantsOf, changed]) => {
      const node = new Node(plantsOf, changed);
      const { turns } = chooseRotation(node.input());
      for (const name of NAMES) {
        if (node.isDone(name) || NAMES.some((other) => other !== name && node.isRelated(name, other))) continue;
        alone += 1;
        expect([...turns.keys()]).toContain(name);
      }
    }),
    { numRuns: RUNS },
  );
  expect(alone).toBeGreaterThan(0);
});

test("in the end every service has the newest value, but for those that a service which was well has failed with", () => {
  const seen = { kept: 0, taken: 0 };
  fc.assert(
    fc.property(world, ([plantsOf, changed]) => {
      const node = new Node(plantsOf, changed);
      play(node);
      const { notes } = chooseRotation(node.input());
      for (const name of NAMES) {
        if (node.isDone(name)) {
          seen.taken += 1;
          continue;
        }
        seen.kept += 1;
        const why = (notes.get(name) ?? []).join("\n");
        for (const path of plantsOf.get(name)?.paths ?? []) {
          if (node.inForce.get(name)?.secrets?.[path] === node.newest.get(path)) continue;
          const failed = NAMES.filter((other) => {
            const { well, outcome, job } = plantsOf.get(other) as Plant;
            return (
              well &&
              !job &&
              ["goes-back", "crashes"].includes(outcome) &&
              node.inForce.get(other)?.rotation?.paths.includes(path)
            );
          });
          expect(failed).not.toEqual([]);
          expect(why).toContain(
            `keeps its old value of ${path}, since ${failed.at(-1) ?? ""} failed with the new one: it fails`,
          );
        }
      }
    }),
    { numRuns: RUNS },
  );
  expect(Math.min(seen.kept, seen.taken)).toBeGreaterThan(0);
});

test("the order in which manifests are listed changes nothing", () => {
  fc.assert(
    fc.property(world, fc.shuffledSubarray(NAMES, { minLength: NAMES.length }), ([plantsOf, changed], order) => {
      const node = new Node(plantsOf, changed);
      const print = ({ turns }: ReturnType<typeof chooseRotation>): string =>
        [...turns]
          .map(([name, paths]) => `${name}:${[...paths].toSorted().join()}`)
          .toSorted()
          .join(" ");
      expect(print(chooseRotation(node.input(order)))).toBe(print(chooseRotation(node.input())));
    }),
    { numRuns: RUNS },
  );
});
