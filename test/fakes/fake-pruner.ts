// An engine's images and containers in memory, for the prune: it removes what is not in use, and refuses as the real one does. Passes
// test/contract/pruner.ts, as the real one does.

import type { Pruner } from "../../agent/docker/pruner.ts";
import type { PruneContainer, PruneImage, PruneItem } from "../../shared/state/prune.ts";

/** A pruner whose engine a test writes. */
export class FakePruner implements Pruner {
  images: PruneImage[] = [];
  containers: PruneContainer[] = [];
  cacheBytes = 0;
  /** Called before each removal. */
  onRemove: (item: PruneItem) => void | Promise<void> = () => undefined;

  readImages(_sizes: boolean): Promise<PruneImage[]> {
    return Promise.resolve([...this.images]);
  }

  readContainers(_node: string): Promise<PruneContainer[]> {
    return Promise.resolve([...this.containers]);
  }

  async remove(item: PruneItem): ReturnType<Pruner["remove"]> {
    await this.onRemove(item);
    switch (item.kind) {
      case "container": {
        const found = this.containers.find(({ id }) => id === item.id);
        if (found?.status === "running") return { stays: "remove container: it runs" };
        this.containers = this.containers.filter((entry) => entry !== found);
        return { freedBytes: 0 };
      }
      case "image": {
        const holder = this.containers.find(({ imageId }) => imageId === item.id);
        if (holder !== undefined) return { stays: `the container ${holder.name} has it by now` };
        this.images = this.images.filter(({ id }) => id !== item.id);
        return { freedBytes: item.freesBytes };
      }
      case "build-cache": {
        const freedBytes = this.cacheBytes;
        this.cacheBytes = 0;
        return { freedBytes };
      }
      default:
        return item satisfies never;
    }
  }
}
