// What is encrypted with the runtime's ciphers opens with age's own library and the other way round, whatever its length and the pieces that
// it comes in; nothing comes out of what was cut or changed; a recipient with a slip of the pen is none.

import { createHash, randomBytes } from "node:crypto";

import { Decrypter, Encrypter, generateX25519Identity, identityToRecipient } from "age-encryption";
import { describe, expect, test } from "vitest";

import { readIdentity, readRecipient } from "../../../agent/backup/age-keys.ts";
import { decryptStream, encryptStream } from "../../../agent/backup/encrypt.ts";
import { Altered } from "../../../agent/backup/seal-stream.ts";

const MIB = 1024 * 1024;

async function* cut(bytes: Uint8Array, measure: () => number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.length;) {
    await Promise.resolve();
    const end = at + measure();
    // Its own memory, which is filled again: nobody may hold on to a piece.
    const piece = Uint8Array.from(bytes.subarray(at, end));
    yield piece;
    piece.fill(0);
    at = end;
  }
}

async function encrypt(plain: Buffer, recipients: readonly string[], measure = () => 10_007): Promise<Buffer> {
  const sealed = encryptStream(cut(plain, measure), recipients);
  const pieces: Uint8Array[] = [];
  for await (const piece of sealed.pieces()) pieces.push(Uint8Array.from(piece));
  const stored = Buffer.concat(pieces);
  expect(await sealed.measureBack(cut(stored, measure))).toEqual({ plain: digest(plain), stored: digest(stored) });
  return stored;
}

function digest(bytes: Buffer): { bytes: number; sha256: string } {
  return { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
}

async function decrypt(sealed: Uint8Array, identities: readonly string[], measure = () => 9_973): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of decryptStream(cut(sealed, measure), identities)) pieces.push(Uint8Array.from(piece));
  return Buffer.concat(pieces);
}

async function decryptByLibrary(sealed: Buffer, identity: string): Promise<Buffer> {
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  return Buffer.from(await decrypter.decrypt(sealed));
}

async function makeKeys(count: number): Promise<{ identities: string[]; recipients: string[] }> {
  const identities = await Promise.all(Array.from({ length: count }, () => generateX25519Identity()));
  return { identities, recipients: await Promise.all(identities.map((identity) => identityToRecipient(identity))) };
}

// Around a chunk, a batch, and what is sealed without a thread; and more batches than are on their way at once.
const LENGTHS = [
  0,
  1,
  65_535,
  65_536,
  65_537,
  131_072,
  300_000,
  MIB - 1,
  MIB,
  MIB + 1,
  4 * MIB,
  4 * MIB + 1,
  7 * MIB + 70_001,
];

test.each(LENGTHS)("%i bytes, for two, open for each", async (length) => {
  const { identities, recipients } = await makeKeys(2);
  const plain = randomBytes(length);
  const sealed = await encrypt(plain, recipients);
  for (const identity of identities) {
    expect((await decryptByLibrary(sealed, identity)).equals(plain)).toBe(true);
    expect((await decrypt(sealed, [identity])).equals(plain)).toBe(true);
  }
  const stranger = await generateX25519Identity();
  await expect(decrypt(sealed, [stranger])).rejects.toThrow("no identity matched");
  expect((await decrypt(sealed, [stranger, identities[1] ?? ""])).equals(plain)).toBe(true);
});

test.each(LENGTHS.slice(0, 8))("%i bytes that the library has encrypted open", async (length) => {
  const { identities, recipients } = await makeKeys(2);
  const encrypter = new Encrypter();
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  const plain = randomBytes(length);
  const sealed = await encrypter.encrypt(plain);
  for (const identity of identities) expect((await decrypt(sealed, [identity])).equals(plain)).toBe(true);
});

test.each([1, 2, 3, 4, 5, 6, 7, 8])("in pieces of any size they are the same: seed %i", async (seed) => {
  const { identities, recipients } = await makeKeys(1);
  let state = seed;
  // Park and Miller's generator; small pieces and large ones alike.
  const measure = (): number => {
    state = (state * 48_271) % 0x7fff_ffff;
    return 1 + (state % 2 ** (3 + (state % 18)));
  };
  // Some are sealed by a thread, some are too small for one.
  const plain = randomBytes((seed * 1_777_777) % (12 * MIB));
  const sealed = await encrypt(plain, recipients, measure);
  expect((await decryptByLibrary(sealed, identities[0] ?? "")).equals(plain)).toBe(true);
  expect((await decrypt(sealed, identities, measure)).equals(plain)).toBe(true);
});

