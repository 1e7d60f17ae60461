// Files that look like manifests and are read by nobody: a YAML file beside them, or another ending.

import type { FileFinding, RepositoryView } from "./view/repository-view.ts";

/** Endings under which people write a service, but for the one that is read. */
const LOOKS_LIKE_ONE = /^[^/.][^/]*\.(ya?ml|json5?|tml|toml\.(txt|example|bak|orig|new)|TOML|Toml)$/;

/** Warns of every such file directly in a node's directory that no manifest delivers. */
export function checkStrangeFiles(view: RepositoryView): FileFinding[] {
  return view.nodes.flatMap((node) => {
    const used = new Set(
      (view.servicesOf.get(node) ?? []).flatMap(({ manifest }) => manifest.files.map(({ source }) => source)),
    );
    return [...view.files.list(node).values()].flatMap(({ path, kind }): FileFinding[] => {
      if (kind !== "file" || used.has(path) || !LOOKS_LIKE_ONE.test(path)) return [];
      const message =
        "it is no manifest and nothing reads it: only files NAME.toml directly in a node's directory are services";
      const hint = /\.ya?ml$/.test(path)
        ? "write the service as TOML; a file that a service is given belongs under files/"
        : "rename it to NAME.toml, or move it under files/";
      const file = view.files.describe(node, path);
      const place = { line: 1, column: 1 };
      return [{ severity: "warning", code: "no-manifest", path: [], message, hint, file, nodes: [node], place }];
    });
  });
}
