// [gossip] in agent.toml: links or NATS, never both, and nothing secret in a URL.

import { describe, expect, test } from "vitest";

import { agentConfigSchema } from "../../../shared/config/agent-config.ts";

const BASE = { node: "vm-edge", source: { dir: "/srv" } };
const KEY = { identity_file: "/var/lib/orca/identity.key" };

function judge(gossip: object): string[] {
  const parsed = agentConfigSchema.safeParse({ ...BASE, gossip: { ...KEY, ...gossip } });
  return parsed.success ? [] : parsed.error.issues.map(({ message }) => message);
}

describe("gossip", () => {
  test.each([
    [{ listen: "10.0.0.10:7946" }],
    [{ backend: { nats: "tls://nats.example.com:4222" } }],
    [{ backend: { nats: ["tls://10.0.0.5:4222", "tls://[fd00::5]:4222"], ca_file: "/etc/orca/ca.pem", replicas: 3 } }],
    [{ backend: { nats: "nats://127.0.0.1", creds_file: "/etc/orca/nats.creds" } }],
    [{ backend: { nats: "tls://a", cert_file: "/c.pem", key_file: "/k.pem", nkey_file: "/n" } }],
  ])("%j is taken", (gossip) => {
    expect(judge(gossip)).toEqual([]);
  });

  test.each([
    [{}, /not both and not neither/],
    [{ listen: "10.0.0.10:7946", backend: { nats: "tls://a" } }, /not both and not neither/],
    [{ backend: { nats: "tls://user:password@nats.example.com:4222" } }, /no user or password/],
    [{ backend: { nats: "https://nats.example.com" } }, /a NATS server has a name/],
    [{ backend: { nats: [] } }, /./],
    [{ backend: { nats: "tls://a", creds_file: "/c", nkey_file: "/n" } }, /as one user/],
    [{ backend: { nats: "tls://a", cert_file: "/c" } }, /go together/],
    [{ backend: { nats: "nats://a", ca_file: "/c" } }, /certificates are for TLS/],
    [{ backend: { nats: ["tls://a", "nats://b"], ca_file: "/c" } }, /certificates are for TLS/],
    [{ backend: { nats: "tls://a", replicas: 2 } }, /./],
  ])("%j is refused", (gossip, message) => {
    expect(judge(gossip).join("\n")).toMatch(message);
  });
});
