// What is in a package, as CycloneDX 1.6 has it (https://cyclonedx.org/docs/1.6/json/): every npm package whose code is in the bundle, and
// the Node that runs it. Nothing else of node_modules is in there, and nothing else is listed. Held by test/docker/agent/package.test.ts.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { findLocked } from "./npm-package.ts";

/** What the bill is of. */
export interface BillOptions {
  root: string;
  version: string;
  arch: string;
  commit: string;
  /** Seconds since 1970. */
  epoch: number;
  /** The directories of what is in it. */
  packages: readonly string[];
}

/** The parts of a package.json that are read. */
interface PackageJson {
  name: string;
  version: string;
  license?: string | { type?: string };
}

/** Builds the bill, as text. The same package has the same bill, to the byte. */
export function buildBill({ root, version, arch, commit, epoch, packages }: BillOptions): string {
  const components = packages.map((directory) => buildComponent(root, directory));
  const distinct = [...new Map(components.map((entry) => [entry["bom-ref"], entry])).values()];
  const main = `pkg:deb/orca@${encodeURIComponent(version)}?arch=${arch}`;
  const bill = {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    serialNumber: `urn:uuid:${nameUuid(`${commit} ${version} ${arch}`)}`,
    version: 1,
    metadata: {
      timestamp: new Date(epoch * 1_000).toISOString(),
      component: {
        type: "application",
        "bom-ref": main,
        name: "orca",
        version,
        purl: main,
        licenses: [{ license: { id: "Apache-2.0" } }],
        properties: [{ name: "orca:commit", value: commit }],
      },
    },
    components: distinct.toSorted((left, right) => (left["bom-ref"] < right["bom-ref"] ? -1 : 1)),
  };
  return `${JSON.stringify(bill, undefined, 2)}\n`;
}

function buildComponent(root: string, directory: string): { "bom-ref": string } & Record<string, unknown> {
  const { name, version, license } = JSON.parse(readFileSync(join(directory, "package.json"), "utf8")) as PackageJson;
  const purl = `pkg:npm/${name.replace(/^@/, "%40")}@${version}`;
  const expression = typeof license === "string" ? license : license?.type;
  const { integrity } = findLocked(root, name);
  const content = Buffer.from(integrity.replace(/^sha512-/, ""), "base64").toString("hex");
  return {
    type: name.startsWith("node-linux-") ? "platform" : "library",
    "bom-ref": purl,
    name,
    version,
    purl,
    // What scanners know Node by.
    ...(name.startsWith("node-linux-") ? { cpe: `cpe:2.3:a:nodejs:node.js:${version}:*:*:*:-:*:*:*` } : {}),
    ...(expression === undefined ? {} : { licenses: [{ expression }] }),
    hashes: [{ alg: "SHA-512", content }],
  };
}

/** A UUID (version 5's form, RFC 9562) that is always the same for a text. */
function nameUuid(text: string): string {
  const bytes = createHash("sha256").update(`orca package ${text}`).digest();
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x50;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join("-");
}
