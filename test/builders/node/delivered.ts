// What was delivered in memory to a service of a test's node, and what the engine was told to mount.

import { readdirSync, readFileSync, statSync } from "node:fs";

import type { CreateRequest } from "../../../agent/docker/writer.ts";
import type { TestNode } from "./node.ts";

/** A file as a container would see it. */
export interface SeenFile {
  path: string;
  content: string;
  mode: string;
  owner: string;
  inode: number;
}

/** The newest request for a container of a service. */
export function findRequest(node: TestNode, service = "app"): CreateRequest {
  const requests = node.engine.of(service).flatMap((entry) => entry.request ?? []);
  const newest = requests.at(-1);
  if (newest === undefined) throw new Error(`${service} has no container`);
  return newest;
}

/** The file behind one of its mounts, as it is now. */
export function readMounted(node: TestNode, target: string, service = "app"): SeenFile {
  const bind = findRequest(node, service).binds.find((entry) => entry.target === target);
  if (bind === undefined) throw new Error(`nothing is mounted at ${target}`);
  return describeFile(bind.source);
}

/** The files behind /run/secrets of a service, by name. */
export function readSecretFiles(node: TestNode, service = "app"): Record<string, SeenFile> {
  const bind = findRequest(node, service).binds.find((entry) => entry.target === "/run/secrets");
  if (bind === undefined) return {};
  return Object.fromEntries(readdirSync(bind.source).map((name) => [name, describeFile(`${bind.source}/${name}`)]));
}

function describeFile(path: string): SeenFile {
  const { mode, uid, gid, ino } = statSync(path);
  const octal = (mode & 0o777).toString(8).padStart(4, "0");
  return { path, content: readFileSync(path, "utf8"), mode: octal, owner: `${uid}:${gid}`, inode: ino };
}

/** Notes what a test sees whenever a container of a service is about to start. */
export function noteAtStarts(node: TestNode, look: () => string, service = "app"): string[] {
  const seen: string[] = [];
  const { writer } = node.engine;
  const start = writer.startContainer.bind(writer);
  writer.startContainer = (id) => {
    if (node.engine.of(service).some((entry) => entry.id === id)) seen.push(look());
    return start(id);
  };
  return seen;
}

/** Everything that lies in the state directory, as one text of bytes. */
export function readState({ stateDir }: TestNode): string {
  const files = readdirSync(stateDir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.map((entry) => readFileSync(`${entry.parentPath}/${entry.name}`, "latin1")).join("\n");
}

/** Why containers of a service were started since some event, and what else the agent did for it. */
export function listCauses(node: TestNode, service: string, since = 0): string[] {
  const causes = node.events
    .slice(since)
    .flatMap((event) =>
      event.kind === "step-done" && event.lane === service ? [`${event.cause.kind}: ${event.cause.detail}`] : [],
    );
  return [...new Set(causes)];
}
