// What people are told of a service by its state and its reason, at moments that were once told wrong.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { policySchema } from "../../shared/policy/policy.ts";
import { buildManifest } from "../builders/manifest.ts";
import { TestNode } from "../builders/node.ts";

let node: TestNode;

const UPDATE = '[update]\nhealthy_within = "1m"\nsettle = "5s"\n';

function app(image: string, parts: { top?: string; health?: string; tables?: string } = {}): string {
  return buildManifest({ image, ...parts, tables: `${UPDATE}${parts.tables ?? ""}` });
}

beforeEach(async () => {
  const policy = policySchema.parse({ mounts: { allowed_prefixes: ["/srv"] } });
  node = new TestNode({ settings: { policy } });
  node.source.set({ app: app("app:1") });
  await node.start();
  await node.untilSettled(["app"]);
  node.events.length = 0;
});

afterEach(() => node.dispose());

describe("why no start can begin", () => {
  test("is said of a service that is refused and has nothing to run, and of one that its manifest stops", async () => {
    const bind = '[[volumes]]\nsource = "/etc"\ntarget = "/data"\nread_only = true\n';
    node.source.set({
      web: app("app:1", { top: 'backup = { none = "a test" }', tables: bind }),
      app: app("app:1", { top: 'state = "stopped"' }),
    });
    await node.until("refused", ["web"]);
    expect(node.view("web").startBlocked).toMatch(/^it is refused: .*\/etc/);
    await node.until("stopped", ["app"]);
    expect(node.view("app").startBlocked).toBe('its manifest says state = "stopped"');
  });

  test("is not said of one that a person stopped, nor of a release behind a manifest that is invalid", async () => {
    node.agent.request({ kind: "stop", service: "app", actor: { uid: 1000, user: "ada" } });
    await node.until("stopped", ["app"]);
    expect(node.view("app").startBlocked).toBeUndefined();
    node.source.set({ app: app("app:1", { top: "nonsense = 1" }) });
    await node.until("invalid", ["app"]);
    expect(node.view("app").startBlocked).toBeUndefined();
  });
});
