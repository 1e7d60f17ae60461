// A Debian 12 with systemd as its first process, booted as a container of the local engine with an engine of its own inside; no
// network. For the vm lane, which does in it what the page install tells an administrator to do.

import { execFile, spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

import { docker } from "./docker-cli.ts";

const run = promisify(execFile);

/** Made by scripts/build-vm. */
const IMAGE = "orca-test/vm:2";
/** Everything but CAP_SYS_RESOURCE, which machines that are containers themselves do not have to give. */
const CAPABILITIES = (
  "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST " +
  "NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE " +
  "SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND " +
  "AUDIT_READ"
).split(" ");
/** The engine inside needs cgroups that it may write to, and mounts that reach its containers. */
const INIT =
  "for m in /sys /sys/fs/cgroup $(ls -d /sys/fs/cgroup/*); do mount -o remount,bind,rw $m || true; done; " +
  "mount --make-rshared /; exec /sbin/init";

/** What a machine has that is not as all others. */
export interface BootOptions {
  /** Another image of scripts/build-vm. */
  image?: string;
  /** Lines of shell before the first process. */
  before?: string;
  /** Directories of the machine outside, as docker's -v takes them. */
  mounts?: readonly string[];
}

/** How a command ended inside. */
export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** One booted machine. */
export class BootedDebian {
  readonly #name: string;

  private constructor(name: string) {
    this.#name = name;
  }

  /** Boots one; answers when systemd says that it runs. */
  static async boot(
    name: string,
    { image = IMAGE, before = "", mounts = [] }: BootOptions = {},
  ): Promise<BootedDebian> {
    const machine = new BootedDebian(name);
    await machine.remove();
    await docker(
      "run",
      "-d",
      "--name",
      name,
      "--hostname",
      "orca-vm",
      "--network",
      "none",
      "--cgroupns=private",
      ...CAPABILITIES.flatMap((capability) => ["--cap-add", capability]),
      ...["seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined"].flatMap((option) => [
        "--security-opt",
        option,
      ]),
      "--device-cgroup-rule",
      "a *:* rwm",
      "--stop-signal",
      "SIGRTMIN+3",
      "--stop-timeout",
      "60",
      ...["/run:exec,mode=755", "/run/lock", "/tmp:exec,mode=1777"].flatMap((place) => ["--tmpfs", place]),
      "-v",
      `${name}:/var/lib/docker`,
      ...mounts.flatMap((mount) => ["-v", mount]),
      image,
      "/bin/sh",
      "-c",
      `${before}${INIT}`,
    );
    await machine.untilBooted();
    return machine;
  }

  /** Waits until systemd has started everything. */
  untilBooted(): Promise<void> {
    return this.until("systemctl is-system-running && docker info", 300_000);
  }

  /** Runs a line of shell inside, as root; never throws for its exit code. */
  async sh(line: string): Promise<Ended> {
    const words = ["exec", "-w", "/root/orca", this.#name, "sh", "-c", line];
    return run("docker", words, { maxBuffer: 2 ** 26 }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: { code: number; stdout: string; stderr: string }) => error,
    );
  }

  /** Waits until a line of shell ends with 0; what it said last is the error. */
  async until(line: string, withinMs: number): Promise<void> {
    const endMs = performance.now() + withinMs;
    for (;;) {
      const words = ["exec", this.#name, "sh", "-c", line];
      const ended = await run("docker", words).catch((error: { stdout?: string; stderr?: string }) => error);
      if (!(ended instanceof Error)) return;
      if (performance.now() > endMs) throw new Error(`${line}: ${Object.values(ended).join(" ")}`);
      await sleep(500);
    }
  }

  /** Copies files and directories of a directory into /root/orca. */
  async give(directory: string, names: readonly string[], target = "/root/orca"): Promise<void> {
    await docker("exec", this.#name, "mkdir", "-p", target);
    await this.#pipe("tar", ["-C", directory, "-c", ...names], ["tar", "-C", target, "-x"]);
  }

  /** Hands images of the local engine to the one inside. */
  giveImages(...images: string[]): Promise<void> {
    return this.#pipe("docker", ["save", ...images], ["docker", "load", "-q"]);
  }

  /** Turns it off, as a person does, and on again. */
  async reboot(): Promise<void> {
    await docker("restart", "-t", "60", this.#name);
    await this.untilBooted();
  }

  /** Removes it with its volume. */
  async remove(): Promise<void> {
    await docker("rm", "-f", this.#name).catch(() => undefined);
    await docker("volume", "rm", this.#name).catch(() => undefined);
  }

  async #pipe(program: string, words: readonly string[], inside: readonly string[]): Promise<void> {
    const from = spawn(program, words, { stdio: ["ignore", "pipe", "inherit"] });
    const into = spawn("docker", ["exec", "-i", this.#name, ...inside], { stdio: [from.stdout, "ignore", "inherit"] });
    const code = await new Promise((resolve) => into.once("close", resolve));
    if (code !== 0) throw new Error(`${inside.join(" ")} ended with ${String(code)}`);
  }
}
