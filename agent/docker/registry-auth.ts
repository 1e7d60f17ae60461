// Registry credentials from files in Docker's config.json form, read anew for each pull so that `docker login` takes effect
// at once. Values go to the engine in a header and nowhere else.

import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

import { parseImageReference } from "../../shared/manifest/image-reference.ts";
import type { RegistryAuth } from "./writer.ts";

/** What Docker Hub is called in config.json. */
const DOCKER_HUB = ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"];

interface ConfigJson {
  auths?: Record<string, { auth?: string; username?: string; password?: string }>;
  credsStore?: string;
  credHelpers?: Record<string, string>;
}

/** The agent's user's own Docker configuration. */
export function defaultAuthFile(): string {
  return join(homedir(), ".docker", "config.json");
}

/**
 * Builds a look-up of credentials by image.
 * @param files config.json files; the first that knows the image's registry is used, a missing file is passed over
 * @returns a function that throws where a file is there and cannot be used
 */
export function createAuthFinder(files: readonly string[]): (image: string) => Promise<RegistryAuth | undefined> {
  return async (image) => {
    const reference = parseImageReference(image);
    if (typeof reference === "string") return undefined;
    for (const file of files) {
      const config = await readConfig(file);
      const found = config === undefined ? undefined : findEntry(config, reference.registry, file);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

async function readConfig(file: string): Promise<ConfigJson | undefined> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new Error(`read registry credentials: ${file}: ${error.code}`);
  });
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as ConfigJson;
  } catch {
    throw new Error(`read registry credentials: ${file} is not JSON; write it with docker login`);
  }
}

function findEntry(config: ConfigJson, registry: string, file: string): RegistryAuth | undefined {
  const names =
    registry === "docker.io"
      ? DOCKER_HUB
      : [registry, `https://${registry}`, `https://${registry}/v2/`, `http://${registry}`];
  const key = names.find((name) => config.auths?.[name] !== undefined);
  const entry = key === undefined ? undefined : config.auths?.[key];
  if (entry?.auth !== undefined && entry.auth !== "") {
    const [username = "", ...password] = Buffer.from(entry.auth, "base64").toString("utf8").split(":");
    return { username, password: password.join(":"), serveraddress: key ?? registry };
  }
  if (entry?.username !== undefined)
    return { username: entry.username, password: entry.password ?? "", serveraddress: key ?? registry };
  const helper = config.credHelpers?.[registry] ?? (entry === undefined ? undefined : config.credsStore);
  if (helper === undefined) return undefined;
  throw new Error(
    `read registry credentials: ${file} keeps those of ${registry} with the helper ${helper}, which the agent does not run: ` +
      `log in with a config.json that has no credsStore`,
  );
}
