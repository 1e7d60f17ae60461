// The firewall files of host-config/ on real parts: nft in namespaces, engines that publish ports, containers that call. Each way in
// is tried without them too, and by a VM of production: it is open there, so what is refused is refused by the rules.

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { IMAGE } from "../../scripts/lab/engine/real-node.ts";
import { holdAlone } from "../builders/engine/free-port.ts";
import { docker, readFirewall } from "../builders/fleet/wall-lab.ts";
import {
  buildWallScene,
  CONTROL,
  EDGE,
  EDGE6,
  GOSSIP,
  listAllowed,
  listForbidden,
  listHostOnly,
  listNamed,
  METADATA,
  PORTS,
  PUBLIC,
  readProduction,
  STAGE,
  wall,
  type WallProbe,
  type Walls,
  type WallScene,
} from "../builders/fleet/wall-scene.ts";

/** What a caller is told where its own VM's firewall refuses. */
const REFUSED = /: (EHOSTUNREACH|EACCES|EPERM)$/;
type Side = "stage" | "production";
let scene: WallScene;

beforeAll(async () => {
  scene = await buildWallScene();
});

afterAll(async () => scene.lab.destroy());

afterEach(() => wall(scene, "none"));

const readSide = (side: Side): string => (side === "stage" ? readFirewall("stage") : readProduction());

/** Every caller's answer to every probe, as `what by whom: answer`. */
function tryAll(probes: readonly WallProbe[]): Promise<string[]> {
  const tries = probes.flatMap(({ what, callers, try: probe }) =>
    callers.map(async (caller) => `${what} by ${caller}: ${await probe(scene[caller])}`),
  );
  return Promise.all(tries);
}

const opened = (answers: readonly string[]): string[] => answers.filter((answer) => answer.endsWith(": open"));
const closed = (answers: readonly string[]): string[] => answers.filter((answer) => !answer.endsWith(": open"));

