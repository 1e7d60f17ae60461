// The files of one service as they are to be delivered, with their content: as they are, rendered, or as the recipe of a
// file with secrets in it, which is rendered where the values are. Pure; knows no value.

import type { DesiredFile } from "../../../shared/state/desired-state.ts";
import type { FileContent } from "../../../shared/state/file-content.ts";
import type { Fleet } from "../../../shared/fleet/fleet.ts";
import { canonicalJson, sha256 } from "../../../shared/state/identity.ts";
import { isLfsPointer, LFS_POINTER } from "../../../shared/manifest/lfs-pointer.ts";
import type { Manifest } from "../../../shared/manifest/manifest.ts";
import { isPlainWord } from "../../../shared/text/plain-word.ts";
import { compareText, type Finding } from "../../../shared/text/problem.ts";
import {
  CONTAINER_USER,
  nameVersion,
  PRIVATE_MODE,
  SECRETS_DIRECTORY,
  STAND_IN_VERSION,
  type TemplateRecipe,
} from "../../../shared/secret/secret-facts.ts";
import type { TemplateBudget } from "../../../shared/text/template-budget.ts";
import type { Templates } from "../../../shared/text/template.ts";
import type { CompileContext } from "./compile.ts";
import { buildRoutes, type Route } from "../repository/routes.ts";
import { findTemplateSecrets } from "../secrets/template-secrets.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

type ManifestFile = Manifest["files"][number];

/** What a file of the manifest becomes. */
type Built =
  | { kind: "plain"; content: Uint8Array }
  | { kind: "recipe"; of: Extract<FileContent, { kind: "rendered" }>; content: Uint8Array }
  | { kind: "fault"; message: string; hint: string };

/** The files to deliver with their content, and those that cannot be had. */
export function buildFiles(
  name: string,
  manifest: Manifest,
  context: CompileContext,
): { files: DesiredFile[]; contents: Map<string, Uint8Array>; findings: Finding[] } {
  const files: DesiredFile[] = [];
  const contents = new Map<string, Uint8Array>();
  const findings: Finding[] = [];
  const budget = context.settings.templates?.beginBudget() ?? { operations: 0 };
  for (const [index, file] of manifest.files.entries()) {
    const built = buildContent(name, file, { manifest, context, budget });
    if (built.kind === "fault") {
      const { message, hint } = built;
      findings.push({ severity: "error", code: "file-source", path: ["files", index, "source"], message, hint });
    } else if (built.kind === "plain") {
      const hash = sha256(built.content);
      contents.set(hash, built.content);
      const { target, mode = "0444", owner, on_change: onChange = "restart" } = file;
      files.push({ target, content: { kind: "plain", hash }, mode, owner, onChange });
    } else {
      contents.set(built.of.recipe, built.content);
      files.push(buildRendered(file, built.of, manifest));
    }
  }
  return { files, contents, findings };
}

/** A file with secrets in it has the owner and mode of a secret file where its manifest says nothing else. */
function buildRendered(file: ManifestFile, content: FileContent, { secrets, user }: Manifest): DesiredFile {
  const { target, mode, on_change: onChange = secrets?.on_rotate ?? "restart" } = file;
  const known = file.owner ?? findNumericUser(user);
  const owner = known ?? CONTAINER_USER;
  return { target, content, mode: mode ?? (known === undefined ? PRIVATE_MODE : "0400"), owner, onChange };
}

/** Secret files as files to deliver, whose content is a version of a value: what a change of content does, a rotation does. */
export function buildSecretFiles(manifest: Manifest, versions: Readonly<Record<string, string>>): DesiredFile[] {
  const { secrets, user } = manifest;
  const files = Object.entries(secrets?.files ?? {});
  const owner = findNumericUser(user);
  return files.map(([name, path]) => ({
    target: `${SECRETS_DIRECTORY}/${name}`,
    content: { kind: "secret", path, version: versions[path] ?? STAND_IN_VERSION },
    mode: owner === undefined ? PRIVATE_MODE : "0400",
    owner: owner ?? CONTAINER_USER,
    onChange: secrets?.on_rotate ?? "restart",
  }));
}

