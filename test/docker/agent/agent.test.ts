// `orca agent` as systemd runs it: its unit, readiness and watchdog, the host's policy read again when it changes.

import { execFileSync, spawnSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { eventually } from "../../contract/docker-port.ts";
import { describeMarkedSecrets } from "../../../scripts/lab/canary/canary-lane.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { buildHttpd } from "../../../scripts/lab/engine/real-node.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { NotifySocket } from "../../builders/node/notify-socket.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";

const UNITS = fileURLToPath(new URL("../../../systemd/", import.meta.url));

const UNIT_FAULTS: readonly (readonly [name: string, right: string, wrong: string, fault: RegExp])[] = [
  ["orca-agent.service", "Restart=always", "Restart=allways", /Failed to parse service restart specifier/],
  ["orca-dead-man.service", "Type=oneshot", "Type=oneshoot", /Failed to parse/],
  ["orca-dead-man.timer", "OnUnitActiveSec=1h", "OnUnitActiveSec=1x", /Failed to parse/],
  ["orca-firewall.service", "RemainAfterExit=yes", "RemainAfterExit=maybe", /Failed to parse/],
  ["orca-host-firewall.service", "RemainAfterExit=yes", "RemainAfterExit=maybe", /Failed to parse/],
  ["orca-judge.service", "Type=exec", "Type=exex", /Failed to parse/],
  ["orca-update.path", "PathExists=/run", "PathExists=run", /not absolute|Failed to parse/],
  ["orca-update.service", "Type=oneshot", "Type=oneshoot", /Failed to parse/],
  ["orca.slice", "MemoryMax=90%", "MemoryMax=90x", /Invalid memory limit|Failed to parse/],
];

test("every unit is looked at", () => {
  expect(UNIT_FAULTS.map(([name]) => name)).toEqual(readdirSync(UNITS).toSorted());
});

test.each(UNIT_FAULTS)(
  "%s is clean for systemd-analyze verify, and a fault in it would be seen",
  (name, right, wrong, fault) => {
    const root = mkdtempSync(join(tmpdir(), "orca-unit-"));
    for (const directory of [
      "opt/orca/current",
      "opt/orca/judge",
      "usr/sbin",
      "bin",
      "usr/lib/systemd",
      "etc/systemd/system",
    ])
      mkdirSync(join(root, directory), { recursive: true });
    for (const program of ["opt/orca/current/node", "opt/orca/judge/node", "usr/sbin/nft", "bin/kill"])
      copyFileSync("/bin/true", join(root, program));
    cpSync("/lib/systemd/system", join(root, "usr/lib/systemd/system"), { recursive: true, verbatimSymlinks: true });
    const unit = join(root, "etc/systemd/system", name);
    const verify = (): string => {
      const { status, stderr } = spawnSync("systemd-analyze", ["verify", `--root=${root}`, name], {
        encoding: "utf8",
      });
      return `${status}${stderr}`;
    };
    // What a timer starts is looked for beside it.
    for (const file of readdirSync(UNITS)) copyFileSync(join(UNITS, file), join(root, "etc/systemd/system", file));
    expect(verify()).toBe("0");
    writeFileSync(unit, readFileSync(join(UNITS, name), "utf8").replace(right, wrong));
    expect(verify()).toMatch(fault);
    rmSync(root, { recursive: true });
  },
);

describe("the daemon", () => {
  const root = mkdtempSync(join(tmpdir(), "orca-agent-"));
  const node = nameForRun("agent");
  const runDir = mkdtempSync("/dev/shm/orca-agent-");
  const socket = join(runDir, "agent.sock");
  let listen = "";
  const messages: { service: string | null; state: string }[] = [];
  let server: Server;
  let agent: OrcaProcess;
  let systemd: NotifySocket;

  const write = (path: string, text: string, mode = 0o644): void => {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), text, { mode });
  };
  const policy = (prefixes: string): void => write("policy.toml", `[mounts]\nallowed_prefixes = [${prefixes}]\n`);
  const orca = async (...parameters: string[]): Promise<{ code: number | null; output: string }> => {
    const run = new OrcaProcess([...parameters, "--socket", socket]);
    return { code: await run.exited, output: run.output };
  };

  beforeAll(async () => {
    server = createServer((request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        messages.push(JSON.parse(body) as (typeof messages)[number]);
        response.end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    listen = `127.0.0.1:${await findPort()}`;
    write("webhook", `http://127.0.0.1:${port}/hook`, 0o600);
    policy("");
    write(
      "repo/orca/fleet.toml",
      `[nodes.${node}]\naddress = "127.0.0.1"\nenv = "test"\nmemory = "1GiB"\nreserve = "256MiB"\n`,
    );
    write(`repo/orca/manifests/${node}/app.toml`, buildHttpd({ top: `ports = ["${await findPort()}:8080"]` }));
    write(
      `repo/orca/manifests/${node}/bound.toml`,
      buildHttpd({
        top: 'backup = { none = "test" }',
        tables: `[[volumes]]\nsource = "${root}/data"\ntarget = "/data"`,
      }),
    );
    mkdirSync(join(root, "data"));
    write(
      "agent.toml",
      [
        `node = "${node}"`,
        `source = { dir = "${root}/repo" }`,
        `status = { listen = ["${listen}"] }`,
        `state = { dir = "${root}/state" }`,
        'docker = { cgroup_parent = "orca.slice" }',
        describeMarkedSecrets(),
        `policy = { file = "${root}/policy.toml" }`,
        `alerts = { webhook_file = "${root}/webhook", min = "warning" }`,
      ].join("\n"),
    );
    // systemd itself is not here: this listens in its place.
    systemd = await NotifySocket.open(join(root, "notify"));
    agent = new OrcaProcess(["agent", "--config", join(root, "agent.toml")], {
      runDir,
      environment: { NOTIFY_SOCKET: systemd.path },
    });
    await eventually(async () => (await orca("status", "--json")).output.includes('"state": "healthy"'), 30_000);
  });

  afterAll(async () => {
    const texts = { "its output": agent.output, "the webhook's messages": JSON.stringify(messages) };
    const places = { node, stateDir: join(root, "state"), directories: [root], listen, texts };
    await expectNoSecretLeft({ ...places, socketPath: socket }, clear);
  });

  async function clear(): Promise<void> {
    await agent.kill();
    const ids = await docker("ps", "-aq", "--filter", `label=orca.node=${node}`);
    if (ids !== "") await docker("rm", "-f", ...ids.split("\n"));
    await docker("network", "rm", `orca-${node}`).catch(() => undefined);
    await new Promise((resolve) => server.close(resolve));
    systemd.close();
    rmSync(root, { recursive: true, force: true });
    rmSync(runDir, { recursive: true, force: true });
  }

  test("tells systemd that it is ready after its first turn", async () => {
    await eventually(() => systemd.heard.length > 0);
    expect(systemd.heard[0]).toMatch(/^READY=1\nWATCHDOG=1\nSTATUS=\d of 2 healthy$/);
  });

  test("containers go into the slice that agent.toml names", async () => {
    const find = (): Promise<string> => docker("ps", "-q", "--filter", `label=orca.node=${node}`);
    await eventually(async () => (await find()) !== "", 30_000);
    expect(await docker("inspect", "-f", "{{.HostConfig.CgroupParent}}", await find())).toBe("orca.slice");
  });

  test("a bind mount outside the host's policy is refused, naming the rule, and status exits with 3", async () => {
    const { code, output } = await orca("status");
    expect(code).toBe(3);
    expect(output).toMatch(/bound\s+refused/);
    expect((await orca("why", "bound")).output).toMatch(/mounts.allowed_prefixes/);
  });

  test("the policy is read again when it changes; one that does not parse changes nothing and is said", async () => {
    policy(`"${root}/data"`);
    await eventually(async () => (await orca("status")).code === 0, 30_000);
    write("policy.toml", "[mounts\n");
    await eventually(async () => (await orca("status")).output.includes("the one in force stays"), 10_000);
    expect((await orca("status")).code).toBe(0);
  });

  test("a link that leads out of the allowed directory is refused by where it really leads", async () => {
    policy(`"${root}/data"`);
    rmSync(join(root, "data"), { recursive: true });
    execFileSync("ln", ["-s", "/etc", join(root, "data")]);
    agent.child.kill("SIGHUP");
    await eventually(async () => (await orca("why", "bound")).output.includes("which is really /etc"), 30_000);
  });

  test("a second agent for the same node is refused with exit code 4 and the holder's name", async () => {
    const second = new OrcaProcess(["agent", "--config", join(root, "agent.toml")], { runDir });
    expect(await second.exited).toBe(4);
    expect(second.output).toContain(`process ${agent.child.pid}`);
  });

  test("changes of state are told to the webhook, once each, with what is needed to act", async () => {
    await eventually(
      () => messages.some((message) => message.service === "bound" && message.state === "refused"),
      20_000,
    );
    expect(
      messages.filter((message) => message.service === "bound" && message.state === "refused").length,
    ).toBeLessThanOrEqual(2);
  });

  test("SIGTERM ends it with 0 and leaves the containers running", async () => {
    expect(await agent.stop()).toBe(0);
    await eventually(() => systemd.heard.at(-1) === "STOPPING=1");
    expect(
      await docker("ps", "-q", "--filter", `label=orca.node=${node}`, "--filter", "label=orca.service=app"),
    ).not.toBe("");
  });
});
