// A test's node with one service whose config file has a secret in it.

import { readMounted } from "./delivered.ts";
import { buildManifest } from "./manifest.ts";
import { NODE, type NodeChoices, TestNode } from "./node.ts";
import { FakeSecrets } from "../../fakes/fake-secrets.ts";

export const PATH = "/prod/app/PASSWORD";
export const OTHER_PATH = "/prod/app/TOKEN";
export const TARGET = "/etc/app.conf";
export const TEMPLATE = "user=app\npassword={{ secrets.DB_PASSWORD }}\nnode={{ node }}\n";
/** Between these the content of TEMPLATE differs by the value alone. */
export const FIRST_VALUE = "correct-horse-1";

/** What a test changes of the service. */
export interface TemplateParts {
  /** Lines of its [[files]]. */
  file?: string;
  /** The tables under [secrets] in place of one secret for templates alone. */
  secrets?: string;
  top?: string;
  image?: string;
  /** Lines of its [update]. */
  update?: string;
}

/** The service: one template at TARGET. */
export function buildTemplated(parts: TemplateParts = {}): string {
  const { file = "", top = "", image = "app:1", update = "" } = parts;
  const secrets = parts.secrets ?? `[secrets.templates]\nDB_PASSWORD = "${PATH}"`;
  const files = `[[files]]\nsource = "files/app.conf"\ntarget = "${TARGET}"\ntemplate = true\n${file}`;
  const tables = `[update]\nsettle = "5s"\nhealthy_within = "30s"\n${update}\n${secrets}\n${files}`;
  return buildManifest({ image, top, tables });
}

/** A node whose provider knows both secrets; not started, without a service. */
export function openTemplated(choices: NodeChoices = {}): { node: TestNode; secrets: FakeSecrets } {
  const secrets = new FakeSecrets();
  secrets.values.set(PATH, FIRST_VALUE);
  secrets.values.set(OTHER_PATH, "token-1");
  const node = new TestNode({ ...choices, secrets });
  node.source.setFile("files/app.conf", TEMPLATE);
  return { node, secrets };
}

/** The content of TEMPLATE with a value. */
export function contentWith(value: string): string {
  return `user=app\npassword=${value}\nnode=${NODE}\n`;
}

/** The file as the service's newest container sees it. */
export function readContent(node: TestNode): string {
  return readMounted(node, TARGET).content;
}
