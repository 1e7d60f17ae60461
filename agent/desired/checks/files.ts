// The files beside the manifests: sources that exist and stay inside the node's directory, sizes that the agent takes, and
// templates that render with what the agent would render them with.

import { LARGEST_FILE_BYTES, LARGEST_NODE_BYTES } from "../../../shared/manifest/file-fault.ts";
import { isLfsPointer, LFS_POINTER } from "../../../shared/manifest/lfs-pointer.ts";
import { cutText, quoteText } from "../../../shared/text/problem.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { buildTemplateContext } from "../build/delivered-files.ts";
import { buildRoutes, type Route } from "../repository/routes.ts";
import { findTemplateSecrets, listUnusedTemplateSecrets } from "../secrets/template-secrets.ts";
import { NearNames } from "./view/near-name.ts";
import {
  addTo,
  blame,
  type Fault,
  type FiledService,
  type FileFinding,
  findRealm,
  type NodeFile,
  type RepositoryView,
} from "./view/repository-view.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** Checks sources, sizes and templates. */
export function checkFiles(view: RepositoryView): FileFinding[] {
  return [...checkSources(view), ...checkSizes(view), ...checkTemplates(view)];
}

/** Checks that the sources are there, and files. */
export function checkSources(view: RepositoryView): FileFinding[] {
  const near = new NearNames();
  return view.services.flatMap((service) => {
    const { files, backups } = service.manifest;
    const sources = [
      ...files.map(({ source }, index) => ({ source, path: ["files", index, "source"] })),
      ...backups.flatMap(({ verify }, index) =>
        verify?.fk_allowlist === undefined
          ? []
          : [{ source: verify.fk_allowlist, path: ["backups", index, "verify", "fk_allowlist"] }],
      ),
    ];
    if (sources.length === 0) return [];
    const entries = view.files.list(service.node);
    return sources.flatMap(({ source, path }) => {
      const fault = judgeSource(source, entries, near) ?? judgeContent(view, service.node, source);
      return fault === undefined ? [] : [blame(service, path, fault)];
    });
  });
}

/** Why an entry that is there cannot be delivered. */
const REFUSALS: Record<Exclude<NodeFile["kind"], "file">, Pick<Fault, "code" | "message" | "hint">> = {
  outside: {
    code: "file-outside",
    message: "is a link that leaves the node's directory",
    hint: "put the file itself there",
  },
  dangling: { code: "file-source", message: "is a link that leads nowhere", hint: "put the file itself there" },
  directory: { code: "file-source", message: "is a directory", hint: "name each file in a [[files]] of its own" },
  special: { code: "file-source", message: "is no regular file", hint: "put a file there" },
};

function judgeSource(source: string, entries: ReadonlyMap<string, NodeFile>, near: NearNames): Fault | undefined {
  const entry = entries.get(source);
  if (entry?.kind === "file") return undefined;
  if (entry !== undefined) {
    const { code, message, hint } = REFUSALS[entry.kind];
    return { severity: "error", code, message: `${quoteText(source)} ${message}`, hint };
  }
  const meant = near.suggest(source, listPlain(entries));
  const hint = meant === undefined ? "add the file to the node's directory" : `did you mean ${quoteText(meant)}?`;
  return { severity: "error", code: "file-source", message: `there is no file ${quoteText(source)}`, hint };
}

/** Whether it is a pointer is asked of small files alone: no others are read. */
function judgeContent(view: RepositoryView, node: string, source: string): Fault | undefined {
  const sizeBytes = view.files.list(node).get(source)?.sizeBytes ?? 0;
  const content = sizeBytes < 1_024 ? view.files.read(node, source) : undefined;
  if (content === undefined || !isLfsPointer(content)) return undefined;
  const { message, hint } = LFS_POINTER;
  return { severity: "error", code: "file-source", message: `${quoteText(source)} ${message}`, hint };
}

function* listPlain(entries: ReadonlyMap<string, NodeFile>): Iterable<string> {
  for (const entry of entries.values()) if (entry.kind === "file") yield entry.path;
}

function checkSizes(view: RepositoryView): FileFinding[] {
  return view.nodes.flatMap((node) => {
    const files = [...view.files.list(node).values()].filter((entry) => entry.kind === "file");
    const place = { path: [], nodes: [node], place: { line: 1, column: 1 } };
    const findings = files
      .filter((entry) => entry.sizeBytes > LARGEST_FILE_BYTES)
      .map((entry): FileFinding => {
        const message = `it holds ${describeSize(entry.sizeBytes)}, and the agent reads no file above ${describeSize(LARGEST_FILE_BYTES)}`;
        const hint = "keep large files in an image or a volume";
        return {
          ...place,
          severity: "error",
          code: "file-size",
          file: view.files.describe(node, entry.path),
          message,
          hint,
        };
      });
    const totalBytes = files.reduce((sum, entry) => sum + entry.sizeBytes, 0);
    if (totalBytes <= LARGEST_NODE_BYTES) return findings;
    const message = `the files hold ${describeSize(totalBytes)}, and the agent reads at most ${describeSize(LARGEST_NODE_BYTES)} for a node`;
    const hint = "keep large files in images or volumes";
    return [
      ...findings,
      { ...place, severity: "error", code: "file-size", file: view.files.describe(node, ""), message, hint },
    ];
  });
}