/** A user in numbers owns its files. One that has a name is known inside the image only: it is looked up at delivery. */
function findNumericUser(user = ""): string | undefined {
  return /^[1-9]\d*(:\d+)?$/.test(user) ? user : undefined;
}

function describeMissing(path: string, context: CompileContext): Built {
  const fault = context.findFault?.(path);
  if (fault !== undefined) return { kind: "fault", message: `${path}: ${fault.message}`, hint: fault.hint };
  const hint = "add the file to the node's directory, or correct the path";
  return { kind: "fault", message: `there is no file ${path}`, hint };
}

function buildContent(
  service: string,
  file: ManifestFile,
  { manifest, context, budget }: { manifest: Manifest; context: CompileContext; budget: TemplateBudget },
): Built {
  const source = context.readFile(file.source);
  if (source === undefined) return describeMissing(file.source, context);
  if (isLfsPointer(source))
    return { kind: "fault", message: `${file.source} ${LFS_POINTER.message}`, hint: LFS_POINTER.hint };
  if (!file.template) return { kind: "plain", content: source };
  const { settings, fleet } = context;
  const { templates } = settings;
  if (templates === undefined) return { kind: "fault", message: "templates cannot be rendered here", hint: "" };
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(source);
    const { paths, faults } = findTemplateSecrets(templates.listSecrets(text), manifest);
    const [fault] = faults;
    if (fault !== undefined) {
      const { line, column, message, hint } = fault;
      return { kind: "fault", message: `${file.source}:${line}:${column}: ${message}`, hint };
    }
    const place = { node: settings.node, service, fleet };
    const seen = buildTemplateContext(place, buildRoutes(context.services, settings.node, fleet));
    if (Object.keys(paths).length > 0)
      return buildRecipe({ text, context: seen, secrets: paths }, { templates, budget }, context.secrets.versions);
    const rendered = templates.render(text, seen, undefined, budget);
    return { kind: "plain", content: new TextEncoder().encode(rendered) };
  } catch (error) {
    const said = readMessage(error);
    return { kind: "fault", message: `${file.source} does not render: ${said}`, hint: "correct the template" };
  }
}

/**
 * The recipe of a file with secrets in it, and its hash: over the text as it is rendered without them, so that only what
 * changes the file changes the hash. Where a value decides what else is in it, over all that it could show.
 */
function buildRecipe(
  whole: TemplateRecipe,
  { templates, budget }: { templates: Templates; budget: TemplateBudget },
  versions: Readonly<Record<string, string>>,
): Extract<Built, { kind: "recipe" }> {
  // What the text does not even mention is not kept.
  const mentioned = Object.entries(whole.context).filter(([name]) => whole.text.includes(name));
  const recipe = { ...whole, context: Object.fromEntries(mentioned) };
  const outline = templates.outline(recipe.text, recipe.context, Object.keys(recipe.secrets), budget);
  const content = new TextEncoder().encode(canonicalJson(recipe));
  const key = sha256(
    canonicalJson({ text: outline.text, secrets: recipe.secrets, ...(outline.decides ? recipe : {}) }),
  );
  const paths = [...new Set(Object.values(recipe.secrets))].toSorted(compareText);
  const secrets = paths.map((path) => nameVersion(path, versions[path] ?? STAND_IN_VERSION));
  return { kind: "recipe", of: { kind: "rendered", recipe: key, secrets }, content };
}

/** Where a template is rendered. */
export interface TemplatePlace {
  node: string;
  service: string;
  fleet: Fleet | undefined;
}

/** Asked once more, as of routes: what a template writes is another program's configuration. */
function isPlainNode(name: string, address: string, realm: string): boolean {
  return isPlainWord("name", name) && isPlainWord("network", address) && isPlainWord("name", realm);
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
    nodes: Object.entries(fleet?.nodes ?? {})
      .filter(([name, { address, env }]) => isPlainNode(name, address, env))
      .map(([name, entry]) => ({ name, address: entry.address, realm: entry.env })),
    routes,
  };
}
