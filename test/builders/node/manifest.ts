// Manifests for tests: the least that is valid, with what a test adds.

/** Parts of a manifest as TOML text. */
export interface ManifestParts {
  image?: string;
  /** Lines at the top level, such as `requires = ["db"]`. */
  top?: string;
  memory?: string;
  /** Lines of [health] in place of a tcp check on 80. */
  health?: string;
  /** Whole tables at the end, such as `[env]\nA = "1"`. */
  tables?: string;
}

/** Builds a manifest. */
export function buildManifest(parts: ManifestParts = {}): string {
  const { image = "app:1", top = "", memory = "64MiB", health = "tcp = { port = 80 }", tables = "" } = parts;
  return [`image = "${image}"`, top, "[resources]", `memory = "${memory}"`, "[health]", health, tables, ""].join("\n");
}
