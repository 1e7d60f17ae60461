// The one order in which what is needed comes first.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { findCycles, layerByNeed } from "../../../shared/fleet/graph.ts";

const names = ["a", "b", "c", "d", "e", "f", "g"];
const graph = fc
  .uniqueArray(
    fc.tuple(fc.constantFrom(...names), fc.array(fc.constantFrom(...names, "elsewhere"), { maxLength: 4 })),
    {
      selector: ([name]) => name,
    },
  )
  .map((entries) => new Map(entries));

describe("waves", () => {
  test("each name comes as early as it can, and what waits in a circle is told apart", () => {
    const needs = new Map([
      ["web", ["api", "cache"]],
      ["api", ["db", "db", "elsewhere"]],
      ["cache", []],
      ["db", []],
      ["left", ["right"]],
      ["right", ["left"]],
      ["after", ["right", "db"]],
      ["self", ["self"]],
    ]);
    expect(layerByNeed(needs)).toEqual({
      waves: [["cache", "db"], ["api"], ["web"]],
      circular: ["after", "left", "right", "self"],
    });
    expect(layerByNeed(new Map())).toEqual({ waves: [], circular: [] });
  });

  test("any graph: every name once, needs before it and one of them right before it, circles by Tarjan's word", () => {
    fc.assert(
      fc.property(graph, (needs) => {
        const { waves, circular } = layerByNeed(needs);
        expect([...waves.flat(), ...circular].toSorted()).toEqual([...needs.keys()].toSorted());
        const waveOf = new Map(waves.flatMap((wave, at) => wave.map((name) => [name, at] as const)));
        for (const [name, at] of waveOf) {
          const before = (needs.get(name) ?? [])
            .filter((need) => needs.has(need))
            .map((need) => waveOf.get(need) ?? 99);
          expect(Math.max(-1, ...before)).toBe(at - 1);
        }
        // A circle is found here where one is found there, and what is in one is in no wave.
        const inCircles = findCycles(needs).flat();
        expect(circular.length > 0).toBe(inCircles.length > 0);
        expect(inCircles.filter((name) => waveOf.has(name))).toEqual([]);
      }),
    );
  });

  test("in any order of the input the waves are the same", () => {
    fc.assert(
      fc.property(graph, (needs) => {
        const turned = new Map([...needs].toReversed().map(([name, list]) => [name, list.toReversed()]));
        expect(layerByNeed(turned)).toEqual(layerByNeed(needs));
      }),
    );
  });
});
