// Finds out which trusted key signed a commit or a tag. What cannot be checked is never trusted, and the reason told. Runs in
// the child that fetches; ssh-keygen has the last word on every signature.

import { fingerprintOf } from "../../../../shared/fleet/ssh-key.ts";
import { describeKey, type TrustedKey } from "../../../../shared/config/trusted-key.ts";
import type { SignerFault } from "../../../../shared/state/hold.ts";
import { SignatureCheck } from "../../../host/os/ssh-keygen.ts";
import { GitFailure } from "../wire/git-failure.ts";
import type { SignedObject } from "./git-signature.ts";

/** Who signed: a trusted key, or nobody that counts and why. */
export type Signer = { key: TrustedKey } | { key: undefined; why: SignerFault };

const NAMESPACE = "git";

/** Checks signatures against a list of keys. */
export class SignerFinder {
  readonly #keys: ReadonlyMap<string, TrustedKey>;
  readonly #check: SignatureCheck;

  private constructor(keys: readonly TrustedKey[], check: SignatureCheck) {
    this.#keys = new Map(keys.map((key) => [key.fingerprint, key]));
    this.#check = check;
  }

  /** Opens one; what it writes goes below the directory and is gone after `close`. */
  static async open(keys: readonly TrustedKey[], directory: string): Promise<SignerFinder> {
    return new SignerFinder(keys, await SignatureCheck.open(directory));
  }

  /** Finds who signed. Throws a `GitFailure` where ssh-keygen cannot be asked. */
  async find({ payload, signature }: SignedObject): Promise<Signer> {
    if (signature.kind === "none") return { key: undefined, why: { code: "unsigned" } };
    if (signature.kind === "unusable") return { key: undefined, why: signature.why };
    const fingerprint = fingerprintOf(signature.key);
    const key = this.#keys.get(fingerprint);
    if (key === undefined) return { key, why: { code: "key-not-listed", fingerprint } };
    const isGood = await this.#check
      .verify({ key: key.line, namespace: NAMESPACE, armored: signature.armored, payload })
      .catch((error: Error) => {
        throw new GitFailure({ code: "said", message: error.message }, { cause: error });
      });
    if (isGood) return { key };
    return { key: undefined, why: { code: "signature-bad", key: describeKey(key) } };
  }

  async close(): Promise<void> {
    await this.#check.close();
  }
}
