// A provider of secrets in a test's hand: values, and what it answers in place of them.

import { Secret } from "../../shared/secret/secret.ts";
import type { SecretAnswer, SecretProvider } from "../../shared/secret/secret-provider.ts";

/** A provider that holds what the test puts into it. */
export class FakeSecrets implements SecretProvider {
  readonly kind = "file";
  readonly location = "test";
  pollMs: number | undefined = 300_000;
  readonly notes = [];
  readonly values = new Map<string, string>();
  /** Answers in place of values, for one path or for `*`. */
  readonly faults = new Map<string, Exclude<SecretAnswer, { kind: "value" }>>();
  reads = 0;
  /** Every path that was asked for. */
  readonly asked = new Set<string>();
  /** While set, a reading does not end. */
  hang: Promise<void> | undefined;
  #hint: () => void = () => undefined;

  async read(paths: readonly string[]): Promise<ReadonlyMap<string, SecretAnswer>> {
    this.reads += 1;
    for (const path of paths) this.asked.add(path);
    await this.hang;
    return new Map(paths.map((path) => [path, this.#answer(path)]));
  }

  watch(onHint: () => void): void {
    this.#hint = onHint;
  }

  close(): void {}

  /** Puts values in, and says so. */
  set(values: Record<string, string>): void {
    for (const [path, value] of Object.entries(values)) this.values.set(path, value);
    this.#hint();
  }

  /** Answers something else from now on, or values again. */
  fail(path: string, answer: Exclude<SecretAnswer, { kind: "value" }> | undefined): void {
    if (answer === undefined) this.faults.delete(path);
    else this.faults.set(path, answer);
    this.#hint();
  }

  #answer(path: string): SecretAnswer {
    const fault = this.faults.get(path) ?? this.faults.get("*");
    // Unless the test says otherwise it lists what it holds, so that a refusal is one of its path.
    if (fault?.kind === "denied" || fault?.kind === "not-found") return { listed: true, ...fault };
    if (fault !== undefined) return fault;
    const value = this.values.get(path);
    return value === undefined
      ? { kind: "not-found", reason: "it is not in the test", listed: true }
      : { kind: "value", value: new Secret(value) };
  }
}
