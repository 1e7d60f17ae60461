// Reads the body of a request within its limits. Used by whatever takes one: the webhook, and acts on the agent's socket.

import type { IncomingMessage } from "node:http";

/** How much of a body is taken. */
export interface BodyLimits {
  limitBytes: number;
  /** Of a larger body nothing is kept, though it is read to its end; the limit unless said otherwise. */
  keptBytes?: number;
  onPiece?: (piece: Buffer) => void;
}

/**
 * Reads a body to its end, also where what it belongs to is refused: else the caller may not see the answer.
 * @returns undefined for one over the limit; without content for one over what is kept
 */
export async function readBody(
  request: IncomingMessage,
  { limitBytes, keptBytes = limitBytes, onPiece }: BodyLimits,
): Promise<{ content: Buffer | undefined } | undefined> {
  if (Number(request.headers["content-length"] ?? 0) > limitBytes) return undefined;
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  for await (const piece of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    sizeBytes += piece.length;
    if (sizeBytes > limitBytes) return undefined;
    onPiece?.(piece);
    if (sizeBytes <= keptBytes) pieces.push(piece);
    else pieces.length = 0;
  }
  return { content: sizeBytes > keptBytes ? undefined : Buffer.concat(pieces) };
}