describe("what stage can reach", () => {
  test("without firewalls: everything, so the probes can fail", async () => {
    expect(closed(await tryAll([...listForbidden(scene), ...listAllowed()]))).toEqual([]);
  });

  test.each<Walls>(["stage", "production", "both"])("with %s: auth and mail at the proxy, no more", async (walls) => {
    wall(scene, walls);
    const answers = await tryAll(listForbidden(scene));
    expect(opened(answers)).toEqual([]);
    // Who is refused by its own VM is told so; production says nothing to strangers.
    const fromHost = answers.filter((answer) => answer.includes(" by stage: "));
    if (walls !== "production")
      expect(fromHost.filter((answer) => !REFUSED.test(answer) && !answer.includes("link-local"))).toEqual([]);
    expect(closed(await tryAll(listAllowed()))).toEqual([]);
  });

  test("what the VM itself needs, Git and secrets, its containers do not reach; only its own firewall can tell them", async () => {
    const byHost = (): Promise<string[]> => tryAll(listHostOnly().map((probe) => ({ ...probe, callers: ["stage"] })));
    for (const walls of ["stage", "both"] as const) {
      wall(scene, walls);
      expect(closed(await byHost())).toEqual([]);
      expect(opened(await tryAll(listHostOnly()))).toEqual([]);
    }
    wall(scene, "production");
    expect(closed([...(await byHost()), ...(await tryAll(listHostOnly()))])).toEqual([]);
  });

  test("the VM's own calls of the proxy come to its second door, those of containers to the first", async () => {
    const seen = (): number =>
      scene.edge
        .run("iptables-save", "-c", "-t", "nat")
        .split("\n")
        .filter((line) => line.includes(`--dport ${PORTS.git} `))
        .reduce((sum, line) => sum + Number(/^\[(\d+):/.exec(line)?.[1] ?? 0), 0);
    wall(scene, "both");
    for (const host of [EDGE, PUBLIC]) {
      const before = seen();
      expect(await scene.container.connect(host, PORTS.auth)).toBe("open");
      expect(seen()).toBe(before);
      expect(await scene.stage.connect(host, PORTS.auth)).toBe("open");
      expect(seen()).toBe(before + 1);
    }
  });

  test("a route of stage's own to production's containers leads nowhere", async () => {
    // The edge would be the gateway to what its engine runs, past every published port.
    const address = docker(scene.edgeEngine, "inspect", "-f", "{{.NetworkSettings.IPAddress}}", "services");
    scene.plain.run("ip", "route", "replace", `${address}/32`, "via", EDGE);
    expect(await scene.plain.connect(address, 8000)).toBe("open");
    wall(scene, "production");
    expect(await scene.plain.connect(address, 8000)).toBe("silent");
  });

  test("by the proxy's public address the doors alone, and then from stage's private one", async () => {
    expect(closed(await tryAll(listNamed()))).toEqual([]);
    wall(scene, "production");
    expect(opened(await tryAll(listNamed()))).toEqual([]);
    // Production goes on refusing stage's public address: who gets through has come by the private one.
    for (const walls of ["stage", "both"] as const) {
      wall(scene, walls);
      expect(closed(await tryAll(listNamed()))).toEqual([]);
    }
  });

  test("production reaches itself and stage as before, with both", async () => {
    await scene.stage.listen(8080);
    docker(
      scene.stageEngine,
      "run",
      "-d",
      "--name",
      "web",
      "-p",
      "8081:8000",
      IMAGE,
      "nc",
      "-ll",
      "-p",
      "8000",
      "-e",
      "cat",
    );
    wall(scene, "both");
    const own = listForbidden(scene).map(async ({ what, try: probe }) => `${what}: ${await probe(scene.control)}`);
    // Who stands behind a link-local address cannot be told: no service uses one.
    expect(closed(await Promise.all(own)).filter((answer) => !answer.includes("link-local"))).toEqual([]);
    for (const port of [8080, 8081]) expect(await scene.control.connect(STAGE, port)).toBe("open");
    expect(await scene.control.connect("fd00:10:0:1::10", 8080)).toBe("open");
  });
});

let pushes = 0;

/** A connection that the kernel has not followed, in which the server speaks first after the load: as if production had begun it. */
async function pushAcross(side: Side, text: string): Promise<string> {
  const { plain, control } = scene;
  pushes += 1;
  const keep = `pushed-${pushes}`;
  expect(await plain.connect(CONTROL, PORTS.database, { keep })).toBe("open");
  expect(await plain.ask({ do: "say", kept: keep })).toBe("open");
  const before = await plain.ask({ do: "received", kept: keep });
  (side === "stage" ? plain : control).load(text);
  await control.ask({ do: "push", port: PORTS.database });
  const said = await plain.ask({ do: "say", kept: keep });
  const isSame = (await plain.ask({ do: "received", kept: keep })) === before;
  return said === "open" ? "open" : isSame ? "closed" : "half open";
}

describe("a connection from before", () => {
  test.each<Walls>(["stage", "production"])(
    "ends with %s where it is forbidden; one to a door goes on",
    async (walls) => {
      const ways = { database: PORTS.database, auth: PORTS.auth };
      for (const caller of ["stage", "container"] as const) {
        for (const [name, port] of Object.entries(ways)) {
          const keep = `${name}-${walls}`;
          expect(await scene[caller].connect(EDGE, port, { keep })).toBe("open");
          expect(await scene[caller].ask({ do: "say", kept: keep })).toBe("open");
        }
      }
      wall(scene, walls);
      for (const caller of ["stage", "container"] as const) {
        expect([caller, await scene[caller].ask({ do: "say", kept: `auth-${walls}` })]).toEqual([caller, "open"]);
        expect([caller, await scene[caller].ask({ do: "say", kept: `database-${walls}` })]).not.toEqual([
          caller,
          "open",
        ]);
      }
    },
  );

  test.each<Side>(["stage", "production"])(
    "ends with %s also where the kernel did not follow it, and the server speaks first",
    async (side) => expect(await pushAcross(side, readSide(side))).toBe("closed"),
  );
});

describe("the tables", () => {
  const rules = (peer: WallScene["edge"]): string =>
    ["iptables-save", "ip6tables-save"].map((save) => peer.run(save).replaceAll(/^[#:].*$/gm, "")).join("\n");

  test("touch nothing of Docker's, and hold through a restart of it", async () => {
    const { edge, edgeEngine, stage } = scene;
    const before = rules(edge);
    expect(before).toContain("DNAT");
    wall(scene, "both");
    wall(scene, "both");
    expect(rules(edge)).toBe(before);
    await edgeEngine.end("SIGTERM");
    await edgeEngine.start();
    docker(edgeEngine, "start", "services", "host-network");
    expect(await scene.control.connect(EDGE, PORTS.database)).toBe("open");
    for (const walls of ["both", "production"] as const) {
      if (walls === "production") stage.load(undefined);
      expect(opened(await tryAll(listForbidden(scene)))).toEqual([]);
      expect(await scene.container.connect(EDGE, PORTS.auth)).toBe("open");
    }
  });

  test.each<Walls>(["stage", "production"])("leave no gap while %s is loaded again and again", async (walls) => {
    const flood = (): Promise<string> => scene.stage.ask({ do: "flood", host: EDGE, port: GOSSIP, forMs: 3_000 });
    expect(await flood()).not.toContain(" 0 came back");
    wall(scene, walls);
    const flooding = flood();
    const doors: string[] = [];
    for (let load = 0; load < 30; load += 1) {
      wall(scene, walls);
      doors.push(`: ${await scene.container.connect(EDGE, PORTS.auth)}`);
    }
    expect(await flooding).toMatch(/^\d{3,} sent, 0 came back$/);
    expect(closed(doors)).toEqual([]);
  });

  test("a file with a mistake in it changes nothing", () => {
    wall(scene, "both");
    const { stage } = scene;
    const before = stage.run("nft", "list", "table", "inet", "orca_isolation");
    expect(() => stage.load(readFirewall("stage").replace("10.0.0.10 . 443", "10.0.0.10.443"))).toThrow(/Error/);
    expect(stage.run("nft", "list", "table", "inet", "orca_isolation")).toBe(before);
  });
});

describe("addresses that are not one's own", () => {
  test("a container of stage cannot speak as a VM of production, nor the host as another machine", async () => {
    const { container, stage } = scene;
    container.run("ip", "addr", "add", `${CONTROL}/32`, "dev", "eth0");
    stage.run("sysctl", "-qw", "net.ipv4.ip_nonlocal_bind=1");
    wall(scene, "stage");
    for (const port of [PORTS.database, PORTS.auth])
      expect(await container.connect(EDGE, port, { from: CONTROL })).toBe("silent");
    await stage.datagram(EDGE, GOSSIP, { from: CONTROL });
    await stage.datagram(EDGE, PORTS.auth, { from: "10.0.1.99" });
    expect(stage.count("refused_source")).toBeGreaterThanOrEqual(4);
  });

  test("what root of a stage VM takes on the wire, production cannot tell: without stage's own file that is open", async () => {
    const { stage } = scene;
    stage.run("ip", "addr", "add", "10.0.0.99/16", "dev", "lan0");
    wall(scene, "production");
    expect(await stage.connect(EDGE, PORTS.database, { from: "10.0.0.99" })).toBe("open");
    wall(scene, "both");
    expect(await stage.connect(EDGE, PORTS.database, { from: "10.0.0.99" })).toBe("EHOSTUNREACH");
  });
});

test.each<Side>(["stage", "production"])(
  "containers of %s do not reach the cloud's metadata, but the resolver beside it; the host does",
  async (side) => {
    const { stage, edge, lab, edgeEngine } = scene;
    const host = side === "stage" ? stage : edge;
    const container = side === "stage" ? scene.container : await lab.enter(edgeEngine, "services");
    expect(await container.connect(METADATA, 80)).toBe("open");
    wall(scene, side);
    expect(await container.connect(METADATA, 80)).toBe("EHOSTUNREACH");
    expect(await container.connect(METADATA, 53)).toBe("open");
    expect(await host.connect(METADATA, 80)).toBe("open");
    expect(host.count("refused_metadata")).toBeGreaterThan(0);
  },
);

test("what is refused is counted, and a few lines of it are in the kernel's log", async () => {
  const { stage } = scene;
  // There is one kernel's log.
  await holdAlone("kernel-log");
  // Namespaces but the first are silent unless this says otherwise.
  const sysctl = "/proc/sys/net/netfilter/nf_log_all_netns";
  const before = readFileSync(sysctl, "utf8");
  writeFileSync(sysctl, "1");
  try {
    wall(scene, "stage");
    const lines = (): number => execFileSync("dmesg", { encoding: "utf8" }).split(`DST=${EDGE} `).length;
    const from = lines();
    await stage.ask({ do: "flood", host: EDGE, port: GOSSIP, forMs: 500 });
    expect(stage.count("refused")).toBeGreaterThan(100);
    // Ten at once, then six a minute.
    expect(lines() - from).toBeGreaterThanOrEqual(5);
    expect(lines() - from).toBeLessThanOrEqual(12);
    expect(execFileSync("dmesg", { encoding: "utf8" })).toMatch(
      new RegExp(`orca-isolation refused: IN= OUT=lan0 SRC=${STAGE} DST=${EDGE} .*PROTO=UDP .*DPT=${GOSSIP}`),
    );
  } finally {
    writeFileSync(sysctl, before);
  }
});

describe("each rule is needed: without it", () => {
  const database =
    (caller: "stage" | "container" | "container6", host = EDGE) =>
    (): Promise<string> =>
      scene[caller].connect(host, PORTS.database);
  const linkLocal = (what: string) => (): Promise<string> =>
    listForbidden(scene)
      .find((probe) => probe.what === what)
      ?.try(scene.stage) ?? Promise.resolve("none");
  const inContainers = String.raw`(from_containers \{[^}]*?)`;
  const rows: { what: string; side: Side; cut: RegExp; by?: string; probe: () => Promise<string> }[] = [
    { what: "a host calls", side: "stage", cut: /ip daddr \$production jump to_others/, probe: database("stage") },
    {
      what: "a host calls by IPv6",
      side: "stage",
      cut: /ip6 daddr \$production6 jump to_others/,
      probe: database("stage", EDGE6),
    },
    {
      what: "a container calls",
      side: "stage",
      by: "$1",
      cut: new RegExp(`${inContainers}ip daddr \\$production jump to_others`),
      probe: database("container"),
    },
    {
      what: "a container calls by IPv6",
      side: "stage",
      by: "$1",
      cut: new RegExp(`${inContainers}ip6 daddr \\$production6 jump to_others`),
      probe: database("container6", EDGE6),
    },
    {
      what: "link-local addresses are called",
      side: "stage",
      cut: /ip6 daddr fe80.*tcp jump to_others/,
      probe: linkLocal("gossip by its link-local address"),
    },
    {
      what: "they are called by UDP",
      side: "stage",
      cut: /ip6 daddr fe80.*udp.*/,
      probe: linkLocal("gossip by UDP and its link-local address"),
    },
    {
      what: "containers read the metadata",
      side: "stage",
      cut: /ip daddr \$metadata .*/,
      probe: () => scene.container.connect(METADATA, 80),
    },
    {
      what: "public addresses are called",
      side: "stage",
      cut: /ip daddr \$production_public jump to_others/,
      probe: () => scene.stage.connect(PUBLIC, PORTS.database),
    },
    {
      what: "a published port is called",
      side: "production",
      cut: /ip saddr \$stage jump from_others/,
      probe: database("stage"),
    },
    {
      what: "one is called by IPv6",
      side: "production",
      cut: /ip6 saddr \$stage6 jump from_others/,
      probe: database("stage", EDGE6),
    },
    {
      what: "public addresses call",
      side: "production",
      cut: /ip saddr \$stage_public .*/,
      probe: () => scene.stage.connect(PUBLIC, PORTS.database),
    },
    {
      what: "link-local addresses call",
      side: "production",
      cut: /ip6 saddr fe80.*tcp.*/,
      probe: linkLocal("gossip by its link-local address"),
    },
    {
      what: "they call by UDP",
      side: "production",
      cut: /ip6 saddr fe80.*udp.*/,
      probe: linkLocal("gossip by UDP and its link-local address"),
    },
    // As most firewalls are written: what Docker publishes never comes to the input.
    {
      what: "the hook is the input's",
      side: "production",
      cut: /hook prerouting priority mangle/,
      by: "hook input priority filter",
      probe: database("stage"),
    },
  ];

  test.each(rows)("$what ($side)", async ({ side, cut, by = "", probe }) => {
    const text = readSide(side);
    expect(text).toMatch(cut);
    const host = side === "stage" ? scene.stage : scene.edge;
    host.load(text);
    expect(await probe()).not.toBe("open");
    host.load(text.replace(cut, by));
    expect(await probe()).toBe("open");
  });

  test.each<Side>(["stage", "production"])("the middle of a connection begins one (%s)", async (side) => {
    const cut = /ct state new tcp flags.*/;
    expect(readSide(side)).toMatch(cut);
    expect(await pushAcross(side, readSide(side).replace(cut, ""))).not.toBe("closed");
  });

  test("judged by connection, what was established before goes on", async () => {
    for (const [host, side, chain] of [
      [scene.stage, "stage", "to_others"],
      [scene.edge, "production", "from_others"],
    ] as const) {
      const keep = `established-${side}`;
      expect(await scene.container.connect(EDGE, PORTS.database, { keep })).toBe("open");
      host.load(readSide(side).replace(`chain ${chain} {`, `chain ${chain} {\n ct state established accept`));
      expect(await scene.container.ask({ do: "say", kept: keep })).toBe("open");
      host.load(undefined);
    }
  });

  test("answers to production are refused, and doors after the translation of addresses are shut", async () => {
    await scene.stage.listen(8082);
    scene.stage.load(readFirewall("stage").replace(/ct direction reply accept/, ""));
    expect(await scene.control.connect(STAGE, 8082)).toBe("silent");
    scene.stage.load(undefined);
    expect(await scene.control.connect(STAGE, 8082)).toBe("open");
    scene.edge.load(readProduction().replace("prerouting priority mangle", "prerouting priority dstnat + 10"));
    expect(await scene.stage.connect(EDGE, PORTS.auth)).toBe("silent");
  });
});
