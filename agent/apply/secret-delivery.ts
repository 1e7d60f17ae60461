// Secrets on their way into a container: environment values at creation, files in a directory in memory. Values are read
// from a provider at the moment of delivery and kept nowhere else. Only apply/ uses it.

import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { ContainerSpec } from "../../shared/container-spec.ts";
import type { Secret } from "../../shared/secret.ts";

/** A provider's closed set of answers for one path. */
export type SecretAnswer =
  | { kind: "value"; value: Secret }
  | { kind: "unavailable" | "denied" | "not-found"; reason: string };

/** Where secret values come from. */
export interface SecretProvider {
  /** One answer for each path asked for. */
  read(paths: readonly string[]): Promise<ReadonlyMap<string, SecretAnswer>>;
}

/** Delivers the secrets of one node's services. */
export class SecretDelivery {
  readonly #provider: SecretProvider | undefined;
  readonly #root: string;

  /**
   * @param provider where values come from; undefined while none is configured
   * @param runDir a directory in memory (/run/orca), where files are delivered
   */
  constructor(provider: SecretProvider | undefined, runDir: string) {
    this.#provider = provider;
    this.#root = join(runDir, "secrets");
  }

  /** The mount of a service's secret files: a directory, so that a changed file is seen by a running container. */
  mount(service: string): { source: string; target: string; readOnly: boolean } {
    return { source: join(this.#root, service), target: "/run/secrets", readOnly: true };
  }

  /** Environment that carries values, and `<NAME>_FILE` for each delivered file. */
  async buildEnv(spec: ContainerSpec): Promise<Record<string, string>> {
    const env: Record<string, string> = {};
    for (const name of Object.keys(spec.secretFiles ?? {})) {
      env[`${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_")}_FILE`] = `/run/secrets/${name}`;
    }
    const paths = Object.entries(spec.secretEnv ?? {}).map(
      ([name, version]) => [name, version.split("@", 1)[0] ?? ""] as const,
    );
    const values = await this.#read(paths.map(([, path]) => path));
    for (const [name, path] of paths) env[name] = values.get(path)?.expose() ?? "";
    return env;
  }

  /** Writes a service's secret files; each appears whole. */
  async writeFiles(service: string, files: Readonly<Record<string, string>>): Promise<void> {
    const directory = join(this.#root, service);
    await mkdir(directory, { recursive: true, mode: 0o755 });
    const values = await this.#read(Object.values(files));
    for (const [name, path] of Object.entries(files)) {
      const target = join(directory, name);
      // 0444 in a directory only root can list from outside: the container's user is not known to the host.
      await writeFile(`${target}.new`, values.get(path)?.expose() ?? "", { mode: 0o444 });
      await rename(`${target}.new`, target);
    }
  }

  /** Removes what was delivered to a service. */
  async remove(service: string): Promise<void> {
    await rm(join(this.#root, service), { recursive: true, force: true });
  }

  async #read(paths: readonly string[]): Promise<Map<string, Secret>> {
    if (paths.length === 0) return new Map();
    if (this.#provider === undefined) throw new Error("read secrets: no provider is configured");
    const answers = await this.#provider.read(paths);
    const values = new Map<string, Secret>();
    for (const path of paths) {
      const answer = answers.get(path);
      if (answer?.kind !== "value") throw new Error(`read secret ${path}: ${answer?.kind ?? "no answer"}`);
      values.set(path, answer.value);
    }
    return values;
  }
}
