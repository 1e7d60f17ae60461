// What the engine's answers mean, in one closed set: read from its status and its words here and nowhere else, so that a plan goes by
// facts. The words are those of Docker 20.10 to 28, containerd and runc. Used by EngineError; decides nothing.

import type { FaultCode } from "../../shared/state/step.ts";

/** The first that fits names the fault: what the host lacks comes before what the container asks for. */
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
  ["endpoint-left", /endpoint with name \S+ already exists in network/i],
  ["removing", /marked for removal|removal of container \S+ is already in progress/i],
  ["name-taken", /container name \S+ is already in use/i],
  ["port-held", /port is already allocated|address already in use|cannot assign requested address/i],
  ["source-missing", /bind source path does not exist/i],
  [
    "image-unknown",
    /manifest unknown|manifest for .* not found|not found: manifest|repository does not exist|invalid reference|no matching manifest|image operating system/i,
  ],
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
