// Encrypts a stream with age (age-encryption.org/v1) for its recipients: stock `age -d` opens it, and a stream that is cut does not
// open. Loaded only where something is encrypted.

import { ReadableStream } from "node:stream/web";

/** The same bytes, encrypted; as they are where there is nobody to encrypt for. */
export async function* encryptStream(
  plain: AsyncIterable<Uint8Array>,
  recipients: readonly string[],
): AsyncIterable<Uint8Array> {
  if (recipients.length === 0) {
    yield* plain;
    return;
  }
  const { Encrypter } = await import("age-encryption");
  const encrypter = new Encrypter();
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  const stream = ReadableStream.from(plain);
  yield* await encrypter.encrypt(stream);
}

/** The bytes that were encrypted. Throws where no identity opens them, and where the stream was cut or changed. */
export async function* decryptStream(
  stored: AsyncIterable<Uint8Array>,
  identities: readonly string[],
): AsyncIterable<Uint8Array> {
  const { Decrypter } = await import("age-encryption");
  const decrypter = new Decrypter();
  for (const identity of identities) decrypter.addIdentity(identity);
  const stream = ReadableStream.from(stored);
  yield* await decrypter.decrypt(stream);
}
