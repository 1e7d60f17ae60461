// One agent with a provider of secrets in the test's hand and a service that takes one: for tests of what the provider's answers
// mean to services that run, start again, come back after a reboot, or are new.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { FakeSecrets } from "../../fakes/fake-secrets.ts";
import { buildManifest } from "./manifest.ts";
import { type NodeChoices, TestNode } from "./node.ts";

export const PATH = "/prod/app/PASSWORD";
export const MORE = "/prod/app/TOKEN";

/** A node and its provider. */
export interface SecretNode {
  node: TestNode;
  secrets: FakeSecrets;
}

/** A manifest that settles soon. */
export function manifestOf(tables: string, top = "", image = "app:1"): string {
  return buildManifest({ image, top, tables: `[update]\nsettle = "1s"\nhealthy_within = "20s"\n${tables}` });
}

export const WITH_FILE = manifestOf(`[secrets.files]\n"db.password" = "${PATH}"`);
export const WITH_ENV = manifestOf(`[secrets.env]\nPASSWORD = "${PATH}"`);

/** An agent that is not started yet. */
export function openSecretNode(choices: NodeChoices = {}): SecretNode {
  const secrets = new FakeSecrets();
  secrets.values.set(PATH, "correct horse");
  return { node: new TestNode({ ...choices, secrets }), secrets };
}

/** The host is off and on again: nothing runs, nothing is in memory. */
export async function reboot(node: TestNode): Promise<void> {
  await node.stop();
  node.engine.goDown();
  node.clearMemory();
  node.bootId = `${node.bootId}+`;
  node.engine.comeBack();
  await node.start();
}

/** A service's program ends with 1. */
export function crash(node: TestNode, service: string): void {
  const container = node.engine.running(service);
  if (container === undefined) throw new Error(`${service} does not run`);
  node.engine.end(container, 1);
}

/** Name → content of what lies in a service's directory in memory. */
export function deliveredTo(node: TestNode, service = "app"): Record<string, string> {
  const root = join(node.runDir, "secrets", service);
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && !entry.name.endsWith(".json"),
  );
  return Object.fromEntries(
    files.map((entry) => [entry.name, readFileSync(join(entry.parentPath, entry.name), "utf8")]),
  );
}
