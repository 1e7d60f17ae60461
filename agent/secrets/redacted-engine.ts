// The parts of the Docker port through which what containers print reaches the agent, with secret values taken out before
// anything else sees it: exit records, probe messages, failures and `orca logs` are made from it.

import { type Redactor, RedactedStream } from "../../shared/secret/redactor.ts";
import {
  type DockerExec,
  type DockerReader,
  type FollowOptions,
  LONGEST_LINE,
  LONGEST_OUTPUT,
} from "../docker/reader.ts";
import type { CancelTimer, Clock } from "../host/os/clock.ts";

/** What is kept back of an unfinished line is shown when nothing has come for so long. */
const IDLE_MS = 200;

/** A reader whose log lines hold no secret, whether they are read or followed. */
export function redactReader(reader: DockerReader, redactor: Redactor, clock: Clock): DockerReader {
  return overlay(reader, {
    tailLogs: async (id, lines) =>
      (await reader.tailLogs(id, lines)).map((line) => redactCut(line, LONGEST_LINE, redactor)),
    followLogs: (id, options) => followRedacted(reader, id, { options, redactor, clock }),
  });
}

/** Commands of probes and of files, whose output holds no secret; what a person runs is that person's own. */
export function redactExec(exec: DockerExec, redactor: Redactor): DockerExec {
  return overlay(exec, {
    run: async (...parameters) => {
      const result = await exec.run(...parameters);
      return { ...result, output: redactCut(result.output, LONGEST_OUTPUT, redactor) };
    },
  });
}

/** A text that is as long as it may be was cut, perhaps in the middle of a value. */
function redactCut(text: string, longest: number, redactor: Redactor): string {
  return redactor.redact(text, text.length >= longest ? "cut" : "whole");
}

/** Each of the two streams by itself: what is cut between two pieces of one may have pieces of the other in between. */
async function followRedacted(
  reader: DockerReader,
  id: string,
  { options, redactor, clock }: { options: FollowOptions; redactor: Redactor; clock: Clock },
): Promise<void> {
  const streams = { stdout: new RedactedStream(redactor), stderr: new RedactedStream(redactor) };
  let cancel: CancelTimer = () => undefined;
  const show = (name: keyof typeof streams, chunk: Buffer): unknown =>
    chunk.length > 0 ? options.onChunk(chunk, name) : undefined;
  const each = (give: (stream: RedactedStream) => Buffer): void => {
    for (const name of ["stdout", "stderr"] as const) void show(name, give(streams[name]));
  };
  try {
    await reader.followLogs(id, {
      ...options,
      onChunk: (chunk, name) => {
        cancel();
        const given = streams[name].push(chunk);
        if (Object.values(streams).some((stream) => stream.isHolding))
          cancel = clock.after(IDLE_MS, () => each((stream) => stream.rest()));
        return show(name, given);
      },
    });
    each((stream) => stream.end());
  } finally {
    cancel();
  }
}

function overlay<T extends object>(port: T, changed: Partial<T>): T {
  return new Proxy(port, {
    get: (target, key) => {
      const value: unknown = Reflect.get(changed, key) ?? Reflect.get(target, key);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}
