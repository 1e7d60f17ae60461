// The contract of the gossip, over both ways: links between the nodes, and a real NATS server between them.

import { afterAll, beforeAll, describe } from "vitest";

import { GossipNode } from "../../builders/gossip/gossip-node.ts";
import { NatsNode } from "../../builders/gossip/nats-node.ts";
import { NatsServer } from "../../builders/gossip/nats-server.ts";
import { describeShell } from "../../contract/gossip-shell.ts";

describe("over links of their own", () => {
  describeShell((node) => GossipNode.create(node));
});

describe("through NATS", () => {
  const server = new NatsServer();
  beforeAll(() => server.start());
  afterAll(() => server.dispose());
  describeShell((node) => NatsNode.create(node, server.settings()));
});
