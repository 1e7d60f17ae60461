// A private registry on loopback, with a user and a password; it can be stopped to play an outage. Needs the Debian
// package docker-registry.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export const REGISTRY_USER = "orca";
export const REGISTRY_PASSWORD = "registry-test-password";
/** bcrypt of the password above, as `htpasswd -nbB` writes it. */
const HTPASSWD = "orca:$2y$05$y36UiDq60fqD3Wskw5Lnh.nlajrNrWaHBJyXxSrEYhqvpLOO0eMXK\n";

/** A registry of the test's own. */
export class TestRegistry {
  readonly port: number;
  readonly host: string;
  readonly root = mkdtempSync(join(tmpdir(), "orca-registry-"));
  /** A config.json with the right credentials. */
  readonly authFile = join(this.root, "auth.json");
  #process: ChildProcess | undefined;

  constructor(port: number) {
    this.port = port;
    this.host = `127.0.0.1:${port}`;
    writeFileSync(join(this.root, "htpasswd"), HTPASSWD);
    const auth = Buffer.from(`${REGISTRY_USER}:${REGISTRY_PASSWORD}`).toString("base64");
    writeFileSync(this.authFile, JSON.stringify({ auths: { [this.host]: { auth } } }));
    const lines = [
      "version: 0.1",
      "storage:",
      `  filesystem: { rootdirectory: ${this.root}/data }`,
      `http: { addr: ${this.host} }`,
      `auth: { htpasswd: { realm: test, path: ${this.root}/htpasswd } }`,
    ];
    writeFileSync(join(this.root, "config.yml"), `${lines.join("\n")}\n`);
  }

  async start(): Promise<void> {
    this.#process = spawn("docker-registry", ["serve", join(this.root, "config.yml")], { stdio: "ignore" });
    for (let attempt = 0; attempt < 600; attempt += 1) {
      const answer = await fetch(`http://${this.host}/v2/`).catch(() => undefined);
      if (answer?.status === 401) return;
      await sleep(100);
    }
    throw new Error("the registry did not start");
  }

  async stop(): Promise<void> {
    const running = this.#process;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const ended = new Promise((resolve) => running.once("exit", resolve));
    running.kill("SIGKILL");
    await ended;
  }

  async destroy(): Promise<void> {
    await this.stop();
    rmSync(this.root, { recursive: true, force: true });
  }
}
