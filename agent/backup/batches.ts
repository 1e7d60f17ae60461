// Joins the pieces of a stream into large ones, so that a dump of gigabytes asks the disk a thousand times and not a hundred thousand times.

/** So much is written at once. */
const BATCH_BYTES = 1024 * 1024;

/**
 * The same bytes in pieces of 1 MiB; the last may be smaller, none is empty. They lie in two buffers in turn, so that one is written while the
 * other fills: a piece holds what it held until the one after the next is asked for.
 */
export async function* batch(pieces: AsyncIterable<Uint8Array>): AsyncIterable<Buffer> {
  let [current, other] = [Buffer.allocUnsafeSlow(BATCH_BYTES), Buffer.allocUnsafeSlow(BATCH_BYTES)];
  let filled = 0;
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length;) {
      const part = piece.subarray(at, at + BATCH_BYTES - filled);
      current.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < BATCH_BYTES) continue;
      yield current;
      [current, other, filled] = [other, current, 0];
    }
  }
  if (filled > 0) yield current.subarray(0, filled);
}

/** Takes one piece after the other, and lets the next come while one is on its way. The first error is the last. */
export async function writeBatches(
  pieces: AsyncIterable<Uint8Array>,
  write: (piece: Uint8Array) => Promise<void>,
): Promise<void> {
  let writing: Promise<void> = Promise.resolve();
  try {
    for await (const piece of pieces) {
      await writing;
      writing = write(piece);
      // Whoever waits for it hears of it: above, or below.
      writing.catch(() => undefined);
    }
  } finally {
    // Nothing is on its way any more when this has ended, however it did.
    await writing;
  }
}

/** The same pieces, which stay what they are: for whoever keeps one while it asks for the next. */
export async function* copyPieces(pieces: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  for await (const piece of pieces) yield Uint8Array.from(piece);
}
