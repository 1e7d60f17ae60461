// What the host said of bind-mount sources when desired state was built, asked again at each turn: where a link or a directory's
// owner has changed since, all is judged anew. Used by the builder of desired state alone; reads only.

import type { HostPaths } from "../desired/build/host-paths.ts";
import { findLooseDirectory, findOtherNames, readRealPath } from "../host/files/host-facts.ts";

/** Answers from the host, and remembers them. */
export class WatchedPaths implements HostPaths {
  readonly #real = new Map<string, string | undefined>();
  readonly #loose = new Map<string, string | undefined>();
  readonly #names = new Map<string, string>();

  async realPath(source: string): Promise<string | undefined> {
    const real = await readRealPath(source);
    this.#real.set(source, real);
    return real;
  }

  async findLoose(real: string): Promise<{ directory: string; who: string } | undefined> {
    const loose = await findLooseDirectory(real);
    this.#loose.set(real, loose?.directory);
    return loose;
  }

  async findOtherNames(real: string): Promise<{ names: number; isPublic: boolean } | undefined> {
    const found = await findOtherNames(real);
    this.#names.set(real, JSON.stringify(found ?? {}));
    return found;
  }

  /** Forgets what was asked, before all is judged anew. */
  clear(): void {
    this.#real.clear();
    this.#loose.clear();
    this.#names.clear();
  }

  /** True where the host would answer otherwise now. */
  async haveChanged(): Promise<boolean> {
    for (const [path, real] of this.#real) if ((await readRealPath(path)) !== real) return true;
    for (const [path, loose] of this.#loose) if ((await findLooseDirectory(path))?.directory !== loose) return true;
    for (const [path, names] of this.#names)
      if (JSON.stringify((await findOtherNames(path)) ?? {}) !== names) return true;
    return false;
  }
}
