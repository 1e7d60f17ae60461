// From one valid manifest to one desired service: spec, caps, files with their content. Pure.

import type { DesiredFile, DesiredService } from "../../shared/desired-state.ts";
import type { Fleet } from "../../shared/fleet.ts";
import { canonicalJson, hashSpec, sha256 } from "../../shared/identity.ts";
import type { Manifest } from "../../shared/manifest.ts";
import { compareText, type Finding } from "../../shared/problem.ts";
import type { RemoteService } from "./constraints.ts";
import { buildCaps, buildContainerSpec } from "./container-spec.ts";
import { buildRoutes, type Route } from "./routes.ts";
import { type DesiredSettings, LOOPBACK, placePort } from "./settings.ts";
import { describeUnused } from "./unused.ts";

/** What a service is compiled with. */
export interface CompileContext {
  settings: DesiredSettings;
  fleet: Fleet | undefined;
  /** Every service of the fleet, for routes. */
  services: readonly RemoteService[];
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
    schedule: manifest.schedule,
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
