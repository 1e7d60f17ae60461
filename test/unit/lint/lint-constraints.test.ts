// Cycles, budgets, ports, networks: what must hold between the services of a node and of the fleet.

import { describe, expect, it } from "vitest";

import { lintFiles, lintShort, service } from "../../builders/git/repository.ts";

describe("cycles", () => {
  it("are found across nodes, printed as a ring, and shown where they close", async () => {
    const problems = await lintFiles({
      "manifests/vm-a/app.toml": service('requires = ["vm-b/api"]'),
      "manifests/vm-b/api.toml": service('requires = ["db"]'),
      "manifests/vm-b/db.toml": service('requires = ["vm-b/cache"]\nwants = ["cache", "vm-a/app"]'),
      "manifests/vm-b/cache.toml": service(),
    });
    expect(problems).toMatchObject([
      { code: "cycle", severity: "error", file: "orca/manifests/vm-b/db.toml", line: 2, column: 19, key: "wants[1]" },
    ]);
    expect(problems[0]?.message).toBe("they require each other: vm-a/app → vm-b/api → vm-b/db → vm-a/app");
  });

  it("of one service are found too, and each ring once", async () => {
    const files = {
      "manifests/vm-a/self.toml": service('requires = ["self"]'),
      "manifests/vm-a/a.toml": service('requires = ["b"]'),
      "manifests/vm-a/b.toml": service('requires = [{ on = "a" }]'),
    };
    expect(await lintShort(files)).toEqual([
      "error cycle vm-a/b:1:13 requires[0]",
      "error cycle vm-a/self:1:13 requires[0]",
    ]);
  });

  it("are no diamonds", async () => {
    const files = {
      "manifests/vm-a/a.toml": service('requires = ["b", "c"]'),
      "manifests/vm-a/b.toml": service('requires = ["d"]'),
      "manifests/vm-a/c.toml": service('requires = ["d"]'),
      "manifests/vm-a/d.toml": service(),
    };
    expect(await lintShort(files)).toEqual([]);
  });

  it("of thousands are found, and their message stays short", async () => {
    const count = 800;
    const files = Object.fromEntries(
      Array.from({ length: count }, (_value, index) => [
        `manifests/vm-a/s${index}.toml`,
        service(`requires = ["s${(index + 1) % count}"]`).replace("64MiB", "6MiB"),
      ]),
    );
    const problems = (await lintFiles(files)).filter(({ code }) => code === "cycle");
    expect(problems).toHaveLength(1);
    expect(problems[0]?.message).toContain("788 more");
  });
});

describe("memory budgets", () => {
  const big = (memory: string, top = ""): string => service(top).replace("64MiB", memory);

  it("hold up to the last byte, without stopped services", async () => {
    const files = {
      "manifests/vm-a/a.toml": big("1GiB"),
      "manifests/vm-a/b.toml": big("2GiB"),
      "manifests/vm-a/c.toml": big("1GiB", 'state = "stopped"'),
    };
    expect(await lintShort(files)).toEqual([]);
  });

  it("that are overdrawn are shown at the node's memory", async () => {
    const files = { "manifests/vm-a/a.toml": big("1GiB"), "manifests/vm-a/b.toml": big("2049MiB") };
    const problems = await lintFiles(files);
    expect(problems).toMatchObject([
      { code: "memory-budget", file: "orca/fleet.toml", line: 4, column: 1, key: "nodes.vm-a.memory" },
    ]);
    expect(problems[0]?.message).toBe(
      "the caps come to 3 GiB, and the node has 3 GiB for services (4 GiB less 1 GiB in reserve)",
    );
    expect(problems[0]?.hint).toContain("lower caps by 1 MiB; the largest are b 2 GiB, a 1 GiB");
  });

  it("have room for one backup or its proof, the largest: one of them runs at a time", async () => {
    const backup = (memory: string): string =>
      `[[volumes]]\nname = "d"\ntarget = "/d"\n[[backups]]\nname = "b"\nengine = "postgres"\nschedule = "every 5h"\nmemory = "${memory}"`;
    const files = (memory: string): Record<string, string> => ({
      "manifests/vm-a/a.toml": service("", backup("64MiB")).replace("64MiB", "2GiB"),
      "manifests/vm-a/b.toml": service("", backup(memory).replace('"d"', '"e"')).replace("64MiB", "512MiB"),
    });
    const budgets = async (memory: string): Promise<string[]> =>
      (await lintFiles(files(memory))).filter(({ code }) => code === "memory-budget").map(({ message }) => message);
    expect(await budgets("512MiB")).toEqual([]);
    expect(await budgets("513MiB")).toEqual([
      expect.stringMatching(/^the caps come to 3 GiB, .*, among them 513 MiB for one backup or its proof$/),
    ]);
    expect(await budgets('512MiB"\nwal = {}\n#')).toEqual([
      expect.stringMatching(/ 512 MiB for one backup or its proof and 64 MiB for receivers of logs$/),
    ]);
  });
});

