// From one valid manifest to one desired service: spec, caps, files with their content. Pure.

import type { DesiredFile, DesiredService } from "../../shared/desired-state.ts";
import type { Fleet } from "../../shared/fleet.ts";
import { canonicalJson, hashSpec, sha256 } from "../../shared/identity.ts";
import type { Manifest } from "../../shared/manifest.ts";
import { compareText, type Finding } from "../../shared/problem.ts";
import type { PlacedService } from "./constraints.ts";
import { buildCaps, buildContainerSpec } from "./container-spec.ts";
import { buildRoutes, type Route } from "./routes.ts";
import { type DesiredSettings, LOOPBACK, placePort } from "./settings.ts";

/** What a service is compiled with. */
export interface CompileContext {
  settings: DesiredSettings;
  fleet: Fleet | undefined;
  /** Every service of the fleet, for routes. */
  services: readonly PlacedService[];
  /** Content of the files of this node's directory, by relative path. */
  readFile(path: string): Uint8Array | undefined;
  revision: string;
}

/** A compiled service with the content of its files, or what is wrong. */
export type Compiled =
  | { ok: true; service: DesiredService; contents: ReadonlyMap<string, Uint8Array> }
  | { ok: false; findings: Finding[] };

/** Compiles one manifest. */
export function compileService(name: string, manifest: Manifest, context: CompileContext): Compiled {
  const { settings, fleet } = context;
  const files: DesiredFile[] = [];
  const contents = new Map<string, Uint8Array>();
  const findings: Finding[] = [];
  for (const [index, file] of manifest.files.entries()) {
    const content = buildContent(name, file, context);
    if (typeof content === "string") {
      const path = ["files", index, "source"];
      findings.push({
        severity: "error",
        code: "file-source",
        path,
        message: content,
        hint: "add the file to the node's directory, or correct the path",
      });
      continue;
    }
    const hash = sha256(content);
    contents.set(hash, content);
    files.push({ target: file.target, hash, mode: file.mode, owner: file.owner, onChange: file.on_change });
  }
  if (findings.length > 0) return { ok: false, findings };
  const address = settings.address ?? fleet?.nodes[settings.node]?.address ?? LOOPBACK;
  const spec = buildContainerSpec(manifest, {
    standIn: (image) => settings.standIns?.[image] ?? settings.standIns?.["*"],
    placePort: (port) => placePort(port, settings, address),
    secretVersion: () => "stand-in",
  });
  const sorted = files.toSorted((left, right) => compareText(left.target, right.target));
  const service: DesiredService = {
    name,
    kind: manifest.schedule === undefined ? "service" : "job",
    fingerprint: sha256(canonicalJson({ manifest, spec, files: sorted.map((file) => [file.target, file.hash]) })).slice(
      0,
      16,
    ),
    revision: context.revision,
    spec,
    specHash: hashSpec(spec),
    caps: buildCaps(manifest.resources),
    files: sorted,
    running: manifest.state === "running",
    health: manifest.health,
    restart: manifest.restart,
    update: manifest.update,
    requires: manifest.requires,
    wants: manifest.wants,
    wantsTimeoutMs: manifest.wants_timeout,
    stopTimeoutMs: manifest.stop_timeout,
    owner: manifest.owner,
    notes: describeUnused(manifest),
  };
  return { ok: true, service, contents };
}

function buildContent(service: string, file: Manifest["files"][number], context: CompileContext): Uint8Array | string {
  const source = context.readFile(file.source);
  if (source === undefined) return `there is no file ${file.source}`;
  if (!file.template) return source;
  const { settings, fleet } = context;
  if (settings.render === undefined) return "templates cannot be rendered here";
  try {
    const place = { node: settings.node, service, fleet };
    const routes = buildRoutes(context.services, settings.node, fleet);
    const text = settings.render(
      new TextDecoder("utf-8", { fatal: true }).decode(source),
      buildTemplateContext(place, routes),
    );
    return new TextEncoder().encode(text);
  } catch (error) {
    return `${file.source} does not render: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Where a template is rendered. */
export interface TemplatePlace {
  node: string;
  service: string;
  fleet: Fleet | undefined;
}

/**
 * What a template sees.
 * @param routes the routes of its realm, as seen from its node
 */
export function buildTemplateContext({ node, service, fleet }: TemplatePlace, routes: readonly Route[]): object {
  return {
    node,
    service,
    realm: fleet?.nodes[node]?.env ?? "",
    nodes: Object.entries(fleet?.nodes ?? {}).map(([name, entry]) => ({
      name,
      address: entry.address,
      realm: entry.env,
    })),
    routes,
  };
}

/** A part of a manifest that this version reads and does not act on. */
export interface UnusedPart {
  /** The same for every manifest with such a part. */
  kind: string;
  path: readonly (string | number)[];
  /** What is not done, in plain words. */
  summary: string;
  /** What of this manifest it is about, where that is more than the key. */
  detail?: string;
}

/** The parts of a manifest that this version reads and does not act on. A part that is silently ignored would be a lie. */
export function listUnused(manifest: Manifest): UnusedPart[] {
  const { backups, slo, update, moved_from: movedFrom, secrets } = manifest;
  const parts: UnusedPart[] = [];
  if (backups.length > 0) {
    const detail = backups.map((backup) => backup.name).join(", ");
    parts.push({ kind: "backups", path: ["backups"], summary: "backups are not run by this version", detail });
  }
  if (slo !== undefined) parts.push({ kind: "slo", path: ["slo"], summary: "slo is not measured by this version" });
  if (update.order === "start-first") {
    const summary = "update.order = start-first is done as stop-first by this version";
    parts.push({ kind: "start-first", path: ["update", "order"], summary });
  }
  if (movedFrom !== undefined) {
    parts.push({ kind: "moved-from", path: ["moved_from"], summary: "moved_from is not acted on by this version" });
  }
  if (secrets !== undefined && secrets.on_rotate !== "restart") {
    const summary = "secrets.on_rotate is not acted on by this version";
    parts.push({ kind: "on-rotate", path: ["secrets", "on_rotate"], summary });
  }
  return parts;
}

/** The same as texts, for status. */
function describeUnused(manifest: Manifest): string[] {
  return listUnused(manifest).map(({ summary, detail }) => (detail === undefined ? summary : `${summary}: ${detail}`));
}
