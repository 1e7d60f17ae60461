// What `orca bundle create` reads: a TOML file that says what a bundle is made from. Pure.

import * as z from "zod";

import { imageReference, name } from "../../../shared/text/schema-leaf.ts";
import { bundlePath } from "./bundle-manifest.ts";

const source = z.string().min(1).describe("A file or a directory; beside this file where it is relative.");

/** The schema of that file. */
export const bundleSpecSchema = z
  .strictObject({
    bundle_id: name.describe("Names the bundle, for people."),
    repository: source.describe(
      "The manifests repository, or its orca/ directory; beside this file where it is relative.",
    ),
    nodes: z.array(name).min(1).optional().describe("The nodes that it is for; all when left out."),
    images: z.array(imageReference).default([]).describe("Images beside those that manifests name."),
    models: z
      .array(
        z.strictObject({
          name: z.string().min(1).max(200),
          source,
          volume: z
            .string()
            .regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/, "write a volume's name")
            .describe("A volume of a manifest, which the file goes into."),
          target: bundlePath.describe("Where it lies in that volume; a directory for a directory."),
        }),
      )
      .default([])
      .describe("Large files that services read from their volumes."),
    files: z
      .array(z.strictObject({ source, path: bundlePath.describe("Where it lies in the bundle.") }))
      .default([])
      .describe("Packages, configuration, policy and whatever else somebody takes out of the bundle by hand."),
  })
  .meta({ title: "Orca bundle" });

/** A parsed one. */
export type BundleSpec = z.output<typeof bundleSpecSchema>;

/** Directories of a bundle that Orca fills itself. */
export const OWN_DIRECTORIES: readonly string[] = ["images", "models", "repository", "secrets.template"];

/** Who takes a secret. */
interface SecretUse {
  /** As a provider knows it. */
  path: string;
  service: string;
}

/** The template of secrets: every path that the manifests take, with who takes it, and no value. */
export function printSecretTemplate(uses: readonly SecretUse[]): string {
  const byPath = Map.groupBy(uses, ({ path }) => path);
  const lines = [...byPath].toSorted(([left], [right]) => (left < right ? -1 : 1));
  const head =
    "# The secrets that the manifests take. Set each on the node, its value from stdin: orca secrets set PATH\n";
  return `${head}${lines.map(([path, users]) => `${path}\t# ${users.map(({ service }) => service).join(", ")}\n`).join("")}`;
}
