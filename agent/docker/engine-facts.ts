// What an engine says of itself and of every container, for `orca doctor`: fields that nobody else of the agent asks for, read by the
// engine's own HTTP API. Names of variables are taken, never a value. Changes nothing.

import { request } from "node:http";

import type { ContainerFact, EngineFact, Said } from "../doctor/baseline/baseline-facts.ts";
import { LABEL } from "../../shared/state/identity.ts";
import { readMessage } from "../../shared/text/read-message.ts";
import { JOB_LABEL } from "./job-label.ts";

const ANSWER_MS = 10_000;
const ANSWER_BYTES = 16 * 1024 ** 2;
const MOST_CONTAINERS = 500;

/** Reads one engine and its containers. Never throws. */
export async function readEngineFacts(
  socketPath: string,
  node: string,
): Promise<{ engine: Said<EngineFact>; containers: ContainerFact[] }> {
  try {
    const engine = mapInfo((await get(socketPath, "/info")) as InfoJson);
    const rows = (await get(socketPath, "/containers/json?all=1")) as { Id: string }[];
    const found: ContainerFact[] = [];
    for (const { Id: id } of rows.slice(0, MOST_CONTAINERS)) {
      // One that has gone meanwhile is no fault of the engine.
      const json = await get(socketPath, `/containers/${encodeURIComponent(id)}/json`).catch(() => undefined);
      if (json !== undefined) found.push(mapContainerFact(json as ContainerJson, node));
    }
    return { engine: { kind: "said", value: engine }, containers: found };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ECONNREFUSED") return { engine: { kind: "absent" }, containers: [] };
    return { engine: { kind: "unseen", trouble: `${socketPath}: ${readMessage(error)}` }, containers: [] };
  }
}

function get(socketPath: string, path: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const question = request({ socketPath, path, timeout: ANSWER_MS }, (answer) => {
      const pieces: Buffer[] = [];
      let bytes = 0;
      answer.on("data", (piece: Buffer) => {
        bytes += piece.length;
        if (bytes > ANSWER_BYTES) question.destroy(new Error("its answer is too large"));
        else pieces.push(piece);
      });
      answer.once("error", reject);
      answer.once("end", () => {
        const { statusCode = 0 } = answer;
        if (statusCode !== 200) return reject(new Error(`it answers ${statusCode}`));
        try {
          resolve(JSON.parse(Buffer.concat(pieces).toString("utf8")));
        } catch (error) {
          reject(error);
        }
      });
    });
    question.once("timeout", () => question.destroy(new Error(`it has not answered for ${ANSWER_MS / 1_000} s`)));
    question.once("error", reject);
    question.end();
  });
}

interface InfoJson {
  LoggingDriver?: string;
  LiveRestoreEnabled?: boolean;
  Driver?: string;
  CgroupVersion?: string;
  SecurityOptions?: string[] | null;
  DockerRootDir?: string;
  Swarm?: { LocalNodeState?: string };
  RegistryConfig?: {
    InsecureRegistryCIDRs?: string[] | null;
    IndexConfigs?: Record<string, { Secure?: boolean }> | null;
  };
}

function mapInfo(json: InfoJson): EngineFact {
  const { RegistryConfig: registry, SecurityOptions: options, Swarm: swarm } = json;
  const open = Object.entries(registry?.IndexConfigs ?? {}).flatMap(([name, { Secure: secure }]) =>
    secure === false ? [name] : [],
  );
  return {
    logDriver: json.LoggingDriver ?? "",
    liveRestore: json.LiveRestoreEnabled === true,
    storageDriver: json.Driver ?? "",
    cgroupVersion: json.CgroupVersion ?? "1",
    securityOptions: options ?? [],
    insecureRegistries: [...(registry?.InsecureRegistryCIDRs ?? []), ...open],
    rootDir: json.DockerRootDir ?? "",
    inSwarm: swarm?.LocalNodeState === "active",
  };
}

interface ContainerJson {
  Name: string;
  Created: string;
  State?: { Running?: boolean };
  Config?: { Image?: string; Labels?: Record<string, string> | null; Env?: string[] | null };
  HostConfig?: {
    Memory?: number;
    MemorySwap?: number;
    PidsLimit?: number | null;
    Privileged?: boolean;
    NetworkMode?: string;
    PidMode?: string;
    IpcMode?: string;
    Devices?: { PathOnHost?: string }[] | null;
    RestartPolicy?: { Name?: string };
    LogConfig?: { Type?: string; Config?: Record<string, string> | null };
    PortBindings?: Record<string, { HostIp?: string; HostPort?: string }[] | null> | null;
  };
  Mounts?: { Type?: string; Source?: string }[] | null;
}

function mapContainerFact(json: ContainerJson, node: string): ContainerFact {
  const { HostConfig: host = {}, Config: config = {} } = json;
  const labels = config.Labels ?? {};
  const log = host.LogConfig;
  const modes = { network: host.NetworkMode, pid: host.PidMode, ipc: host.IpcMode };
  return {
    name: json.Name.replace(/^\//, ""),
    service: labels[LABEL.node] === node ? labels[LABEL.service] : undefined,
    job: labels[JOB_LABEL],
    createdMs: Date.parse(json.Created),
    running: json.State?.Running === true,
    memoryBytes: host.Memory ?? 0,
    memorySwapBytes: host.MemorySwap ?? -1,
    pidsLimit: host.PidsLimit ?? 0,
    privileged: host.Privileged === true,
    hostNamespaces: Object.entries(modes).flatMap(([name, mode]) => (mode === "host" ? [name] : [])),
    devices: (host.Devices ?? []).flatMap(({ PathOnHost: path }) => path ?? []),
    sources: (json.Mounts ?? []).flatMap(({ Type: type, Source: source }) =>
      type === "bind" && source !== undefined ? [source] : [],
    ),
    published: Object.values(host.PortBindings ?? {}).flatMap((bindings) =>
      (bindings ?? []).map(({ HostIp: address = "", HostPort: port = "" }) => ({ address, port: Number(port) })),
    ),
    variables: (config.Env ?? []).flatMap((line) => {
      const at = line.indexOf("=");
      return at > 0 && at < line.length - 1 ? [line.slice(0, at)] : [];
    }),
    restartPolicy: host.RestartPolicy?.Name ?? "",
    logDriver: log?.Type ?? "",
    logCapped: log?.Config?.["max-size"] !== undefined,
    image: config.Image ?? "",
  };
}
