// A commit's objects in memory, with any name and any mode: what a hostile server could hold, which Git's own commands refuse
// to make.

import { createHash } from "node:crypto";

type Tree = Map<string, Tree | { content: Buffer; mode: string }>;

/** Objects by id, made from paths; names are Latin-1, each character a byte. */
export class MemoryObjects {
  readonly #root: Tree = new Map();
  readonly #objects = new Map<string, Buffer>();

  /** Puts a file; what stands in the way of its directory is replaced. */
  put(path: string, content: Buffer, mode = "100644"): void {
    const steps = path.split("/");
    const name = steps.pop() ?? "";
    let tree = this.#root;
    for (const step of steps) {
      const known = tree.get(step);
      const next: Tree = known instanceof Map ? known : new Map();
      tree.set(step, next);
      tree = next;
    }
    tree.set(name, { content, mode });
  }

  /** Makes all objects; answers the id of the commit. */
  commit(): string {
    const tree = this.#store("tree", this.#encode(this.#root));
    const who = "a <a@example.com> 1700000000 +0000";
    return this.#store("commit", Buffer.from(`tree ${tree}\nauthor ${who}\ncommitter ${who}\n\nsubject\n`));
  }

  /** As a store of Git's objects answers. */
  async read(id: string): Promise<Buffer> {
    const content = this.#objects.get(id);
    if (content === undefined) throw new Error(`there is no object ${id}`);
    return content;
  }

  #encode(tree: Tree): Buffer {
    const entries = [...tree].map(([name, entry]) => {
      const [mode, id] =
        entry instanceof Map
          ? ["40000", this.#store("tree", this.#encode(entry))]
          : [entry.mode, this.#store("blob", entry.content)];
      return Buffer.concat([Buffer.from(`${mode} ${name}\0`, "latin1"), Buffer.from(id, "hex")]);
    });
    return Buffer.concat(entries);
  }

  #store(kind: string, content: Buffer): string {
    const id = createHash("sha1").update(`${kind} ${content.length}\0`).update(content).digest("hex");
    this.#objects.set(id, content);
    return id;
  }
}
