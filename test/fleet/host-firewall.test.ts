// The firewall that `orca firewall` makes from fleet.toml, on a VM with a real engine: who reaches published ports, the host's own and those
// of containers, by both IP versions. And its trying out: through a real sshd, undone by itself unless a new connection confirms it.

import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { buildHostFirewall, HOST_TABLE } from "../../agent/setup/host-firewall.ts";
import { IMAGE } from "../../scripts/lab/engine/real-node.ts";
import { fleetSchema } from "../../shared/fleet/fleet.ts";
import { ROOT } from "../builders/data/readme.ts";
import { docker, WallLab, type WallPeer } from "../builders/fleet/wall-lab.ts";
import { eventually } from "../contract/docker-port.ts";

const EDGE = "10.0.0.10";
const EDGE6 = "fd00:10::10";
const PORTS = { ssh: 22, gossip: 7946, database: 5432, proxy: 443, page: 80, metrics: 9100 } as const;
const FLEET = fleetSchema.parse({
  nodes: {
    "vm-edge": { address: EDGE, env: "prod", memory: "8GiB" },
    "vm-data": { address: "10.0.0.30", env: "prod", memory: "8GiB" },
    stage: { address: "10.0.1.10", env: "stage", memory: "8GiB" },
  },
  host: {
    networks: { office: ["10.0.7.0/24", "fd00:10:0:7::/64"], cdn: ["10.0.8.0/24", "fd00:10:0:8::/64"] },
    ssh: ["office"],
    open: [
      { port: PORTS.proxy, from: ["cdn"], nodes: ["vm-edge"] },
      { port: PORTS.page, from: ["any"] },
      { port: PORTS.metrics, from: ["office"], nodes: ["vm-data"] },
    ],
  },
});

let lab: WallLab;
let edge: WallPeer;
let peers: Record<"data" | "stage" | "office" | "cdn" | "stranger", WallPeer>;
let inside: WallPeer;
let containerAddress = "";

beforeAll(async () => {
  lab = new WallLab();
  const made = await lab.addEngine([], `${EDGE}/16`, `${EDGE6}/32`);
  const engine = made[1];
  edge = made[0];
  peers = {
    data: lab.addHost("10.0.0.30/16", "fd00:10::30/32"),
    stage: lab.addHost("10.0.1.10/16"),
    office: lab.addHost("10.0.7.7/16", "fd00:10:0:7::7/32"),
    cdn: lab.addHost("10.0.8.8/16", "fd00:10:0:8::8/32"),
    stranger: lab.addHost("10.0.9.9/16", "fd00:10:0:9::9/32"),
  };
  for (const [port, name] of [
    [PORTS.database, "database"],
    [PORTS.proxy, "proxy"],
    [PORTS.page, "page"],
  ] as const)
    docker(engine, "run", "-d", "--name", name, "-p", `${port}:8443`, IMAGE, "nc", "-ll", "-p", "8443", "-e", "cat");
  inside = await lab.enter(engine, "proxy");
  containerAddress = docker(engine, "inspect", "-f", "{{.NetworkSettings.IPAddress}}", "database");
  await edge.listen(PORTS.ssh, PORTS.gossip, PORTS.metrics);
  await peers.stranger.listen(9000);
  // A neighbour on the wire that knows where containers are.
  peers.stranger.run("ip", "route", "add", `${containerAddress}/32`, "via", EDGE);
});

afterAll(async () => lab.destroy());

const load = (text: string | undefined): void =>
  edge.load(text ?? `table inet ${HOST_TABLE}\ndelete table inet ${HOST_TABLE}\n`);

function readFile(): string {
  const made = buildHostFirewall(FLEET, "vm-edge");
  if (typeof made !== "string") throw new Error(made.what);
  return made;
}

afterEach(() => load(undefined));

/** Which of the VM's ports each caller reaches. */
async function tryAll(address: string, callers: readonly (keyof typeof peers)[]): Promise<Record<string, string[]>> {
  const answers = await Promise.all(
    callers.map(async (caller) => {
      const tries = Object.entries(PORTS).map(async ([name, port]) => {
        const answer = await peers[caller].connect(address, port);
        return answer === "open" ? [name] : [];
      });
      return [caller, (await Promise.all(tries)).flat()] as const;
    }),
  );
  return Object.fromEntries(answers);
}

