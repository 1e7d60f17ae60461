// Puts one file into a repository: encrypted where there is somebody to encrypt for, published under a free name, and read back. For what
// has no record beside it: pieces of a log. Runs in the child.

import { writeBatches } from "../batches.ts";
import { encryptStream } from "../encrypt.ts";
import type { Repository, StoreFolder } from "./repository-port.ts";

/** Where it goes. */
export interface FilePlace {
  folder: StoreFolder;
  name: string;
  recipients: readonly string[];
}

/** Stores it; throws where it does not lie there whole then. */
export async function storeFile(
  repository: Repository,
  { folder, name, recipients }: FilePlace,
  plain: AsyncIterable<Uint8Array>,
): Promise<void> {
  const pending = await repository.create(folder, name);
  try {
    const sealed = encryptStream(plain, recipients);
    await writeBatches(sealed.pieces(), (piece) => pending.write(piece));
    await pending.publish();
    await sealed.measureBack(repository.read(folder, name));
  } catch (error) {
    await pending.abandon().catch(() => undefined);
    throw error;
  }
}
