// What daemon.json and dockerd's own arguments say, and how the engine's socket lies there.

import { readFileSync, statSync } from "node:fs";

import type { EngineFileFact } from "../../../doctor/baseline/baseline-facts.ts";
import { readMessage } from "../../../../shared/text/read-message.ts";
import { listProcesses, readText } from "./read-text.ts";

const FILE = "/etc/docker/daemon.json";

/** Reads both. @param root stands before every path of the system; only a test has another one than this host's */
export function readEngineFile(socket: string, root = ""): EngineFileFact {
  const { options, trouble } = readOptions(`${root}${FILE}`);
  const words = listProcesses(root).find(([program = ""]) => /(^|\/)dockerd$/.test(program)) ?? [];
  const fromFile = Array.isArray(options["hosts"]) ? options["hosts"].filter((host) => typeof host === "string") : [];
  const fromWords = words.flatMap((word, index) => {
    if (word === "-H" || word === "--host") return words[index + 1] ?? [];
    return /^--host=|^-H./.test(word) ? word.replace(/^(--host=|-H=?)/, "") : [];
  });
  const said = Object.fromEntries(
    words.flatMap((word) => {
      const [, key, value] = /^--(icc|userland-proxy|metrics-addr)(?:=(.*))?$/.exec(word) ?? [];
      return key === undefined ? [] : [[key, value === "false" ? false : (value ?? true)] as const];
    }),
  );
  const pools = words.some((word) => word.startsWith("--default-address-pool"));
  return {
    path: FILE,
    trouble,
    options: { ...options, ...said, ...(pools ? { "default-address-pools": [] } : {}) },
    hosts: [...fromFile, ...fromWords],
    tlsVerify: options["tlsverify"] === true || words.some((word) => /^--tlsverify(=true)?$/.test(word)),
    socket: readSocket(`${root}${socket}`, socket),
  };
}

function readOptions(path: string): { options: Record<string, unknown>; trouble: string | undefined } {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    return { options: {}, trouble: code === "ENOENT" || code === "ENOTDIR" ? undefined : code };
  }
  try {
    const options: unknown = JSON.parse(text);
    if (typeof options !== "object" || options === null || Array.isArray(options))
      return { options: {}, trouble: "it is no object of JSON" };
    return { options: options as Record<string, unknown>, trouble: undefined };
  } catch (error) {
    return { options: {}, trouble: readMessage(error) };
  }
}

function readSocket(path: string, shown: string): EngineFileFact["socket"] {
  try {
    const { mode, gid } = statSync(path);
    const group = readText("/etc/group")
      ?.split("\n")
      .map((line) => line.split(":"))
      .find(([, , id]) => Number(id) === gid)?.[0];
    return { path: shown, mode: mode & 0o7777, group };
  } catch {
    return undefined;
  }
}
