// Rounds of the Infisical provider with the real SDK in the test's own process, where a child for each would take minutes. That a child
// makes the same of them is shown by test/docker/secrets/infisical.test.ts.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { InfisicalProvider } from "../../../agent/secrets/providers/infisical-provider.ts";
import { readInfisical } from "../../../agent/secrets/providers/infisical-read.ts";
import type { InfisicalPlace, ReadAnswer, ReadRequest } from "../../../agent/secrets/providers/read-exchange.ts";
import type { SecretAnswer } from "../../../shared/secret/secret-provider.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";
import { FakeInfisical } from "../../fakes/fake-infisical.ts";
import type { Generation } from "../../fakes/infisical-vault.ts";

/** Rounds follow each other: each watches what this process asks. */
let running: Promise<void> = Promise.resolve();

/** One round as the child makes it, in this process: what it replaces there for good is put back here. */
export async function askHere(_program: string, request: ReadRequest): Promise<ReadAnswer> {
  if (request.kind !== "infisical") throw new Error("only Infisical is asked here");
  const before = running;
  let end = (): void => undefined;
  running = new Promise((resolve) => (end = resolve));
  await before;
  const kept = globalThis.fetch;
  try {
    return await readInfisical(request);
  } finally {
    globalThis.fetch = kept;
    end();
  }
}

/** A server, a provider that asks it, and the files of its credentials. */
export class InfisicalRounds {
  readonly server: FakeInfisical;
  readonly clock = new FakeClock();
  readonly #directory = mkdtempSync(join(tmpdir(), "orca-rounds-"));
  readonly #opened: InfisicalProvider[] = [];

  constructor(generation: Generation) {
    this.server = new FakeInfisical(generation);
    this.server.nowMs = () => this.clock.monotonicMs();
  }

  /** Begins to listen, with these secrets. */
  async listen(secrets: Readonly<Record<string, string>>): Promise<void> {
    await this.server.listen();
    for (const [path, value] of Object.entries(secrets)) this.server.secrets.set(path, value);
    this.writeCredentials();
  }

  /** Writes the client secret that the server takes, or another one. */
  writeCredentials(clientSecret = this.server.clientSecret): void {
    writeFileSync(join(this.#directory, "id"), this.server.clientId, { mode: 0o600 });
    writeFileSync(join(this.#directory, "secret"), clientSecret, { mode: 0o600 });
  }

  /** A provider with a token of its own, as another node has one. */
  open(changed: Partial<InfisicalPlace> = {}, deadlineMs = 20_000): InfisicalProvider {
    const { url, project, environment } = this.server;
    const [clientIdFile, clientSecretFile] = [join(this.#directory, "id"), join(this.#directory, "secret")];
    const place = { url, project, environment, clientIdFile, clientSecretFile, caFile: undefined, ...changed };
    const provider = new InfisicalProvider({ place, pollMs: 300_000, deadlineMs }, "", this.clock, askHere);
    this.#opened.push(provider);
    return provider;
  }

  async dispose(): Promise<void> {
    for (const provider of this.#opened) provider.close();
    await this.server.close().catch(() => undefined);
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Path → value, or the kind of the answer and its reason. */
export function describeAnswers(answers: ReadonlyMap<string, SecretAnswer>): Record<string, string> {
  const describe = (answer: SecretAnswer): string =>
    answer.kind === "value" ? answer.value.expose() : `${answer.kind}: ${answer.reason}`;
  return Object.fromEntries([...answers].map(([path, answer]) => [path, describe(answer)]));
}
