// Asks OpenSSH's ssh-keygen whether a signature over a text was made by one key. Called by the child that fetches and by bundles. No
// shell: the arguments are ours, the text goes through stdin, key and signature are files in a directory of our own.

import { spawn } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** One question. */
export interface SignatureQuestion {
  /** The key's type and base64. */
  key: string;
  /** What the signature is for: another one of the same key does not count. */
  namespace: string;
  armored: string;
  payload: Uint8Array;
}

const PREFIX = "verify-";
const DEADLINE_MS = 10_000;
/** The name under which the one key is known; it says nothing. */
const IDENTITY = "signer";

/** A private directory for questions, within one that exists. */
export class SignatureCheck {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Opens one, and removes what a killed process left of others. */
  static async open(within: string): Promise<SignatureCheck> {
    for (const name of await readdir(within))
      if (name.startsWith(PREFIX)) await rm(join(within, name), { recursive: true, force: true });
    return new SignatureCheck(await mkdtemp(join(within, PREFIX)));
  }

  /** True for a good signature by that key. Throws where ssh-keygen could not be asked. */
  async verify({ key, namespace, armored, payload }: SignatureQuestion): Promise<boolean> {
    const [allowed, signature] = [join(this.#directory, "allowed"), join(this.#directory, "signature")];
    await writeFile(allowed, `${IDENTITY} namespaces="${namespace}" ${key}\n`, { mode: 0o600 });
    await writeFile(signature, armored, { mode: 0o600 });
    const parameters = ["-Y", "verify", "-f", allowed, "-I", IDENTITY, "-n", namespace, "-s", signature];
    return (await runKeygen(parameters, payload)) === 0;
  }

  async close(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** A signature of an OpenSSH key is some hundred bytes. */
const LARGEST_SIGNATURE_BYTES = 65_536;

/**
 * Signs a text. A passphrase is asked for on the terminal by ssh-keygen itself; a public key's file stands for one that ssh-agent holds.
 * @param keyFile of the private key, which only ssh-keygen reads
 * @returns the armored signature; throws with what ssh-keygen has said
 */
export function signText(keyFile: string, namespace: string, payload: Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("ssh-keygen", ["-Y", "sign", "-f", keyFile, "-n", namespace], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    let [signature, complaint] = ["", ""];
    child.stdout.on(
      "data",
      (piece: Buffer) => (signature += piece.toString("latin1").slice(0, LARGEST_SIGNATURE_BYTES)),
    );
    child.stderr.on("data", (piece: Buffer) => (complaint = (complaint + piece.toString()).slice(-2_000)));
    child.once("error", (error: NodeJS.ErrnoException) => reject(describeNoKeygen(error)));
    child.once("close", (code) => {
      if (code === 0) return resolve(signature);
      const said = complaint.trim().split("\n").at(-1) ?? "";
      reject(new Error(`sign with ${keyFile}: ${said === "" ? `ssh-keygen ended with ${code}` : said}`));
    });
    child.stdin.on("error", () => undefined);
    child.stdin.end(payload);
  });
}

function describeNoKeygen(error: NodeJS.ErrnoException): Error {
  const missing = "it is not installed: install the package openssh-client";
  return new Error(`run ssh-keygen: ${error.code === "ENOENT" ? missing : error.message}`, { cause: error });
}

/** Runs ssh-keygen; answers its exit code. */
function runKeygen(parameters: readonly string[], input: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn("ssh-keygen", parameters, {
      stdio: ["pipe", "ignore", "ignore"],
      env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", LC_ALL: "C" },
      timeout: DEADLINE_MS,
      killSignal: "SIGKILL",
    });
    child.once("error", (error: NodeJS.ErrnoException) => reject(describeNoKeygen(error)));
    child.once("close", (code, signal) => {
      if (code === null) reject(new Error(`run ssh-keygen: it was ended by ${signal ?? "nobody"}`));
      else resolve(code);
    });
    // One that ends before it has read everything has its answer.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
  });
}
