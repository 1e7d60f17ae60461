// A stage host with the policy that is shipped, for tests that attack it: one agent with one service, no lint before it.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { parseToml } from "../../../shared/text/parse-toml.ts";
import { type Policy, policySchema } from "../../../shared/policy/policy.ts";
import { FakeSecrets } from "../../fakes/fake-secrets.ts";
import { buildManifest } from "./manifest.ts";
import { NODE, TestNode } from "./node.ts";

const POLICY = fileURLToPath(new URL("../../../host-config/policy-stage.toml", import.meta.url));
const FLEET = `[nodes.${NODE}]\naddress = "10.0.1.10"\nenv = "stage"\nmemory = "8GiB"\n`;

/** What the provider would give: this one does not know the scopes of a machine identity, so only the host's law holds it. */
const VALUES = {
  "/stage/app/POLAR": "https://api.polar.sh/v1",
  "/stage/app/SANDBOX": "https://sandbox-api.polar.sh",
  "/stage/app/CLIENT": "portal",
  "/stage/app/URL": "postgres://app:x@vm-data:5432/app",
  "/stage/app/RELAY": "smtp.customer.example",
  "/stage/app/ISSUER": "https://vm-edge:8443/realms/breakpilot",
  "/stage/app/PASSWORD": "only-for-stage",
  "/prod/app/PASSWORD": "canary-of-production",
};

/** How an attack ended. */
export interface AttackEnd {
  state: string;
  reason: string;
  /** Paths that the provider was asked for. */
  asked: string[];
  containers: number;
}

/** A stage host. */
export class StageHost {
  readonly directory = mkdtempSync(join(tmpdir(), "orca-stage-"));
  /** A directory that a manifest may mount, where a test allows that. */
  readonly data = join(this.directory, "data");
  readonly policy: Policy;
  node: TestNode | undefined;

  private constructor(policy: Policy) {
    this.policy = policy;
    mkdirSync(this.data);
    symlinkSync("/var/run", join(this.data, "harmless"));
  }

  static async open(): Promise<StageHost> {
    const parsed = await parseToml(policySchema, readFileSync(POLICY, "utf8"), "policy-stage.toml");
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
    return new StageHost(parsed.value);
  }

  /** Starts an agent with this service alone; answers what status says of it, and which secrets were asked for. */
  async attack(
    manifest: string,
    files: Readonly<Record<string, string>> = {},
    choices: Partial<Policy> = {},
  ): Promise<AttackEnd> {
    const secrets = new FakeSecrets();
    for (const [path, value] of Object.entries(VALUES)) secrets.values.set(path, value);
    this.node = new TestNode({ secrets, settings: { policy: { ...this.policy, ...choices } } });
    this.node.source.setFleet(FLEET);
    for (const [path, content] of Object.entries(files)) this.node.source.setFile(path, content);
    this.node.source.set({ app: manifest });
    await this.node.start();
    await this.node.clock.advance(30_000);
    const { state, reason } = this.node.view("app");
    return { state, reason, asked: [...secrets.asked], containers: this.node.engine.containers.size };
  }

  /** Ends the agent of the last attack. */
  async rest(): Promise<void> {
    await this.node?.dispose();
    this.node = undefined;
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A manifest with these tables. */
export function withTables(tables: string, top = ""): string {
  return buildManifest({ top, tables });
}

/** A manifest that is given files/env, as it is or as a template. */
export function withFile(template: boolean): string {
  return withTables(`[[files]]\nsource = "files/env"\ntarget = "/etc/app.env"\ntemplate = ${template}`);
}

/** A manifest that mounts a directory of the host. */
export function withVolume(source: string): string {
  const top = 'backup = { none = "an attack" }';
  return withTables(`[[volumes]]\nsource = "${source}"\ntarget = "/x"`, top);
}