describe("host ports", () => {
  it("may be equal on two nodes, for two protocols, for two addresses and for two families", async () => {
    const files = {
      "manifests/vm-a/a.toml": service('ports = ["53:53", "53:53/udp", "127.0.0.1:9000:90"]'),
      "manifests/vm-a/b.toml": service('ports = ["9000:90", "0.0.0.0:8443:1", "[::]:8443:1"]'),
      "manifests/vm-b/a.toml": service('ports = ["53:53"]'),
    };
    expect(await lintShort(files)).toEqual([]);
  });

  it("clash with another service, with the same one and with every address", async () => {
    const files = {
      "manifests/vm-a/a.toml": service('ports = ["8443:1", "9000:2", "9000:3"]'),
      "manifests/vm-a/b.toml": service('ports = ["8444:1", "10.0.0.1:8443:1"]'),
      "manifests/vm-a/c.toml": service('ports = ["0.0.0.0:8444:1", "[0::0]:7000:1"]'),
      "manifests/vm-a/d.toml": service('ports = ["[::1]:7000:1"]'),
    };
    expect(await lintShort(files)).toEqual([
      "error port-clash vm-a/a:1:30 ports[2]",
      "error port-clash vm-a/b:1:20 ports[1]",
      "error port-clash vm-a/c:1:10 ports[0]",
      "error port-clash vm-a/d:1:10 ports[0]",
    ]);
  });

  it("clash with the agent's own", async () => {
    const files = {
      "manifests/vm-a/a.toml": service('ports = ["127.0.0.1:7070:80"]'),
      "manifests/vm-b/a.toml": service('ports = ["0.0.0.0:7070:80"]'),
      "manifests/vm-stage/a.toml": service('ports = ["7070:80"]'),
    };
    const problems = await lintFiles(files);
    expect(problems.map(({ code, file, message }) => [code, file.slice(15), message.replace(/^.*? is /, "")])).toEqual([
      ["port-clash", "vm-a/a.toml", "held by the agent itself"],
      ["port-clash", "vm-b/a.toml", "held by the agent itself; one of them is published on every address"],
    ]);
  });

  it("80 and 443 on every address are warned of, and 80 on loopback", async () => {
    const problems = await lintFiles({
      "manifests/vm-a/a.toml": service('ports = ["0.0.0.0:80:8080", "[::]:443:8443", "10.0.0.1:81:1"]'),
      "manifests/vm-b/a.toml": service('ports = ["127.0.0.1:80:8080"]'),
      "manifests/vm-stage/a.toml": service(
        'ports = ["80:8080", "443:8443", "0.0.0.0:8080:8080", "0.0.0.0:443:443/udp"]',
      ),
    });
    expect(
      problems.map(({ severity, code, line, column, message }) => [severity, code, line, column, message]),
    ).toEqual([
      [
        "warning",
        "public-port",
        1,
        10,
        "port 80 is published on every address: `curl localhost` then does not reach the agent",
      ],
      ["warning", "public-port", 1, 29, "port 443 is published on every address"],
      [
        "warning",
        "public-port",
        1,
        10,
        "port 80 is published on 127.0.0.1: `curl localhost` then does not reach the agent",
      ],
      ["warning", "public-port", 1, 54, "port 443 is published on every address"],
    ]);
    expect(problems[0]?.hint).toBe(`write "80:8080", which is published on the node's own address 10.0.0.1`);
  });
});

