// What a thrown value says, which in JavaScript may be anything.

/** The message of an error; any other value as text. */
export function readMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
