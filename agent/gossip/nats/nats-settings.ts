// Where the NATS server is and as whom an agent goes there: from agent.toml and the files that it names. Used by the link, which
// reads the files anew for each connection.

import { readFile } from "node:fs/promises";
import { checkServerIdentity, type ConnectionOptions } from "node:tls";

import type { NodeConnectionOptions } from "@nats-io/transport-node";

import { readSecretFile } from "../../host/files/secret-file.ts";
import { CONNECT_MS, PINGS_OUT, PING_MS } from "../settings.ts";

/** What agent.toml says. */
export interface NatsSettings {
  servers: readonly string[];
  credsFile: string | undefined;
  nkeyFile: string | undefined;
  caFile: string | undefined;
  certFile: string | undefined;
  keyFile: string | undefined;
  replicas: number;
}

/** What TLS is given beside what the client's type names: it hands all of it on. */
type Tls = NonNullable<NodeConnectionOptions["tls"]> & Pick<ConnectionOptions, "checkServerIdentity">;

/**
 * Builds the options of a connection to one of the servers; throws, without naming any content, when a file cannot be used.
 * @param server as agent.toml writes it
 */
export async function buildConnection(
  settings: NatsSettings,
  node: string,
  server: string,
): Promise<NodeConnectionOptions> {
  const { caFile, certFile, keyFile } = settings;
  const ca = caFile === undefined ? {} : { ca: await readPlain(caFile) };
  const cert = certFile === undefined ? {} : { cert: await readPlain(certFile) };
  const key = keyFile === undefined ? {} : { key: (await readSecretFile(keyFile)).expose() };
  const { protocol, hostname, host } = new URL(server);
  const name = hostname.replace(/^\[|\]$/g, "");
  // The client knows no name where the server is an address, and would compare the certificate with "localhost".
  const tls: Tls = { ...ca, ...cert, ...key, checkServerIdentity: (_asked, peer) => checkServerIdentity(name, peer) };
  const authenticator = await buildAuthenticator(settings);
  return {
    servers: host,
    name: `orca ${node}`,
    resolve: false,
    timeout: CONNECT_MS,
    pingInterval: PING_MS,
    maxPingOut: PINGS_OUT,
    noAsyncTraces: true,
    // The link connects anew itself: it reads the files again, and says why a server refuses it.
    reconnect: false,
    ignoreClusterUpdates: true,
    noEcho: true,
    inboxPrefix: `_INBOX.orca.${node}`,
    tls: protocol === "tls:" ? tls : null,
    ...(authenticator === undefined ? {} : { authenticator }),
  };
}

async function buildAuthenticator({
  credsFile,
  nkeyFile,
}: NatsSettings): Promise<NodeConnectionOptions["authenticator"]> {
  if (credsFile === undefined && nkeyFile === undefined) return undefined;
  const { default: transport } = await import("@nats-io/transport-node");
  const encoder = new TextEncoder();
  if (credsFile !== undefined)
    return transport.credsAuthenticator(encoder.encode((await readSecretFile(credsFile)).expose()));
  return transport.nkeyAuthenticator(encoder.encode((await readSecretFile(nkeyFile ?? "")).expose()));
}

async function readPlain(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new Error(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? "no code"}`, { cause: error });
  }
}
