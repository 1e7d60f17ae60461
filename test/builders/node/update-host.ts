// A host with versions of the agent side by side, for tests of its own update with real processes: the updater and the judge are the real
// program, systemd is played (it restarts the agent, and a judge that is killed), and the agents are small programs that answer as one of
// their kind does. Time passes faster for the judge.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";
import { RELEASE_NAMESPACE } from "../../../agent/update/fetch-package.ts";
import { findDebianArch } from "../../../agent/update/debian-arch.ts";
import { parseRecord, type UpdateOutcome } from "../../../agent/update/core/update-record.ts";
import { listPlaces, readVersionLink, type UpdatePlaces } from "../../../agent/update/places.ts";

/** How a version behaves. */
export type AgentKind = "good" | "exits" | "hangs" | "never-reconciles" | "unseen";

/** How much faster than real time the judge's passes. */
const PACE = 10;

/** The program of a version: it answers as an agent of its kind, and hands the updater and the judge to the real program. */
function writeProgram(version: string, kind: AgentKind): string {
  return `
import { createServer } from "node:http";
import { rmSync } from "node:fs";
const [word, socket] = process.argv.slice(2);
if (word === "--version") console.log("${version} (a test)");
else if (word.startsWith("update-")) { process.argv[1] = ${JSON.stringify(PROGRAM)}; await import(${JSON.stringify(pathToFileURL(PROGRAM).href)}); }
else {
  const kind = ${JSON.stringify(kind)};
  if (kind === "exits") process.exit(1);
  const run = String(process.pid);
  rmSync(socket, { force: true });
  const answer = { version: 1, agent: "${version}", run, reconciled: kind !== "never-reconciles", heardBy: kind === "unseen" ? [] : ["vm-data"] };
  createServer((request, response) => {
    if (kind === "hangs") return;
    response.end(JSON.stringify(answer));
  }).listen(socket);
}
`;
}

/** What a package may be made with. */
export interface PackageChoices {
  version: string;
  kind?: AgentKind;
  /** What its program says that it is. */
  says?: string;
  /** The units in it, by name. */
  units?: Record<string, string>;
  /** Signed with another key than the policy pins. */
  forged?: boolean;
}

const UNITS = { "orca-agent.service": "[Service]\nExecStart=/opt/orca/current/node\n" };

/** One host. */
export class UpdateHost {
  readonly root = mkdtempSync(join(tmpdir(), "orca-update-"));
  readonly places: UpdatePlaces = listPlaces(join(this.root, "opt"));
  readonly run = join(this.root, "run");
  /** Starts of the agent, by the version that was started. */
  readonly starts: string[] = [];
  readonly said: string[] = [];
  #agent: ChildProcess | undefined;
  #judge: ChildProcess | undefined;
  #updater: ChildProcess | undefined;
  #closed = false;
  readonly #timer: NodeJS.Timeout;

  constructor() {
    for (const name of ["opt/versions", "run", "packages", "units", "bin", "keys"])
      mkdirSync(join(this.root, name), { recursive: true });
    this.#install("0.1.0", "good");
    symlinkSync("versions/0.1.0", this.places.current);
    this.#write("units", UNITS);
    for (const name of ["release", "other"])
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", join(this.root, "keys", name)]);
    writeFileSync(
      join(this.root, "policy.toml"),
      `[pinned]\nrelease_key = "${readFileSync(join(this.root, "keys/release.pub"), "utf8").trim()}"\n`,
    );
    this.configure(`dir = "${this.root}/packages"`);
    // What systemctl is asked is written down, and played here.
    writeFileSync(join(this.root, "bin/systemctl"), `#!/bin/sh\necho "$*" >> ${this.root}/asked\n`);
    chmodSync(join(this.root, "bin/systemctl"), 0o755);
    this.startAgent();
    this.#timer = setInterval(() => this.#play(), 20);
  }

  /** Writes agent.toml. @param update what its `[update]` holds */
  configure(update: string): void {
    writeFileSync(
      join(this.root, "agent.toml"),
      `node = "vm1"\nsource = { dir = "${this.root}" }\nupdate = { ${update} }\npolicy = { file = "${this.root}/policy.toml" }\n`,
    );
  }

