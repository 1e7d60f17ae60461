// `orca up --down`: removes a node's containers and its network. Volumes stay, always.

import { claimContainer, LABEL, nameNetwork, type OwnContainerId } from "../../shared/state/identity.ts";
import type { DockerReader } from "../docker/reader.ts";
import type { DockerWriter } from "../docker/writer.ts";

/** What a tear-down did. */
export interface TornDown {
  containers: string[];
  network: boolean;
}

/** Stops and removes every container of a node, then its network. */
export async function tearDown(
  engine: { reader: DockerReader; writer: DockerWriter },
  node: string,
): Promise<TornDown> {
  const rows = await engine.reader.listContainers();
  const own = rows.flatMap((row) => {
    const id = claimContainer(row.id, row.labels, node);
    return id === undefined ? [] : [{ id, name: row.name }];
  });
  await Promise.all(own.map(({ id }) => removeOne(engine.writer, id)));
  const name = nameNetwork(node);
  const network = (await engine.reader.listNetworks()).find(
    (entry) => entry.name === name && entry.labels[LABEL.node] === node,
  );
  if (network !== undefined) await engine.writer.removeNetwork(name);
  return { containers: own.map((entry) => entry.name).toSorted(), network: network !== undefined };
}

async function removeOne(writer: DockerWriter, id: OwnContainerId): Promise<void> {
  await writer.stopContainer(id, undefined);
  await writer.removeContainer(id);
}
