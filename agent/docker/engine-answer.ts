// The engine's words. It gives an HTTP status and a sentence, and no code of its own: where the status does not tell two answers apart,
// the sentence is matched here and nowhere else, so that everybody else goes by a FaultCode. The words are those of Docker 20.10 to 28,
// containerd and runc. Used by EngineError; decides nothing.

import type { FaultCode } from "../../shared/state/step.ts";

/** What the engine says, by what it means. The first that fits names the fault: what the host lacks comes before what the container asks for. */
const WORDS: readonly (readonly [FaultCode, RegExp])[] = [
  ["disk-full", /no space left on device|disk quota exceeded|ENOSPC/i],
  [
    "host-exhausted",
    /too many open files|cannot allocate memory|resource temporarily unavailable|no available IPv4 addresses|could not find an available/i,
  ],
  ["engine-away", /connection error: desc|transport is closing|ttrpc: closed|context (?:deadline exceeded|canceled)/i],
  // An engine that is ending has closed its own records.
  ["engine-away", /failed to (?:update|get|delete) store|error (?:creating|updating) .*\bstore\b/i],
  ["engine-away", /containerd[^]*connection refused|iptables failed|network \S+ not found/i],
  [
    "container-stuck",
    /task \S+ already exists|task \S+: already exists|given id already exists|id already in use|container \S+ already exists/i,
  ],
  // 403 in every version, as for other things that a network refuses. The same sentence is its answer to a second connecting.
  ["endpoint-left", /endpoint with name \S+ already exists in network/i],
  // 409, as for a name that is taken: somebody removes this container at this moment.
  ["removing", /marked for removal|removal of container \S+ is already in progress/i],
  ["name-taken", /container name \S+ is already in use/i],
  ["port-held", /port is already allocated|address already in use|cannot assign requested address/i],
  ["source-missing", /bind source path does not exist/i],
  [
    "image-unknown",
    /manifest unknown|manifest for .* not found|not found: manifest|repository does not exist|invalid reference|no matching manifest|image operating system/i,
  ],
  // 404, as for an image or a network that is not there.
  ["gone", /no such container/i],
  // A program, user, directory, device, limit or kernel setting that the container asks for and cannot have.
  [
    "spec-refused",
    /OCI runtime create failed|unable to find user|no such file or directory|executable file not found/i,
  ],
];

/**
 * Reads one answer of the engine that is an error.
 * @param status its HTTP status; undefined where nothing answered
 */
export function readFault(status: number | undefined, message: string): FaultCode {
  if (status === undefined) return "engine-away";
  const known = WORDS.find(([, words]) => words.test(message));
  if (known !== undefined) return known[0];
  if (status === 503) return "engine-away";
  return status === 400 ? "spec-refused" : "other";
}

/** Layers that only say who passes an error on: each of them stands before every failure of that kind. */
const CARRIERS =
  /^(?:failed to create shim(?: task)?|failed to create task for container|failed to start shim|OCI runtime (?:create|start) failed|runc (?:create|start) failed|unable to start container process|container_linux\.go:\d+|process_linux\.go:\d+|rootfs_linux\.go:\d+|(?:starting container process|container init|running hook #\d+) caused(?: "?[a-z_]+\.go:\d+)?|Error response from daemon)$/i;
/** So much of an answer is told, its begin and its end. */
const LONGEST_BEGIN = 280;
const LONGEST_END = 100;
/** A part that is shorter may stand twice for a reason. */
const LEAST_REPEATED = 12;

/**
 * Shortens what the engine says of a failure to one line that says each thing once: for people alone, since what it means is read from
 * the whole (`readFault`), and after secrets have been taken out.
 */
export function shortenAnswer(message: string): string {
  const line = message
    .replaceAll(/\(HTTP code \d+\) [a-z ]* - /g, "")
    .replaceAll(/\s+/g, " ")
    .trim();
  const parts = line.split(": ");
  const kept = parts.filter((part, at) => {
    const isTold = part.length >= LEAST_REPEATED && parts.indexOf(part) < at;
    const isLast = at === parts.length - 1;
    return !isTold && !(isLast && part === "unknown") && (isLast || !CARRIERS.test(part));
  });
  const text = kept.join(": ");
  if (text.length <= LONGEST_BEGIN + LONGEST_END) return text;
  return `${text.slice(0, LONGEST_BEGIN)} … ${text.slice(-LONGEST_END)}`;
}
