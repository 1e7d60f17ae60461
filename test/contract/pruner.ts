// What every pruner must do; run on the fake and on the real engine.

import { describe, expect, test } from "vitest";

import type { Pruner } from "../../agent/docker/pruner.ts";
import type { PruneItem } from "../../shared/state/prune.ts";

/** An engine with two images and two containers of one node. */
export interface PrunerLab {
  pruner: Pruner;
  node: string;
  /** An image without any container, and one that a stopped container has. */
  idleImage: string;
  heldImage: string;
  /** Names of containers of this node. */
  running: string;
  stopped: string;
}

/** Describes the port. */
export function describePruner(kind: string, open: () => PrunerLab): void {
  const listImages = async ({ pruner }: PrunerLab): Promise<string[]> =>
    (await pruner.readImages(true)).map(({ id }) => id);
  const listContainers = async ({ pruner, node }: PrunerLab): Promise<string[]> =>
    (await pruner.readContainers(node)).map(({ name }) => name);
  const findContainer = async ({ pruner, node }: PrunerLab, name: string): Promise<PruneItem> => {
    const found = (await pruner.readContainers(node)).find((entry) => entry.name === name);
    if (found?.owner.kind !== "own") throw new Error(`${name} is this node's own`);
    return { kind: "container", id: found.owner.id, name, service: found.owner.service };
  };
  const findImage = async ({ pruner }: PrunerLab, wanted: string): Promise<PruneItem> => {
    const found = (await pruner.readImages(true)).find(({ id }) => id === wanted);
    if (found === undefined) throw new Error("it is there");
    return { kind: "image", ...found };
  };

  describe(`a pruner: ${kind}`, () => {
    test("lists what there is", async () => {
      const lab = open();
      expect(await listImages(lab)).toEqual(expect.arrayContaining([lab.idleImage, lab.heldImage]));
      expect(await listContainers(lab)).toEqual(expect.arrayContaining([lab.running, lab.stopped]));
    });

    test("lets an image stay that a container has, and a container that runs", async () => {
      const lab = open();
      const stays = { stays: expect.any(String) as string };
      expect(await lab.pruner.remove(await findImage(lab, lab.heldImage))).toEqual(stays);
      expect(await lab.pruner.remove(await findContainer(lab, lab.running))).toEqual(stays);
      expect(await listImages(lab)).toContain(lab.heldImage);
      expect(await listContainers(lab)).toContain(lab.running);
    });

    test("removes what is not in use, and finds nothing wrong with what is gone already", async () => {
      const lab = open();
      for (const item of [await findImage(lab, lab.idleImage), await findContainer(lab, lab.stopped)]) {
        expect(await lab.pruner.remove(item)).toHaveProperty("freedBytes");
        expect(await lab.pruner.remove(item)).toHaveProperty("freedBytes");
      }
      expect(await listImages(lab)).not.toContain(lab.idleImage);
      expect(await listContainers(lab)).not.toContain(lab.stopped);
    });
  });
}