const EVERYBODY = ["data", "stage", "office", "cdn", "stranger"] as const;
/** Docker 20.10 publishes by IPv6 through its proxy alone: the same ports, and the same rules. */
const WITH6 = ["data", "office", "cdn", "stranger"] as const;

describe("who reaches what", () => {
  test("without it, everybody reaches everything: so the probes can fail", async () => {
    const all = Object.keys(PORTS);
    expect(await tryAll(EDGE, EVERYBODY)).toEqual(Object.fromEntries(EVERYBODY.map((caller) => [caller, all])));
    expect(await tryAll(EDGE6, WITH6)).toEqual(Object.fromEntries(WITH6.map((caller) => [caller, all])));
    expect(await peers.stranger.connect(containerAddress, 8443)).toBe("open");
  });

  test("with it, the realm everything but SSH, a network what is open for it, a stranger what is for any", async () => {
    load(readFile());
    expect(await tryAll(EDGE, EVERYBODY)).toEqual({
      data: ["gossip", "database", "proxy", "page", "metrics"],
      stage: ["page"],
      office: ["ssh", "page"],
      cdn: ["proxy", "page"],
      stranger: ["page"],
    });
    // vm-data has no IPv6 address in fleet.toml, so by that it is a stranger.
    expect(await tryAll(EDGE6, WITH6)).toEqual({
      data: ["page"],
      office: ["ssh", "page"],
      cdn: ["proxy", "page"],
      stranger: ["page"],
    });
  });

  test("a neighbour that routes to a container's own address does not reach it", async () => {
    load(readFile());
    expect(await peers.stranger.connect(containerAddress, 8443)).not.toBe("open");
    // It pretends to be a container, through the wire.
    peers.stranger.run("ip", "addr", "add", "172.17.0.99/32", "dev", "lan0");
    expect(await peers.stranger.connect(containerAddress, 8443, { from: "172.17.0.99" })).not.toBe("open");
  });

  test("containers and the host call out, and each other, as before", async () => {
    load(readFile());
    expect(await inside.connect("10.0.9.9", 9000)).toBe("open");
    expect(await inside.connect(EDGE, PORTS.gossip)).toBe("open");
    expect(await inside.connect(EDGE, PORTS.database)).toBe("open");
    expect(await edge.connect("10.0.9.9", 9000)).toBe("open");
    expect(await edge.connect("127.0.0.1", PORTS.metrics)).toBe("open");
  });

  test("what is connected stays so, and loading it again leaves no gap and one table", async () => {
    expect(await peers.stranger.connect(EDGE, PORTS.database, { keep: "old" })).toBe("open");
    load(readFile());
    load(readFile());
    expect(await peers.stranger.ask({ do: "say", kept: "old" })).toBe("open");
    expect(await peers.stranger.connect(EDGE, PORTS.database)).not.toBe("open");
    expect(edge.run("nft", "list", "tables").match(/orca_host/g)).toHaveLength(1);
  });
});