  #install(version: string, kind: AgentKind): void {
    const directory = join(this.places.versions, version);
    mkdirSync(directory, { recursive: true });
    symlinkSync(process.execPath, join(directory, "node"));
    writeFileSync(join(directory, "orca.mjs"), writeProgram(version, kind));
  }

  #write(directory: string, files: Record<string, string>): void {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(this.root, directory, name)), { recursive: true });
      writeFileSync(join(this.root, directory, name), text);
    }
  }

  /** Makes a package with its signature; answers its sha256. */
  release({ version, kind = "good", says = version, units = UNITS, forged = false }: PackageChoices): string {
    const tree = mkdtempSync(join(this.root, "tree-"));
    const payload = join(tree, "usr/lib/orca/payload");
    mkdirSync(payload, { recursive: true });
    symlinkSync(process.execPath, join(payload, "node"));
    writeFileSync(join(payload, "orca.mjs"), writeProgram(says, kind));
    const place = tree.slice(this.root.length + 1);
    this.#write(join(place, "usr/lib/systemd/system"), units);
    this.#write(join(place, "DEBIAN"), {
      control: `Package: orca\nVersion: ${version}\nArchitecture: ${findDebianArch()}\nMaintainer: t <t@localhost>\nDescription: t\n`,
    });
    const file = this.package(version);
    execFileSync("dpkg-deb", ["--root-owner-group", "-Znone", "--build", tree, file], { stdio: "ignore" });
    const key = join(this.root, "keys", forged ? "other" : "release");
    rmSync(`${file}.sig`, { force: true });
    execFileSync("ssh-keygen", ["-q", "-Y", "sign", "-f", key, "-n", RELEASE_NAMESPACE, file], { stdio: "ignore" });
    return createHash("sha256").update(readFileSync(file)).digest("hex");
  }

  /** Where a version's package lies. */
  package(version: string): string {
    return join(this.root, "packages", `orca_${version}_${findDebianArch()}.deb`);
  }

  /** As the agent does: a request, which starts the updater's unit. */
  ask(version: string, sha256: string): void {
    writeFileSync(join(this.run, "update-request.json"), JSON.stringify({ version, sha256 }));
  }

  get current(): string | undefined {
    return readVersionLink(this.places.current);
  }

  get outcomes(): UpdateOutcome[] {
    return existsSync(this.places.record) ? parseRecord(readFileSync(this.places.record, "utf8")) : [];
  }

  get onTrial(): boolean {
    return existsSync(this.places.trial);
  }

  get judging(): boolean {
    return this.#judge !== undefined;
  }

  startAgent(): void {
    this.#agent?.removeAllListeners("exit");
    this.#agent?.kill("SIGKILL");
    this.starts.push(this.current ?? "");
    const child = spawn(
      join(this.places.current, "node"),
      [join(this.places.current, "orca.mjs"), "agent", join(this.run, "agent.sock")],
      {
        stdio: "ignore",
      },
    );
    this.#agent = child;
    // Restart=always, half a second later.
    child.once("exit", () => {
      setTimeout(() => {
        if (!this.#closed && this.#agent === child) this.startAgent();
      }, 500);
    });
  }

  /** Kills what is at work, as a lack of memory or a bad day does; systemd starts it again. */
  kill(which: "judge" | "updater", signal: NodeJS.Signals = "SIGKILL"): boolean {
    const child = which === "judge" ? this.#judge : this.#updater;
    return child?.kill(signal) ?? false;
  }

  startJudge(): void {
    if (this.#judge !== undefined || !this.onTrial) return;
    const child = this.#start(this.places.judge, "update-judge", []);
    this.#judge = child;
    child.once("exit", (code) => {
      this.#judge = undefined;
      if (code !== 0 && !this.#closed) this.startJudge();
    });
  }

  #startUpdater(): void {
    const words = ["--config", join(this.root, "agent.toml"), "--units", join(this.root, "units")];
    const child = this.#start(this.places.current, "update-run", words);
    this.#updater = child;
    child.once("exit", (code, signal) => {
      this.#updater = undefined;
      // Restart=on-failure.
      if (!this.#closed && (code !== 0 || signal !== null)) this.#startUpdater();
    });
  }

  #start(link: string, command: string, words: readonly string[]): ChildProcess {
    const common = ["--root", this.places.root, "--run", this.run, "--pace", String(PACE)];
    const child = spawn(join(link, "node"), [join(link, "orca.mjs"), command, ...common, ...words], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, PATH: `${join(this.root, "bin")}:${process.env["PATH"]}` },
    });
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (text: Buffer) => this.said.push(text.toString()));
    return child;
  }

  /** systemd: its path unit, and what it was asked. */
  #play(): void {
    if (this.#updater === undefined && existsSync(join(this.run, "update-request.json"))) this.#startUpdater();
    const asked = join(this.root, "asked");
    if (!existsSync(asked)) return;
    const lines = readFileSync(asked, "utf8").split("\n");
    rmSync(asked);
    for (const line of lines) {
      if (line.startsWith("restart")) this.startAgent();
      if (line.startsWith("start")) this.startJudge();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    for (const child of [this.#agent, this.#judge, this.#updater]) {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
    }
    rmSync(this.root, { recursive: true, force: true });
  }
}
