// The parts of the Docker port through which what containers print reaches the agent, with secret values taken out before
// anything else sees it: exit records, probe messages and failures are made from it.

import type { Redactor } from "../../shared/redactor.ts";
import type { DockerExec, DockerReader } from "../docker/reader.ts";

/** A reader whose log lines hold no secret. */
export function redactReader(reader: DockerReader, redactor: Redactor): DockerReader {
  return overlay(reader, {
    tailLogs: async (id, lines) => (await reader.tailLogs(id, lines)).map((line) => redactor.redact(line)),
  });
}

/** Commands in containers whose output holds no secret. */
export function redactExec(exec: DockerExec, redactor: Redactor): DockerExec {
  return overlay(exec, {
    run: async (...parameters) => {
      const result = await exec.run(...parameters);
      return { ...result, output: redactor.redact(result.output) };
    },
  });
}

function overlay<T extends object>(port: T, changed: Partial<T>): T {
  return new Proxy(port, {
    get: (target, key) => {
      const value: unknown = Reflect.get(changed, key) ?? Reflect.get(target, key);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}
