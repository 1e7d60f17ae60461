// A real nats-server of the test's own, on a loopback port, with JetStream: it can be killed, frozen, started again with or without
// what it had stored, and told who may do what. Needs the package nats-server.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { nkeys } from "@nats-io/transport-node";

import type { NatsSettings } from "../../../agent/gossip/nats/nats-settings.ts";
import { findPort } from "../engine/free-port.ts";

/** What an agent of a node may do on the server, as the page gossip says. */
export function describeRights(realm: string, node: string): { publish: string[]; subscribe: string[] } {
  const stream = `KV_orca-${realm}`;
  return {
    publish: [
      `$KV.orca-${realm}.${node}`,
      ...[`beat.${node}`, `hint.${node}`, "ask.*", "proof.*"].map((subject) => `orca.${realm}.${subject}`),
      "$JS.API.INFO",
      `$JS.API.STREAM.INFO.${stream}`,
      `$JS.API.STREAM.CREATE.${stream}`,
      `$JS.API.STREAM.MSG.GET.${stream}`,
      `$JS.API.DIRECT.GET.${stream}.>`,
      `$JS.API.CONSUMER.CREATE.${stream}`,
      `$JS.API.CONSUMER.CREATE.${stream}.>`,
      `$JS.API.CONSUMER.INFO.${stream}.>`,
      `$JS.API.CONSUMER.DELETE.${stream}.>`,
      `$JS.FC.${stream}.>`,
    ],
    subscribe: [
      `_INBOX.orca.${node}.>`,
      ...["beat.*", "hint.*", `ask.${node}`, `proof.${node}`].map((subject) => `orca.${realm}.${subject}`),
    ],
  };
}

/** One user of the server. */
export interface NatsUser {
  seedFile: string;
  publicKey: string;
}

/** A server in the test's hand. */
export class NatsServer {
  readonly root = mkdtempSync(join(tmpdir(), "orca-nats-"));
  port = 0;
  #process: ChildProcess | undefined;
  #users: string[] = [];
  #tls = "";
  #cluster = "";
  output = "";

  /** Makes a user who may do what an agent of that node may do. */
  addUser(name: string, rights = describeRights("prod", name)): NatsUser {
    const pair = nkeys.createUser();
    const seedFile = join(this.root, `${name}.nk`);
    writeFileSync(seedFile, `${new TextDecoder().decode(pair.getSeed())}\n`, { mode: 0o600 });
    const publicKey = pair.getPublicKey();
    const list = (subjects: readonly string[]): string => subjects.map((subject) => `"${subject}"`).join(", ");
    const { publish, subscribe } = rights;
    this.#users.push(
      `{ nkey: ${publicKey}, permissions: { publish: [${list(publish)}], subscribe: [${list(subscribe)}] } }`,
    );
    return { seedFile, publicKey };
  }

  /** Certificates of a CA of its own. */
  useTls(): { caFile: string } {
    const at = (name: string): string => join(this.root, name);
    const openssl = (...words: string[]): void => void execFileSync("openssl", words, { stdio: "ignore" });
    const key = ["-newkey", "ed25519", "-nodes", "-days", "2"];
    openssl("req", "-x509", ...key, "-keyout", at("ca.key"), "-out", at("ca.pem"), "-subj", "/CN=test");
    openssl("req", ...key.slice(0, 3), "-keyout", at("server.key"), "-out", at("server.csr"), "-subj", "/CN=server");
    writeFileSync(at("san"), "subjectAltName=IP:127.0.0.1");
    const sign = ["x509", "-req", "-in", at("server.csr"), "-CA", at("ca.pem"), "-CAkey", at("ca.key")];
    openssl(...sign, "-CAcreateserial", "-days", "2", "-extfile", at("san"), "-out", at("server.pem"));
    this.#tls = `tls { cert_file: "${at("server.pem")}", key_file: "${at("server.key")}" }`;
    return { caFile: at("ca.pem") };
  }

  /** Three servers that keep what they store together: one may be lost. */
  static async makeCluster(): Promise<[NatsServer, NatsServer, NatsServer]> {
    const servers = [new NatsServer(), new NatsServer(), new NatsServer()] as const;
    const ports = await Promise.all(servers.map(() => findPort()));
    const routes = ports.map((port) => `"nats://127.0.0.1:${port}"`).join(", ");
    for (const [index, server] of servers.entries()) {
      const listen = `listen: "127.0.0.1:${ports[index]}"`;
      server.#cluster = `server_name: "s${index}"\ncluster { name: "orca", ${listen}, routes: [${routes}] }`;
    }
    return [...servers];
  }

  /** As agent.toml would say it. */
  settings(parts: Partial<NatsSettings> = {}): NatsSettings {
    const scheme = this.#tls === "" ? "nats" : "tls";
    return {
      servers: [`${scheme}://127.0.0.1:${this.port}`],
      replicas: 1,
      credsFile: undefined,
      nkeyFile: undefined,
      caFile: undefined,
      certFile: undefined,
      keyFile: undefined,
      ...parts,
    };
  }

  /** Begins, on the same port as before. */
  async start(): Promise<void> {
    if (this.port === 0) this.port = await findPort();
    const users = this.#users.length === 0 ? "" : `authorization { users: [${this.#users.join(", ")}] }`;
    const file = join(this.root, "server.conf");
    const store = join(this.root, "store");
    writeFileSync(
      file,
      `listen: "127.0.0.1:${this.port}"\njetstream { store_dir: "${store}" }\nping_interval: "10s"\n${users}\n${this.#tls}\n${this.#cluster}\n`,
    );
    chmodSync(file, 0o600);
    this.#process = spawn("nats-server", ["-c", file]);
    this.#process.stderr?.on("data", (chunk: Buffer) => (this.output += chunk.toString()));
    for (let waitedMs = 0; !/Server is ready/.test(this.output); waitedMs += 20) {
      if (waitedMs > 10_000) throw new Error(`the server did not start: ${this.output}`);
      await sleep(20);
    }
  }

  /** kill -9. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    this.output = "";
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  /** It stands still and holds every connection open, or goes on. */
  freeze(isFrozen: boolean): void {
    this.#process?.kill(isFrozen ? "SIGSTOP" : "SIGCONT");
  }

  /** Forgets everything it had stored. */
  wipe(): void {
    rmSync(join(this.root, "store"), { recursive: true, force: true });
  }

  async dispose(): Promise<void> {
    await this.kill();
    rmSync(this.root, { recursive: true, force: true });
  }
}
