// OpenSSH's own client, for `orca enroll`: which keys a host shows, and one command on it. Who the host is, is decided before anything is
// sent: by a fingerprint that a person has from elsewhere, or by the known_hosts of the person. No shell on this side; a secret goes through
// stdin alone.

import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { fingerprintOf } from "../../../shared/fleet/ssh-key.ts";

/** Where a host is reached. */
export interface SshPlace {
  user: string;
  /** A name, or an address without brackets. */
  host: string;
  port: number;
  /** A private key; those of the person's own configuration and agent when left out. */
  identity?: string;
}

/** One key that a host shows. */
export interface HostKey {
  type: string;
  /** As known_hosts holds it: host, type and base64. */
  line: string;
  fingerprint: string;
}

/** How one command on a host ended. */
export interface SshEnd {
  code: number;
  stdout: string;
  stderr: string;
}

const SCAN_MS = 20_000;
const CALL_MS = 180_000;
const ANSWER_BYTES = 262_144;

/** Asks a host for its keys. Nothing of what it says is proved: a key counts once its fingerprint is known. */
export async function scanHostKeys({ host, port }: SshPlace): Promise<HostKey[]> {
  const words = ["-T", "10", "-p", String(port), "--", host];
  const { stdout, stderr } = await runProgram("ssh-keyscan", words, { input: "", withinMs: SCAN_MS });
  const keys = stdout.split("\n").flatMap((line): HostKey[] => {
    const [name = "", type = "", encoded = ""] = line.split(" ");
    if (name === "" || name.startsWith("#") || encoded === "") return [];
    return [{ type, line, fingerprint: fingerprintOf(Buffer.from(encoded, "base64")) }];
  });
  if (keys.length > 0) return keys;
  const said = stderr.split("\n").findLast((line) => line !== "" && !line.startsWith("#")) ?? "no answer";
  throw new Error(`ask ${host} port ${port} for its SSH keys: ${said}`);
}

/**
 * Runs one command on a host, whose key must be the one that is given, or in the person's known_hosts.
 * @param command a fixed text: the host's login shell reads it
 * @param input what its stdin holds
 */
export async function runOnHost(
  { user, host, port, identity }: SshPlace,
  { command, input, key }: { command: string; input: string; key: HostKey | undefined },
): Promise<SshEnd> {
  const directory = await mkdtemp(join(tmpdir(), "orca-ssh-"));
  try {
    const known = join(directory, "known_hosts");
    if (key !== undefined) await writeFile(known, `${key.line}\n`, { mode: 0o600 });
    const words = [
      "-T",
      ...["StrictHostKeyChecking=yes", "ConnectTimeout=15", "ForwardAgent=no", "ClearAllForwardings=yes"].flatMap(
        setting,
      ),
      ...(key === undefined ? [] : pin(known, key.type)).flatMap(setting),
      ...(identity === undefined ? [] : ["-i", identity, ...setting("IdentitiesOnly=yes")]),
      "-p",
      String(port),
      "-l",
      user,
      "--",
      host,
      command,
    ];
    return await runProgram("ssh", words, { input, withinMs: CALL_MS });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function setting(text: string): string[] {
  return ["-o", text];
}

/** A master connection from before would have been made with another key in mind. */
function pin(known: string, type: string): string[] {
  const algorithms = type === "ssh-rsa" ? "rsa-sha2-512,rsa-sha2-256" : type;
  return [
    `UserKnownHostsFile=${known}`,
    "GlobalKnownHostsFile=/dev/null",
    `HostKeyAlgorithms=${algorithms}`,
    "CheckHostIP=no",
    "UpdateHostKeys=no",
    "VerifyHostKeyDNS=no",
    "ControlMaster=no",
    "ControlPath=none",
  ];
}

function runProgram(
  program: string,
  words: readonly string[],
  { input, withinMs }: { input: string; withinMs: number },
): Promise<SshEnd> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, { stdio: ["pipe", "pipe", "pipe"], timeout: withinMs, killSignal: "SIGKILL" });
    let [stdout, stderr] = ["", ""];
    const take = (text: string, piece: Buffer): string => {
      if (text.length + piece.length > ANSWER_BYTES) child.kill("SIGKILL");
      return (text + piece.toString()).slice(0, ANSWER_BYTES);
    };
    child.stdout.on("data", (piece: Buffer) => (stdout = take(stdout, piece)));
    child.stderr.on("data", (piece: Buffer) => (stderr = take(stderr, piece)));
    child.once("error", (error: NodeJS.ErrnoException) => {
      const missing = "it is not installed: install the package openssh-client";
      reject(new Error(`run ${program}: ${error.code === "ENOENT" ? missing : error.message}`, { cause: error }));
    });
    child.once("close", (code, signal) => {
      if (code === null)
        reject(new Error(`run ${program}: it was ended by ${signal ?? "nobody"}, within ${withinMs / 1_000} s`));
      else resolve({ code, stdout, stderr });
    });
    // One that ends before it has read everything has its answer.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
  });
}