describe("networks", () => {
  it("that take no ports are found out", async () => {
    const exec = service("").replace("{ tcp = { port = 8080 } }", '{ exec = ["true"] }');
    const files = {
      "manifests/vm-a/host.toml": service('network = "host"'),
      "manifests/vm-a/none.toml": `network = "none"\n${exec}`,
      "manifests/vm-a/host-ports.toml": service('network = "host"\nports = ["8080:8080"]'),
      "manifests/vm-a/none-all.toml": service(
        'network = "none"\nports = ["81:81"]',
        '[[routes]]\nhost = "a.b"\nport = 81',
      ),
      "manifests/vm-a/none-http.toml": `network = "none"\n${service()}`.replace(
        "tcp = { port = 8080 }",
        "http = { port = 1 }",
      ),
    };
    expect(await lintShort(files)).toEqual([
      "error health-without-network vm-a/none-all:4:12 health.tcp",
      "error health-without-network vm-a/none-http:3:12 health.http",
      "error ports-without-network vm-a/host-ports:2:1 ports",
      "error ports-without-network vm-a/none-all:2:1 ports",
      "error route-unreachable vm-a/none-all:6:3 routes",
      "warning host-policy vm-a/host-ports:1:1 network",
      "warning host-policy vm-a/host:1:1 network",
    ]);
  });

  it("and UDP ports rule out start-first", async () => {
    const update = '[update]\norder = "start-first"';
    const files = {
      "manifests/vm-a/good.toml": service('ports = ["8080:8080"]', update),
      "manifests/vm-a/udp.toml": service('ports = ["8080:8081", "53:53/udp"]', update).replace("8080:8081", "8082:1"),
      "manifests/vm-a/host.toml": service('network = "host"', update),
      "manifests/vm-a/udp-stop.toml": service('ports = ["54:54/udp"]'),
    };
    expect(await lintShort(files)).toEqual([
      "error start-first vm-a/host:6:1 update.order",
      "error start-first vm-a/udp:6:1 update.order",
      "warning host-policy vm-a/host:1:1 network",
    ]);
  });

  it("jobs, services without a network or a named port cannot be start-first; a volume both copies write is warned of", async () => {
    const update = '[update]\norder = "start-first"';
    const volume = '[[volumes]]\nname = "v"\ntarget = "/v"';
    const files = {
      "manifests/vm-a/job.toml": service('schedule = "@once"', update),
      "manifests/vm-a/none.toml": service('network = "none"', update).replace(
        "tcp = { port = 8080 }",
        'exec = ["true"]',
      ),
      "manifests/vm-a/nowhere.toml": service("", update).replace("tcp = { port = 8080 }", 'exec = ["true"]'),
      "manifests/vm-a/shared.toml": service('backup = { none = "cache" }', `${update}\n${volume}`),
      "manifests/vm-a/read.toml": service('backup = { none = "cache" }', `${update}\n${volume}\nread_only = true`),
    };
    const found = (await lintShort(files)).filter((line) => line.includes(" start-first "));
    expect(found).toEqual([
      "error start-first vm-a/job:6:1 update.order",
      "error start-first vm-a/none:6:1 update.order",
      "error start-first vm-a/nowhere:5:1 update.order",
      "warning start-first vm-a/shared:7:3 volumes[0]",
    ]);
  });
});

describe("a hostname", () => {
  const named = (name: string, top = ""): string => service(`hostname = "${name}"${top}`);

  it("is not the name of another service of its node", async () => {
    const files = {
      "manifests/vm-a/api.toml": named("DB"),
      "manifests/vm-a/db.toml": named("db"),
      "manifests/vm-a/host.toml": named("db", '\nnetwork = "host"'),
      "manifests/vm-a/web.toml": named("web.example.com"),
      "manifests/vm-b/api.toml": named("db"),
    };
    const problems = (await lintFiles(files)).filter(({ severity }) => severity === "error");
    expect(problems).toMatchObject([
      { code: "name-clash", file: "orca/manifests/vm-a/api.toml", line: 1, key: "hostname" },
    ]);
    expect(problems[0]?.message).toMatch(/^hostname "DB" is the name of another service on this node/);
    expect(problems[0]?.hint).toContain("this service is reached as api");
  });
});

it("a schema's fault hides no cycle, no clash and no missing file", async () => {
  const bad = (top: string, tables = ""): string => service(`stop_timeout = 5\n${top}`, tables);
  const files = {
    "manifests/vm-a/self.toml": bad('requires = ["self"]'),
    "manifests/vm-a/a.toml": bad('ports = ["8081:80"]\nhostname = "b"'),
    "manifests/vm-a/b.toml": service('ports = ["8081:80"]'),
    "manifests/vm-a/c.toml": bad("", '[[files]]\nsource = "files/none"\ntarget = "/etc/none"'),
  };
  const said = await lintShort(files);
  expect(said.filter((line) => !line.endsWith("stop_timeout"))).toEqual([
    "error cycle vm-a/self:2:13 requires[0]",
    "error file-source vm-a/c:7:1 files[0].source",
    "error name-clash vm-a/a:3:1 hostname",
    "error port-clash vm-a/b:1:10 ports[0]",
  ]);
  expect(said).toHaveLength(7);
});