describe("trying it out", () => {
  const directory = mkdtempSync(join(tmpdir(), "orca-firewall-"));
  const path = (name: string): string => join(directory, name);
  let server: ChildProcess;
  let log = "";

  beforeAll(async () => {
    for (const name of ["host", "admin"])
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path(name)]);
    const program = process.env["ORCA_PROGRAM"] ?? join(ROOT, "agent/main.ts");
    writeFileSync(path("orca"), `#!/bin/sh\nexec ${process.execPath} ${program} "$@"\n`);
    chmodSync(path("orca"), 0o755);
    const key = readFileSync(path("admin.pub"), "utf8");
    const words = `environment="PATH=${directory}:/usr/sbin:/usr/bin:/sbin:/bin"`;
    writeFileSync(path("authorized_keys"), `${words} ${key}`, { mode: 0o600 });
    const config = [
      "Port 2222",
      `HostKey ${path("host")}`,
      `AuthorizedKeysFile ${path("authorized_keys")}`,
      "PermitRootLogin prohibit-password",
      "PermitUserEnvironment yes",
      "StrictModes no",
      "UsePAM no",
      "PidFile none",
    ];
    writeFileSync(path("sshd_config"), `${config.join("\n")}\n`);
    // /etc and /run of its own: nothing of this machine's is written, and no systemd of it is asked.
    const own = `mount -t tmpfs tmpfs /run && mkdir -p /run/sshd /run/u /run/w && mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/u,workdir=/run/w /etc && mkdir -p /etc/orca && exec /usr/sbin/sshd -D -e -f ${path("sshd_config")}`;
    server = spawn("nsenter", [`--net=${edge.namespace}`, "unshare", "--mount", "sh", "-c", own]);
    server.stderr?.on("data", (piece: Buffer) => (log += piece.toString()));
    await eventually(() => Promise.resolve(log.includes("Server listening on 0.0.0.0")), 30_000);
    const fleet = structuredClone(FLEET);
    const made = buildHostFirewall(fleet, "vm-edge", 2222);
    if (typeof made !== "string") throw new Error(made.what);
    writeFileSync(path("good.nft"), made);
    // A mistake: the office is elsewhere, so nobody can log in.
    writeFileSync(path("bad.nft"), made.replaceAll("10.0.7.0/24", "10.0.77.0/24"));
    writeFileSync(path("flush.nft"), `flush ruleset\n${made}`);
    writeFileSync(path("other.nft"), `${made}\ntable inet orca_isolation { chain x { } }\n`);
    writeFileSync(path("broken.nft"), made.replace("policy drop", "policy dorp"));
  });

  afterAll(() => {
    server.kill();
    rmSync(directory, { recursive: true });
  });

  /** One new connection from the office. */
  function ssh(command: string): Promise<{ code: number; said: string }> {
    const options = ["StrictHostKeyChecking=no", `UserKnownHostsFile=/dev/null`, "ConnectTimeout=3", "LogLevel=ERROR"];
    const words = [...options.flatMap((option) => ["-o", option]), "-i", path("admin"), "-p", "2222", `root@${EDGE}`];
    return new Promise((resolve) => {
      execFile("nsenter", [`--net=${peers.office.namespace}`, "ssh", ...words, command], (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), said: `${stdout}${stderr}` }),
      );
    });
  }

  const isLoaded = (): boolean => edge.run("nft", "list", "tables").includes(HOST_TABLE);

  test("one that locks everybody out is undone by itself", async () => {
    const { code, said } = await ssh(`orca firewall apply ${path("bad.nft")} --within 5s`);
    expect([code, said]).toEqual([0, expect.stringMatching(/loaded for 5s\. Log in anew/)]);
    expect(isLoaded()).toBe(true);
    expect((await ssh("true")).code).toBe(255);
    await eventually(() => Promise.resolve(!isLoaded()), 60_000);
    expect((await ssh("true")).code).toBe(0);
    const late = await ssh("orca firewall confirm");
    expect([late.code, late.said]).toEqual([1, expect.stringMatching(/no firewall waits to be confirmed/)]);
  });

  test("an old connection confirms nothing, a new one does; the one of before comes back after the next", async () => {
    const old = await ssh(`orca firewall apply ${path("good.nft")} --within 1m; orca firewall confirm`);
    expect([old.code, old.said]).toEqual([1, expect.stringMatching(/older than the firewall[^]*log in anew/)]);
    const again = await ssh(`orca firewall apply ${path("good.nft")}`);
    expect([again.code, again.said]).toEqual([1, expect.stringMatching(/another firewall waits/)]);
    const { code, said } = await ssh("orca firewall confirm && cat /etc/orca/host-firewall.nft");
    expect([code, said]).toEqual([0, expect.stringContaining("what may come in")]);
    expect(said).toContain("confirmed: /etc/orca/host-firewall.nft");
    // Confirmed is confirmed: nothing is undone later, and a bad one after it goes back to this one.
    await ssh(`orca firewall apply ${path("bad.nft")} --within 5s`);
    expect((await ssh("true")).code).toBe(255);
    await eventually(async () => (await ssh("true")).code === 0, 60_000);
    expect(isLoaded()).toBe(true);
    expect(await peers.stranger.connect(EDGE, PORTS.database)).not.toBe("open");
    expect((await ssh("orca firewall undo")).said).toContain("no firewall waits");
    await sleep(100);
  });

  test.each([
    ["flush.nft", /may name the table inet orca_host alone/],
    ["other.nft", /may name the table inet orca_host alone/],
    ["broken.nft", /judge the firewall: nft says: .*dorp|syntax error|judge the firewall/],
    ["none.nft", /read .*none\.nft/],
  ])("%s is refused before anything is loaded", async (name, words) => {
    const { code, said } = await ssh(`orca firewall apply ${path(name)}`);
    expect([code, said]).toEqual([1, expect.stringMatching(words)]);
    expect(isLoaded()).toBe(false);
  });
});
