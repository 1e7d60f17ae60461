// The writing half of the Docker port: everything that changes something. Only apply/ is handed one (law 2).
// There is no call that removes a volume or an image a container needs.

import type { Caps, ContainerSpec } from "../../shared/state/container-spec.ts";
import type { OwnContainerId } from "../../shared/state/identity.ts";

/** Everything the engine needs to make a container. */
export interface CreateRequest {
  name: string;
  node: string;
  service: string;
  specHash: string;
  revision: string;
  spec: ContainerSpec;
  caps: Caps;
  network: string;
  stopTimeoutMs: number;
  /** The real path behind each of the spec's bind-mount sources, as it was judged; one that is not in here is taken as written. */
  sources?: Readonly<Record<string, string>>;
  /** Host paths mounted into it besides the spec's volumes: delivered files, the hosts file, secrets. */
  binds: readonly { source: string; target: string; readOnly: boolean }[];
  /** Volumes without a name that it takes over from the container before it. */
  carried: readonly { name: string; target: string }[];
  /** Environment that is not part of the spec, such as secret values; merged last, never logged. */
  extraEnv: Readonly<Record<string, string>>;
}

/** Registry credentials, in the engine's own form; never logged. */
export interface RegistryAuth {
  username: string;
  password: string;
  serveraddress: string;
}

/** How to pull an image. */
export interface PullOptions {
  auth: RegistryAuth | undefined;
  signal: AbortSignal;
  /** Called a few times a second at most. */
  onProgress: (progress: { doneBytes: number; totalBytes: number; layers: number }) => void;
}

/** Writes to one engine. Every call may throw an `EngineError`. */
export interface DockerWriter {
  /** Resolves once the image is on this host, not before. */
  pullImage(reference: string, options: PullOptions): Promise<void>;
  /** Fails with status 409 when the name is taken. */
  createContainer(request: CreateRequest): Promise<OwnContainerId>;
  /** Starting a container that runs is fine. */
  startContainer(id: OwnContainerId): Promise<void>;
  unpauseContainer(id: OwnContainerId): Promise<void>;
  /** Gives it a name; one that has it already is fine. Fails with status 409 when another one has it. */
  renameContainer(id: OwnContainerId, name: string): Promise<void>;
  /** Asks it to end, kills it after the timeout; one that has ended is fine. */
  stopContainer(id: OwnContainerId, timeoutMs: number | undefined): Promise<void>;
  signalContainer(id: OwnContainerId, signal: string): Promise<void>;
  /** Removes the container and its anonymous volumes' links only; one that is gone is fine. Never a named volume. */
  removeContainer(id: OwnContainerId): Promise<void>;
  /** Sets the caps, and the engine's restart policy back to `no`: the agent owns every start. */
  updateCaps(id: OwnContainerId, caps: Caps): Promise<void>;
  createNetwork(request: { name: string; node: string; subnet: string | undefined; internal: boolean }): Promise<void>;
  connectNetwork(network: string, id: OwnContainerId, aliases: readonly string[]): Promise<void>;
  /** Only of this node and only when nothing uses it; used by `orca up --down`. */
  removeNetwork(name: string): Promise<void>;
  /** Making a volume that exists is fine; its labels then stay as they are. `ephemeral`: the name that manifests give it. */
  createVolume(request: { name: string; node: string; service: string; ephemeral?: string | undefined }): Promise<void>;
}
