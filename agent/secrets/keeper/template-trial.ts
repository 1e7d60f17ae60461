// A file with secrets in it, rendered where the values are, to be judged: what comes out of here is whether it can be rendered
// and which pattern it matches, never a piece of it. Only the keeper uses it.

import type { Secret } from "../../../shared/secret/secret.ts";
import type { TemplateTrial, TemplateVerdict } from "../../../shared/secret/secret-facts.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

type FindSecret = (path: string, version: string) => Secret | undefined;

/** Renders it and judges what comes out. */
export function tryTemplate(
  { recipe, versions, templates, forbidden }: TemplateTrial,
  find: FindSecret,
): TemplateVerdict {
  const values = new Map<string, string>();
  for (const [name, path] of Object.entries(recipe.secrets)) {
    const value = find(path, versions[path] ?? "");
    if (value === undefined) return { kind: "unknown" };
    values.set(name, value.expose());
  }
  try {
    const text = templates.render(recipe.text, recipe.context, values);
    const matched = forbidden.find((pattern) => pattern.test(text));
    return { kind: "renders", ...(matched === undefined ? {} : { matched }) };
  } catch (error) {
    return { kind: "fails", reason: readMessage(error) };
  }
}
