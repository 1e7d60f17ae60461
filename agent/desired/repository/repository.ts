// A manifests repository as parsed: fleet.toml and every manifest, with what is wrong in each. Pure; shared by the agent
// and by lint, so that both see the same.

import { type Fleet, fleetSchema } from "../../../shared/fleet/fleet.ts";
import { showName } from "../../../shared/manifest/file-fault.ts";
import type { Manifest } from "../../../shared/manifest/manifest.ts";
import { parseManifest, readManifest } from "../../../shared/manifest/parse-manifest.ts";
import { type Parsed, parseToml } from "../../../shared/text/parse-toml.ts";
import { compareText, type Problem } from "../../../shared/text/problem.ts";
import { isName } from "../../../shared/text/schema-leaf.ts";
import type { Snapshot } from "../../../shared/state/snapshot.ts";
import type { RemoteManifest, RemoteService } from "../build/constraints.ts";

/** One manifest, parsed or not. */
export interface ParsedManifest {
  node: string;
  service: string;
  file: string;
  text: string;
  manifest: Manifest | undefined;
  problems: readonly Problem[];
}

/** fleet.toml, parsed or not. */
export interface ParsedFleet {
  file: string;
  text: string | undefined;
  fleet: Fleet | undefined;
  problems: readonly Problem[];
}

/** Keeps what was parsed: a text that has not changed is not parsed again. */
export class ParseCache {
  readonly #own = new Recent<Promise<Parsed<Manifest>>>();
  readonly #remote = new Recent<RemoteManifest | undefined>();

  /** Parses a manifest, or finds it. */
  parse(text: string, file: string): Promise<Parsed<Manifest>> {
    return this.#own.find(file, text, () => parseManifest(text, file));
  }

  /** The same for another node's manifest, of which little is kept; undefined where it is invalid. */
  readRemote(text: string, file: string): RemoteManifest | undefined {
    return this.#remote.find(file, text, () => {
      const manifest = readManifest(text);
      if (manifest === undefined) return undefined;
      const { requires, wants, routes, ports, state, volumes, moved_from } = manifest;
      return { requires, wants, routes, ports, state, volumes, moved_from };
    });
  }

  /** Forgets what was not asked for since the last call. */
  sweep(): void {
    this.#own.sweep();
    this.#remote.sweep();
  }
}

/** Values by file and text; the text is the snapshot's own, not a copy. */
class Recent<T> {
  #known = new Map<string, Map<string, T>>();
  #used = new Map<string, Map<string, T>>();

  find(file: string, text: string, make: () => T): T {
    const used = this.#used.get(file) ?? new Map<string, T>();
    this.#used.set(file, used);
    const known = used.has(text) ? used : this.#known.get(file);
    // That there is nothing in a text is known too.
    const value = known?.has(text) === true ? (known.get(text) as T) : make();
    used.set(text, value);
    return value;
  }

  sweep(): void {
    this.#known = this.#used;
    this.#used = new Map();
  }
}

/** Parses fleet.toml. */
export async function parseFleet(text: string | undefined, file: string): Promise<ParsedFleet> {
  if (text === undefined) return { file, text, fleet: undefined, problems: [] };
  const parsed = await parseToml(fleetSchema, text, file);
  return parsed.ok
    ? { file, text, fleet: parsed.value, problems: [] }
    : { file, text, fleet: undefined, problems: parsed.problems };
}

/** Parses what matters of another node's manifests; those that are invalid are left out. */
export function readRemotes(snapshot: Snapshot, node: string, cache: ParseCache): RemoteService[] {
  const remotes: RemoteService[] = [];
  for (const [service, text] of Object.entries(snapshot.manifests[node] ?? {})) {
    if (!isName(service)) continue;
    const manifest = cache.readRemote(text, snapshot.describeFile(node, service));
    if (manifest !== undefined) remotes.push({ node, service, manifest });
  }
  return remotes;
}

/** Parses the manifests of one node. */
export async function parseManifests(snapshot: Snapshot, node: string, cache: ParseCache): Promise<ParsedManifest[]> {
  const texts = Object.entries(snapshot.manifests[node] ?? {});
  const parsed = Object.entries(snapshot.faults?.manifests[node] ?? {}).map(([service, fault]): ParsedManifest => {
    const file = showName(snapshot.describeFile(node, service));
    const problem: Problem = { severity: "error", file, key: "", ...fault };
    return { node, service, file, text: "", manifest: undefined, problems: [problem] };
  });
  for (const [service, text] of texts) {
    const file = showName(snapshot.describeFile(node, service));
    const entry = { node, service, file, text };
    if (!isName(service)) parsed.push({ ...entry, manifest: undefined, problems: [describeBadName(service, file)] });
    else {
      const result = await cache.parse(text, file);
      parsed.push(
        result.ok
          ? { ...entry, manifest: result.value, problems: [] }
          : { ...entry, manifest: undefined, problems: result.problems },
      );
    }
  }
  return parsed.toSorted((left, right) => compareText(left.service, right.service));
}

function describeBadName(service: string, file: string): Problem {
  return {
    severity: "error",
    code: "file-name",
    file,
    line: 1,
    column: 1,
    key: "",
    message: `${JSON.stringify(service)} is not a service's name`,
    hint: "name the file with up to 63 lower-case letters, digits and inner hyphens, then .toml",
  };
}
