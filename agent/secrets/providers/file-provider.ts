// The provider that needs no server: an age-encrypted file on this host. Opened in a short-lived child, so that neither the
// library nor a secret that nobody asked for stays in the agent's memory.

import { runChild } from "../../host/os/child-process.ts";
import { watchFiles } from "../../host/files/watch-files.ts";
import { Secret } from "../../../shared/secret/secret.ts";
import type { SecretAnswer, SecretProvider } from "../../../shared/secret/secret-provider.ts";
import { READ_COMMAND, type ReadAnswer, type ReadRequest } from "./read-exchange.ts";
import type { SecretFilePlace } from "./secret-store-file.ts";

const DEADLINE_MS = 15_000;
const ANSWER_LIMIT_BYTES = 16 * 2 ** 20;
const MEMORY_LIMIT_BYTES = 192 * 2 ** 20;

/** Secrets from a file. */
export class FileProvider implements SecretProvider {
  readonly kind = "file";
  readonly location: string;
  readonly pollMs = undefined;
  readonly notes: readonly string[];
  readonly #place: SecretFilePlace;
  readonly #program: string;
  readonly #abort = new AbortController();
  #stopWatching = (): void => undefined;

  /** @param program the agent's own entry, which the child is started from */
  constructor(place: SecretFilePlace, program: string) {
    this.#place = place;
    this.#program = program;
    this.location = place.file;
    this.notes = place.plain
      ? [
          `secrets: ${place.file} may lie on this disk unencrypted: encrypt it with orca secrets edit, and take plain away`,
        ]
      : [];
  }

  async read(paths: readonly string[]): Promise<ReadonlyMap<string, SecretAnswer>> {
    const request: ReadRequest = { kind: "file", place: this.#place };
    const answer = await askChild(this.#program, request, { deadlineMs: DEADLINE_MS, signal: this.#abort.signal });
    return new Map(paths.map((path) => [path, this.#choose(path, answer)]));
  }

  watch(onHint: () => void): void {
    this.#stopWatching = watchFiles([this.#place.file, this.#place.identityFile], onHint);
  }

  close(): void {
    this.#stopWatching();
    this.#abort.abort();
  }

  #choose(path: string, { answers, failure }: ReadAnswer): SecretAnswer {
    if (failure !== undefined) return { kind: "unavailable", reason: failure.reason };
    const answer = answers[path];
    if (answer?.kind === "value") return { kind: "value", value: new Secret(answer.value) };
    // A file with nothing in it says nothing of one path.
    const listed = Object.keys(answers).length > 0;
    const { file } = this.#place;
    const reason = `${file} has no such secret: orca secrets set ${path} --file ${file} < VALUE`;
    return { kind: "not-found", reason, listed };
  }
}

/** Asks the child that reads secrets; a child that fails is an answer with a failure. */
export async function askChild(
  program: string,
  request: ReadRequest,
  limits: { deadlineMs: number; signal: AbortSignal },
): Promise<ReadAnswer> {
  const end = await runChild({
    program,
    command: READ_COMMAND,
    request: JSON.stringify(request),
    answerLimitBytes: ANSWER_LIMIT_BYTES,
    memoryLimitBytes: MEMORY_LIMIT_BYTES,
    // On a VM where everything starts at once it would get no CPU before its deadline, and no service its secrets.
    isAwaited: true,
    ...limits,
  });
  const none = { answers: {}, logins: 0, requests: 0 };
  if (end.kind === "failed")
    return { ...none, failure: { reason: `the child that reads secrets failed: ${end.reason}` } };
  try {
    return JSON.parse(end.answer.toString("utf8")) as ReadAnswer;
  } catch {
    return { ...none, failure: { reason: "the child that reads secrets gave no answer" } };
  }
}
