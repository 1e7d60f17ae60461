// A real object store with conditional puts, versions and object lock: Ceph's RADOS gateway over one monitor and one store in memory, from
// Debian's packages, on loopback and in one directory. Heavy (250 MB, 15 s): for the slow lane.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

import { findPorts, type StoreAccess } from "./swift.ts";

const READY_MS = 180_000;
const LOOK_MS = 250;

/** One gateway with what it needs. */
export class Ceph implements AsyncDisposable {
  readonly #directory: string;
  readonly #daemons: ChildProcess[] = [];
  #port = 0;

  /** @param directory a directory of its own, with a short path since sockets lie in it; it is removed at the end */
  constructor(directory: string) {
    this.#directory = directory;
  }

  get access(): StoreAccess {
    return {
      endpoint: `http://127.0.0.1:${this.#port}`,
      region: "default",
      accessKey: "orcaaccess",
      secretKey: "orcasecretorcasecret",
    };
  }

  async start(): Promise<void> {
    const [port = 0, monitor = 0] = await findPorts(2);
    this.#port = port;
    const id = randomUUID();
    for (const name of ["mon", "osd", "run", "rgw"]) mkdirSync(join(this.#directory, name), { recursive: true });
    writeFileSync(join(this.#directory, "ceph.conf"), this.#describe(id, monitor));
    const keyring = join(this.#directory, "keyring");
    const caps = ["--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"];
    this.#run("ceph-authtool", "-C", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *");
    this.#run("ceph-authtool", keyring, "--gen-key", "-n", "client.admin", ...caps);
    this.#run("ceph-authtool", keyring, "--gen-key", "-n", "client.rgw", ...caps);
    const map = join(this.#directory, "monmap");
    this.#run("monmaptool", "--create", "--fsid", id, "--addv", "a", `[v2:127.0.0.1:${monitor}]`, map);
    this.#run("ceph-mon", ...this.#conf, "--mkfs", "-i", "a", "--monmap", map, "--keyring", keyring);
    this.#spawn("ceph-mon", "-i", "a");
    const osd = randomUUID();
    this.#run("ceph", ...this.#conf, "--connect-timeout", "60", "osd", "new", osd);
    const key = join(this.#directory, "osd", "keyring");
    this.#run("ceph-osd", ...this.#conf, "-i", "0", "--mkfs", "--mkkey", "--no-mon-config", "--osd-uuid", osd);
    this.#run("ceph", ...this.#conf, "auth", "add", "osd.0", "osd", "allow *", "mon", "allow profile osd", "-i", key);
    this.#spawn("ceph-osd", "-i", "0");
    this.#spawn("radosgw", "-n", "client.rgw", "--keyring", keyring);
    const { accessKey, secretKey } = this.access;
    await this.#waitUntilReady();
    const user = ["user", "create", "--uid", "orca", "--display-name", "orca"];
    this.#run("radosgw-admin", ...this.#conf, ...user, "--access-key", accessKey, "--secret-key", secretKey);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const daemon of this.#daemons.splice(0)) {
      const ended = new Promise<void>((resolve) => {
        if (daemon.exitCode !== null || daemon.signalCode !== null) resolve();
        else daemon.once("exit", () => resolve());
      });
      daemon.kill("SIGKILL");
      await ended;
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }

  get #conf(): string[] {
    return ["-c", join(this.#directory, "ceph.conf")];
  }

  #describe(id: string, monitor: number): string {
    const at = (name: string): string => join(this.#directory, name);
    return `[global]
fsid = ${id}
mon host = [v2:127.0.0.1:${monitor}]
mon initial members = a
keyring = ${at("keyring")}
run dir = ${at("run")}
admin socket = ${at("run")}/$name.asok
log file = ${at("run")}/$name.log
pid file =
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon data avail crit = 1
[mon.a]
mon data = ${at("mon")}
[osd]
osd data = ${at("osd")}
keyring = ${at("osd")}/keyring
osd objectstore = memstore
memstore device bytes = 1073741824
[client.rgw]
rgw data = ${at("rgw")}
rgw frontends = beast endpoint=127.0.0.1:${this.#port}
rgw dns name = localhost
`;
  }

  #run(program: string, ...parameters: string[]): void {
    execFileSync(program, parameters, { stdio: ["ignore", "ignore", "pipe"], cwd: this.#directory });
  }

  #spawn(program: string, ...parameters: string[]): void {
    this.#daemons.push(spawn(program, [...this.#conf, ...parameters, "-f"], { stdio: "ignore", cwd: this.#directory }));
  }

  async #waitUntilReady(): Promise<void> {
    const untilMs = Date.now() + READY_MS;
    for (;;) {
      const answer = await fetch(this.access.endpoint).catch(() => undefined);
      await answer?.arrayBuffer();
      if (answer !== undefined && answer.status < 500) return;
      const dead = this.#daemons.find(({ exitCode }) => exitCode !== null);
      if (dead !== undefined) throw new Error(`${dead.spawnfile} ended with ${dead.exitCode}`);
      if (Date.now() > untilMs) throw new Error(`the gateway did not come up within ${READY_MS / 1_000} s`);
      await wait(LOOK_MS);
    }
  }
}
