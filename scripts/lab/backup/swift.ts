// A real object store for tests and benchmarks: OpenStack Swift with its S3 door, from Debian's packages, on loopback and in one directory.
// Strict about chunks and digests, without conditional puts and without object lock: what a plain store gives.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

/** How the store is reached. */
export interface StoreAccess {
  endpoint: string;
  region: string;
  accessKey: string;
  secretKey: string;
}

const KEY = "s3cr3tkey";
const READY_MS = 120_000;
const LOOK_MS = 100;

/** One device, one copy. */
const RINGS = `
import sys
from swift.common.ring import RingBuilder
for kind, port in zip(("account", "container", "object"), sys.argv[2:]):
    ring = RingBuilder(4, 1, 1)
    ring.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1", "weight": 1.0})
    ring.rebalance(seed=1)
    ring.get_ring().save("%s/%s.ring.gz" % (sys.argv[1], kind))
`;

/** One Swift: four daemons, started together and ended together. */
export class Swift implements AsyncDisposable {
  readonly #directory: string;
  readonly #daemons: ChildProcess[] = [];
  #port = 0;

  /** @param directory a directory of its own, which it removes at its end */
  constructor(directory: string) {
    this.#directory = directory;
  }

  get access(): StoreAccess {
    return {
      endpoint: `http://127.0.0.1:${this.#port}`,
      region: "us-east-1",
      accessKey: "orca:backup",
      secretKey: KEY,
    };
  }

  /** Starts it; a start again, after `stop`, finds everything as it was. */
  async start(): Promise<void> {
    if (this.#port === 0) await this.#prepare();
    for (const kind of ["account", "container", "object", "proxy"]) this.#spawn(kind);
    await this.#waitUntilReady();
  }

  /** Ends the daemons: whoever is in the middle of something is cut off. */
  async stop(): Promise<void> {
    const daemons = this.#daemons.splice(0);
    const ends = daemons.map(
      (daemon) =>
        new Promise<void>((resolve) => {
          if (daemon.exitCode !== null || daemon.signalCode !== null) resolve();
          else daemon.once("exit", () => resolve());
        }),
    );
    for (const daemon of daemons) daemon.kill("SIGKILL");
    await Promise.all(ends);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #prepare(): Promise<void> {
    mkdirSync(join(this.#directory, "devices", "d1"), { recursive: true });
    const [proxy = 0, account = 0, container = 0, object = 0] = await findPorts(4);
    this.#port = proxy;
    const write = (name: string, text: string): void => writeFileSync(join(this.#directory, name), text);
    write("swift.conf", "[swift-hash]\nswift_hash_path_suffix = orca\nswift_hash_path_prefix = lab\n");
    for (const [kind, port] of Object.entries({ account, container, object })) {
      write(`${kind}.conf`, this.#describeServer(kind, port));
    }
    // One program for three rings: each `swift-ring-builder` takes most of a second to load.
    // Debian's own, which its packages are made for: another one may come first on the PATH.
    execFileSync("/usr/bin/python3", [
      "-c",
      RINGS,
      this.#directory,
      String(account),
      String(container),
      String(object),
    ]);
    write("proxy.conf", this.#describeProxy());
  }

  #describeCommon(port: number): string {
    return `[DEFAULT]
bind_ip = 127.0.0.1
bind_port = ${port}
workers = 0
user = ${execFileSync("id", ["-un"], { encoding: "utf8" }).trim()}
swift_dir = ${this.#directory}
devices = ${join(this.#directory, "devices")}
mount_check = false
disable_fallocate = true
log_level = ERROR
log_address = ${join(this.#directory, "nowhere")}
`;
  }

  #describeServer(kind: string, port: number): string {
    return `${this.#describeCommon(port)}
[pipeline:main]
pipeline = ${kind}-server
[app:${kind}-server]
use = egg:swift#${kind}
`;
  }

  #describeProxy(): string {
    const filters = ["catch_errors", "gatekeeper", "cache", "listing_formats", "bulk", "tempurl", "s3api", "tempauth"];
    const late = ["copy", "slo", "dlo", "versioned_writes", "symlink"];
    const settings: Readonly<Record<string, string>> = {
      tempauth: `user_orca_backup = ${KEY} .admin\nuser_orca_reader = ${KEY}`,
      slo: "min_segment_size = 1",
      s3api: "s3_acl = false",
      versioned_writes: "allow_object_versioning = true",
      cache: "memcache_servers = 127.0.0.1:1",
    };
    const names: Readonly<Record<string, string>> = { cache: "memcache" };
    const tables = [...filters, ...late].map(
      (name) => `[filter:${name}]\nuse = egg:swift#${names[name] ?? name}\n${settings[name] ?? ""}\n`,
    );
    return `${this.#describeCommon(this.#port)}
[pipeline:main]
pipeline = ${[...filters, ...late].join(" ")} proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
${tables.join("")}`;
  }

  #spawn(kind: string): void {
    const daemon = spawn(`swift-${kind}-server`, [join(this.#directory, `${kind}.conf`)], { stdio: "ignore" });
    this.#daemons.push(daemon);
  }

  async #waitUntilReady(): Promise<void> {
    const untilMs = Date.now() + READY_MS;
    for (;;) {
      const answer = await fetch(this.access.endpoint).catch(() => undefined);
      await answer?.arrayBuffer();
      if (answer !== undefined && answer.status < 500) return;
      const dead = this.#daemons.find(({ exitCode }) => exitCode !== null);
      if (dead !== undefined) throw new Error(`${dead.spawnfile} ended with ${dead.exitCode}`);
      if (Date.now() > untilMs) throw new Error(`Swift did not come up within ${READY_MS / 1_000} s`);
      await wait(LOOK_MS);
    }
  }
}

/** Ports that nobody has now. */
export async function findPorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.once("error", reject);
          server.listen(0, "127.0.0.1", () => {
            const address = server.address();
            resolve(typeof address === "object" && address !== null ? address.port : 0);
          });
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))));
  return ports;
}
