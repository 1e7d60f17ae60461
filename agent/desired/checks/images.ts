// Images that are another one tomorrow under the same name: what runs then depends on when a host pulled it.

import { parseImageReference } from "../../../shared/manifest/image-reference.ts";
import { blame, type FileFinding, type RepositoryView } from "./view/repository-view.ts";

/** Tags that are moved on by those who publish them. */
const FLOATING: ReadonlySet<string> = new Set([
  "latest",
  "edge",
  "main",
  "master",
  "nightly",
  "stable",
  "dev",
  "develop",
  "canary",
  "rolling",
]);

/** Warns of every image whose tag moves. */
export function checkImages(view: RepositoryView): FileFinding[] {
  return view.services.flatMap((service) => {
    const image = parseImageReference(service.manifest.image);
    if (typeof image === "string" || image.digest !== undefined) return [];
    const { tag = "latest" } = image;
    if (!FLOATING.has(tag)) return [];
    const told = image.tag === undefined ? "without a tag it is :latest, which" : `the tag ${tag}`;
    const message = `${told} names another image tomorrow: each host runs what it pulled, and a rollback may pull the new one`;
    const hint = "write the version as the tag, or @sha256: and its digest";
    return [blame(service, ["image"], { severity: "warning", code: "floating-tag", message, hint })];
  });
}