describe("nothing is taken for whole that", () => {
  const keys = makeKeys(1);
  const whole = keys.then(({ recipients }) => encrypt(Buffer.alloc(200_000, 7), recipients));
  /** Where the payload begins. */
  const payload = whole.then((bytes) => bytes.indexOf("\n", bytes.indexOf("\n---") + 1) + 1 + 16);
  const SEALED = 65_552;

  async function expectRefused(change: (bytes: Buffer, at: number) => Uint8Array): Promise<void> {
    const { identities } = await keys;
    const changed = change(Buffer.from(await whole), await payload);
    await expect(decrypt(changed, identities)).rejects.toBeInstanceOf(Error);
    await expect(decryptByLibrary(Buffer.from(changed), identities[0] ?? "")).rejects.toBeInstanceOf(Error);
  }

  test.each([1, 16, 17, 3_000])("lacks its last %i bytes", (bytes) => expectRefused((all) => all.subarray(0, -bytes)));
  test("lacks its last chunk", () => expectRefused((all, at) => all.subarray(0, at + 3 * SEALED)));
  test("lacks all of its payload", () => expectRefused((all, at) => all.subarray(0, at)));
  test("ends within its header", () => expectRefused((all) => all.subarray(0, 60)));
  test("is longer by one byte", () => expectRefused((all) => Buffer.concat([all, Buffer.from("x")])));
  test("has two chunks in another order", () =>
    expectRefused((all, at) =>
      Buffer.concat([
        all.subarray(0, at),
        all.subarray(at + SEALED, at + 2 * SEALED),
        all.subarray(at, at + SEALED),
        all.subarray(at + 2 * SEALED),
      ]),
    ));
  test.each([30, 150, -1])("has another byte at %i", (place) =>
    expectRefused((all) => {
      const at = place < 0 ? all.length + place : place;
      all[at] = (all[at] ?? 0) ^ 1;
      return all;
    }),
  );
  test("is something else", () => expectRefused(() => Buffer.from("PGDMP".repeat(100))));
});

test("a source that fails in the middle of a large one fails what reads it, and ends its thread", async () => {
  const { recipients } = await makeKeys(1);
  const breaking = async function* (): AsyncIterable<Uint8Array> {
    for (let at = 0; at < 80; at += 1) yield randomBytes(100_000);
    await Promise.resolve();
    throw new Error("read ECONNRESET");
  };
  const sealed = encryptStream(breaking(), recipients);
  const reading = (async () => {
    for await (const piece of sealed.pieces()) expect(piece.length).toBeGreaterThan(0);
  })();
  await expect(reading).rejects.toThrow("ECONNRESET");
  await expect(sealed.measureBack(cut(Buffer.alloc(10), () => 10))).rejects.toThrow("not sealed to its end");
  expect(process.getActiveResourcesInfo()).not.toContain("MessagePort");
});

// Sealed by a thread and without one, for keys and for nobody.
test.each([
  [1, true],
  [200_000, true],
  [6 * MIB, true],
  [200_000, false],
])("what lies there is looked at again after %i bytes were written (sealed: %s)", async (length, isSealed) => {
  const { recipients } = isSealed ? await makeKeys(1) : { recipients: [] };
  const plain = randomBytes(length);
  const write = async () => {
    const stream = encryptStream(
      cut(plain, () => 70_001),
      recipients,
    );
    const pieces: Uint8Array[] = [];
    for await (const piece of stream.pieces()) pieces.push(Uint8Array.from(piece));
    const lies = Buffer.concat(pieces);
    return { lies, look: (bytes: Buffer) => stream.measureBack(cut(bytes, () => 70_001)) };
  };
  const { lies, look } = await write();
  for (const at of [0, 100, Math.floor(lies.length / 2), lies.length - 1].filter((place) => place < lies.length)) {
    const bent = Buffer.from(lies);
    bent[at] = (bent[at] ?? 0) ^ 1;
    await expect(look(bent), `byte ${at}`).rejects.toBeInstanceOf(Altered);
  }
  for (const changed of [lies.subarray(0, -1), lies.subarray(0, -17), Buffer.alloc(0), Buffer.concat([lies, lies])])
    await expect(look(changed)).rejects.toBeInstanceOf(Altered);
  // The same bytes, written by another run: it opens with another key alone.
  if (isSealed) await expect(look((await write()).lies)).rejects.toBeInstanceOf(Altered);
  // A disk that does not answer says nothing of the bytes.
  const broken = (async function* (): AsyncIterable<Uint8Array> {
    yield lies.subarray(0, 1);
    await Promise.resolve();
    throw new Error("read EIO");
  })();
  await expect(
    encryptStream(
      cut(plain, () => 9),
      [],
    ).measureBack(broken),
  ).rejects.toThrow("EIO");
});

test("a recipient with one other letter is refused, and so is an identity", async () => {
  const { identities, recipients } = await makeKeys(1);
  const [recipient = "", identity = ""] = [recipients[0], identities[0]];
  expect(readRecipient(recipient)).toHaveLength(32);
  expect(readIdentity(identity)?.recipient).toEqual(readRecipient(recipient));
  const wrong = `${recipient.slice(0, 20)}${recipient[20] === "q" ? "p" : "q"}${recipient.slice(21)}`;
  expect(readRecipient(wrong)).toBe(undefined);
  expect(readIdentity(`${identity.slice(0, 30)}${identity[30] === "Q" ? "P" : "Q"}${identity.slice(31)}`)).toBe(
    undefined,
  );
  await expect(encrypt(Buffer.from("x"), [wrong])).rejects.toBeInstanceOf(Error);
});