/** A template that could be read. */
export interface TemplateText {
  service: FiledService;
  index: number;
  source: string;
  text: string;
}

/** Every template of the repository; what is no UTF-8 is left out here and refused by `checkFiles`. */
export function* listTemplates(view: RepositoryView): Iterable<TemplateText> {
  for (const service of view.services) {
    for (const [index, { template, source }] of service.manifest.files.entries()) {
      const text = template ? readText(view, service.node, source) : undefined;
      if (text !== undefined && text !== NOT_UTF8) yield { service, index, source, text };
    }
  }
}

const NOT_UTF8 = Symbol("not UTF-8");

function readText(view: RepositoryView, node: string, source: string): string | typeof NOT_UTF8 | undefined {
  const content = view.files.list(node).get(source)?.kind === "file" ? view.files.read(node, source) : undefined;
  if (content === undefined) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(content);
  } catch {
    return NOT_UTF8;
  }
}

function checkTemplates(view: RepositoryView): FileFinding[] {
  const routes = cacheRoutes(view);
  const findings: FileFinding[] = [];
  for (const service of view.services) {
    const used = new Set<string>();
    let unread = false;
    for (const [index, { template, source }] of service.manifest.files.entries()) {
      const text = template ? readText(view, service.node, source) : undefined;
      if (text === undefined) continue;
      if (text === NOT_UTF8) {
        findings.push(
          blame(service, ["files", index, "source"], {
            severity: "error",
            code: "template",
            message: `${quoteText(source)} is no UTF-8 text`,
            hint: "take template = true out, or write the file in UTF-8",
          }),
        );
        continue;
      }
      const rendered = render(view, { service, index, source, text }, routes(service.node));
      findings.push(...rendered.findings);
      unread ||= rendered.findings.length > 0;
      for (const name of rendered.secrets) used.add(name);
    }
    const unused = unread ? [] : listUnusedTemplateSecrets(service.manifest, used);
    findings.push(...unused.map((name) => blameUnused(service, name)));
  }
  return findings;
}

function blameUnused(service: FiledService, name: string): FileFinding {
  const message = "no template of this service uses it";
  const hint = `write {{ secrets[${quoteText(name)}] }} into one, or take it out`;
  return blame(service, ["secrets", "templates", name], {
    severity: "warning",
    code: "template-secret",
    message,
    hint,
  });
}

/** A template rendered with marks in place of secrets, and the names of those. */
function render(
  view: RepositoryView,
  template: TemplateText,
  routes: readonly Route[],
): { findings: FileFinding[]; secrets: readonly string[] } {
  const { service, source, text } = template;
  const place = { node: service.node, service: service.service, fleet: view.fleet.fleet };
  const at = { path: [], file: view.files.describe(service.node, source), nodes: [service.node] };
  try {
    const { paths, faults } = findTemplateSecrets(view.templates.listSecrets(text), service.manifest);
    const secrets = Object.keys(paths);
    const findings = faults.map(({ line, column, message, hint }): FileFinding => {
      const said = `for ${service.service}: ${message}`;
      return { severity: "error", code: "template-secret", ...at, place: { line, column }, message: said, hint };
    });
    // With a name that is not there it would only fail once more.
    if (faults.length === 0) view.templates.outline(text, buildTemplateContext(place, routes), secrets);
    return { findings, secrets };
  } catch (error) {
    // LiquidJS ends its message with the place in the template: there the finding stands.
    const said = readMessage(error).split("\n", 1)[0] ?? "";
    const found = /,(?: file:[^,]*,)? line:(\d+), col:(\d+)$/.exec(said);
    const finding: FileFinding = {
      severity: "error",
      code: "template",
      ...at,
      place: { line: Number(found?.[1] ?? 1), column: Number(found?.[2] ?? 1) },
      message: `it does not render for ${service.service}: ${cutText(found === null ? said : said.slice(0, found.index))}`,
      hint: "a template knows node, service, realm, nodes, routes and secrets",
    };
    return { findings: [finding], secrets: [] };
  }
}

/** The routes as seen from a node, built once for each node from those services of its realm that have any. */
function cacheRoutes(view: RepositoryView): (node: string) => readonly Route[] {
  const { fleet } = view.fleet;
  const byRealm = new Map<string | undefined, FiledService[]>();
  for (const service of view.services) {
    if (service.manifest.routes.length === 0) continue;
    addTo(byRealm, findRealm(fleet, service.node), service);
  }
  const built = new Map<string, readonly Route[]>();
  return (node) => {
    const routes = built.get(node) ?? buildRoutes(byRealm.get(findRealm(fleet, node)) ?? [], node, fleet);
    built.set(node, routes);
    return routes;
  };
}
