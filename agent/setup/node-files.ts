// agent.toml and policy.toml of a fresh VM, from fleet.toml: for user-data. Pure.

import { stringify } from "smol-toml";

import type { Fleet, FleetNode } from "../../shared/fleet/fleet.ts";
import { parseImageReference } from "../../shared/manifest/image-reference.ts";

/** Where `orca enroll` puts what each key of agent.toml names. */
const CREDENTIAL_PLACES = {
  "git-token": "/etc/orca/git-token",
  "infisical-id": "/etc/orca/infisical-id",
  "infisical-secret": "/etc/orca/infisical-secret",
} as const;

const GOSSIP_PORT = 7946;

/** `address:port`, as a listener is written. */
function listenOn(address: string, port: number): string {
  return `${address.includes(":") ? `[${address}]` : address}:${port}`;
}

/** True where another node of the realm would be spoken to. */
function hasPeers(fleet: Fleet, name: string): boolean {
  const env = fleet.nodes[name]?.env;
  return Object.entries(fleet.nodes).some(([other, node]) => other !== name && node.env === env);
}

/**
 * The text of agent.toml.
 * @param base another node's agent.toml as plain data, whose name and address are replaced; without it what `[host]` of fleet.toml says
 * @returns undefined where neither says where the manifests come from
 */
export function buildAgentFile(
  fleet: Fleet,
  name: string,
  base?: Readonly<Record<string, unknown>>,
): string | undefined {
  const node = fleet.nodes[name];
  if (node === undefined) return undefined;
  const config = base === undefined ? buildFromHost(fleet, node) : { ...base };
  if (config === undefined) return undefined;
  config["node"] = name;
  const gossip = config["gossip"];
  const isBacked = typeof gossip === "object" && gossip !== null && "backend" in gossip;
  if (!isBacked && (gossip !== undefined || hasPeers(fleet, name)))
    config["gossip"] = {
      ...(gossip as object | undefined),
      listen: listenOn(node.address, GOSSIP_PORT),
      identity_file: "/var/lib/orca/identity.key",
    };
  const { node: first, ...rest } = config;
  return stringify({ node: first, ...rest });
}

function buildFromHost(fleet: Fleet, node: FleetNode): Record<string, unknown> | undefined {
  const { source, secrets } = fleet.host ?? {};
  if (source === undefined) return undefined;
  const { url, branch, path, private: isPrivate } = source;
  const git = {
    url,
    ...(branch === undefined ? {} : { branch }),
    ...(path === undefined ? {} : { path }),
    ...(isPrivate ? { token_file: CREDENTIAL_PLACES["git-token"] } : {}),
  };
  const infisical = secrets && {
    url: secrets.url,
    project: secrets.project,
    environment: secrets.environment ?? node.env,
    client_id_file: CREDENTIAL_PLACES["infisical-id"],
    client_secret_file: CREDENTIAL_PLACES["infisical-secret"],
  };
  return {
    source: { git },
    ...(infisical === undefined ? {} : { secrets: { infisical } }),
    docker: { auth_file: "/etc/orca/registry.json", cgroup_parent: "orca.slice" },
  };
}

/**
 * The text of policy.toml: the strict one, with this node's realm, its data's directory and its realm's secrets.
 * @param images those of its manifests: their registries are the ones that count; with none of them every registry does
 */
export function buildPolicyFile({ env, data }: FleetNode, images: readonly string[] = []): string {
  const registries = images.flatMap((image) => {
    const parsed = parseImageReference(image);
    return typeof parsed === "string" ? [] : [parsed.registry];
  });
  const head = "# This host's law, which no commit can loosen; what is not written here is denied. orca help policy\n";
  return `${head}${stringify({
    realm: env,
    ...(registries.length === 0 ? {} : { images: { registries: [...new Set(registries)].toSorted() } }),
    ...(data === undefined ? {} : { mounts: { allowed_prefixes: [data.mount] } }),
    secrets: { allowed_prefixes: [`/${env}`] },
  })}`;
}
