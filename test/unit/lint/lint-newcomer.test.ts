// What a newcomer writes out of habit: each usual word of Compose is answered by the word here, in one line; faults do not hide each
// other; and what works without an effect, or is another thing tomorrow, is warned of.

import { describe, expect, test } from "vitest";

import { parseManifest } from "../../../shared/manifest/parse-manifest.ts";
import { checkView } from "../../../agent/cli/lint/lint-command.ts";
import { describeReport } from "../../../agent/cli/lint/lint-output.ts";
import { readRepository } from "../../../agent/cli/lint/lint-read.ts";
import { describeProblem } from "../../../shared/text/problem.ts";
import { withRepository } from "../../builders/git/repository.ts";

const GOOD = 'image = "app:1"\n[resources]\nmemory = "16MiB"\n[health]\ntcp = { port = 80 }\n';

/** Every problem of a manifest, a line each. */
async function explain(text: string): Promise<string[]> {
  const parsed = await parseManifest(text, "x.toml");
  return parsed.ok ? [] : parsed.problems.map(describeProblem);
}

/** What lint prints of a repository. */
function lintTree(files: Readonly<Record<string, string>>): Promise<string[]> {
  return withRepository(files, async (directory) => {
    const { view } = await readRepository(directory);
    return describeReport(await checkView(view, { format: "text" }), "text", (file) => file).split("\n");
  });
}

describe("words of Compose", () => {
  test.each([
    ['depends_on = ["db"]', /requires = \["name"\]/],
    ['environment = ["A=b"]', /\[env\] with NAME = "value"/],
    ['env_file = ".env"', /\[env\] with NAME = "value"/],
    ['container_name = "x"', /leave it out/],
    ['stop_grace_period = "30s"', /stop_timeout = "30s"/],
    ['healthcheck = { test = "x" }', /\[health\] with exactly one of/],
    ['mem_limit = "1g"', /memory = "512MiB" under \[resources\]/],
    ["deploy = { replicas = 2 }", /\[resources\]/],
    ['network_mode = "host"', /network = "host"/],
    ['networks = ["a"]', /leave it out/],
    ['links = ["db"]', /requires/],
    ["expose = [80]", /leave it out/],
    ['build = "."', /image = "registry\/name:tag"/],
    ['logging = { driver = "local" }', /\[log\]/],
    ['extra_hosts = ["a:1.2.3.4"]', /DNS/],
    ["tty = true", /orca exec/],
    ["services = { web = { } }", /manifests\/NODE\/NAME\.toml/],
    ["pids_limit = 5", /pids = 512 under/],
    ['platform = "linux/amd64"', /leave it out/],
    ["cpus = 2", /cpus = 1\.5 under \[resources\]/],
    ['restart = "unless-stopped"', /leave it out: that is what happens/],
    ['restart = "on-failure:5"', /\[restart\] with policy = "on-failure"/],
    ['volumes = ["data:/data"]', /\[\[volumes\]\] with name = "data" and target = "\/data"/],
    ['volumes = ["/srv/x:/data:ro"]', /source = "\/srv\/x" and target = "\/data", read_only = true/],
    ['volumes = ["./app.conf:/etc/app.conf"]', /\[\[files\]\].*target = "\/etc\/app\.conf"/],
    ["ports = [8080]", /write "8080:8080"/],
    ["ports = [{ published = 80, target = 8080 }]", /write "80:8080"/],
    ['command = "nc -l"', /a list, an entry for each word/],
    ['env = ["A=b"]', /a table: \[env\]/],
  ])("%s", async (line, hint) => {
    const told = (await explain(`${line}\n${GOOD}`)).find((text) => text.startsWith("x.toml:1:")) ?? "";
    expect(told).toMatch(hint);
    expect(told.length).toBeLessThan(220);
  });

  test("below [health] and [resources] too, and in no other file", async () => {
    expect((await explain(GOOD.replace("tcp = { port = 80 }", 'test = ["CMD", "x"]'))).join()).toMatch(
      /write exec = \[/,
    );
    expect((await explain(GOOD.replace("memory =", 'limits = { memory = "1g" }\nmemory ='))).join()).toMatch(
      /under \[resources\] itself/,
    );
  });

  test("a key that nothing is like is answered without the list of all keys", async () => {
    const [told = ""] = await explain(`zzzzzzzz = 1\n${GOOD}`);
    expect(told).toBe("x.toml:1:1: zzzzzzzz: there is no such key (orca schema prints the keys that there are)");
  });
});

describe("values in the wrong form", () => {
  test.each([
    ['[health]\ntcp = { port = "8080" }', "write 8080, without quotes"],
    ['[health]\ntcp = { port = "http" }', "write a number, without quotes"],
    ["[health]\ntcp = { port = 80 }\ninterval = 10", 'add a unit, for example "10s"'],
    ['init = "yes"', "write true, without quotes"],
    ["shm_size = 64", 'add a unit, for example "64MiB"'],
  ])("%s", async (text, hint) => {
    const whole = text.startsWith("[health]") ? `${GOOD.replace(/\[health\][^]*/, "")}${text}` : `${text}\n${GOOD}`;
    expect((await explain(whole)).join("\n")).toContain(`(${hint})`);
  });

  test.each([
    ["services:\n  web:\n    image: nginx\n", 1, /YAML/],
    ["# a comment\n---\nimage: nginx\n", 2, /YAML/],
    ['{ "image": "nginx" }', 1, /JSON/],
  ])("a whole file: %j", async (text, line, kind) => {
    const [told = "", ...more] = await explain(text);
    expect([told.startsWith(`x.toml:${line}:1: `), kind.test(told), more]).toEqual([true, true, []]);
  });
});

describe("all findings at once", () => {
  const twice = '[[volumes]]\nname = "a"\ntarget = "/x"\n[[volumes]]\nname = "b"\ntarget = "/x"\n';

  test("a missing backup hides no second volume on the same path", async () => {
    const lines = await lintTree({ "manifests/vm-a/web.toml": `${GOOD}${twice}` });
    expect(lines.join("\n")).toMatch(/volumes: volumes need a backup/);
    expect(lines.join("\n")).toMatch(/volumes\[1\]\.target: \/x is taken already by volumes\[0\]/);
  });

  test("neither does a misspelt key, a wrong value or a missing cap; and what was taken out causes no finding", async () => {
    const bad = `imge = "app:1"\nports = ["x"]\nrequires = ["nobody"]\n[resources]\nmemory = 5\n[health]\ntcp = { port = "80" }\n${twice}`;
    const lines = await lintTree({ "manifests/vm-a/web.toml": bad });
    const codes = ["imge", "ports[0]", "resources.memory", "health.tcp.port", "requires[0]", "volumes[1].target"];
    for (const key of codes) expect(lines.join("\n")).toContain(` ${key}: `);
    expect(lines.join("\n")).not.toMatch(/stand-in/);
    expect(lines.at(-1)).toMatch(/^7 errors, 0 warnings/);
  });
});

describe("values of Compose", () => {
  test.each([
    ["CMD", "leave CMD out"],
    ["CMD-SHELL", 'exec = ["sh", "-c", "…"]'],
    ["NONE", "every service has a health check"],
  ])("%s before a health check is an error, with the word here", async (word, hint) => {
    const text = `image = "app:1"\n[resources]\nmemory = "16MiB"\n[health]\nexec = ["${word}", "true"]\n`;
    const lines = await lintTree({ "manifests/vm-a/web.toml": text });
    expect(lines.join("\n")).toContain(hint);
    expect(lines.at(-1)).toMatch(/^1 error, 0 warnings/);
  });

  test("a variable that nothing fills in is warned of; one that is no variable is not", async () => {
    const env = '[env]\nURL = "http://${HOST:-db}:80"\nPRICE = "5 $ {x}"\n';
    const lines = await lintTree({ "manifests/vm-a/web.toml": `${GOOD}${env}` });
    expect(lines.join("\n")).toMatch(
      /env\.URL: .*nothing fills in \$\{HOST:-db\}: the container gets these characters/,
    );
    expect(lines.at(-1)).toMatch(/^0 errors, 1 warning/);
  });
});

describe("warnings", () => {
  test.each([
    ["a tag that moves", GOOD.replace("app:1", "app:latest"), /image: the tag latest names another image tomorrow/],
    ["no tag", GOOD.replace("app:1", "app"), /image: without a tag it is :latest/],
    ["a parameter of the whole host", `${GOOD}[sysctls]\n"vm.max_map_count" = "262144"\n`, /belongs to the whole host/],
    [
      "the host's network parameters through its network",
      `network = "host"\n${GOOD}[sysctls]\n"net.core.somaxconn" = "1024"\n`,
      /net\.core\.somaxconn is the host's here/,
    ],
    [
      "a restart policy on a job",
      'image = "app:1"\nschedule = "0 3 * * *"\n[resources]\nmemory = "16MiB"\n[restart]\npolicy = "never"\n',
      /restart\.policy: it does nothing here/,
    ],
    ["a drain of what is stopped first", `${GOOD}[update]\ndrain = "5s"\n`, /update\.drain: it does nothing here/],
    [
      "a backoff without restarts",
      `${GOOD}[restart]\npolicy = "never"\nbackoff = { max = "1m" }\n`,
      /restart\.backoff: it does/,
    ],
    ["a wait for nothing", `wants_timeout = "5s"\n${GOOD}`, /wants_timeout: it does nothing here/],
  ])("%s", async (_case, text, told) => {
    const lines = await lintTree({ "manifests/vm-a/web.toml": text });
    // That the host's policy must allow the host's network is another matter.
    const warnings = lines.filter(
      (line) => line.includes("warning: ") && !line.includes("the host's policy allows it"),
    );
    expect(warnings).toEqual([expect.stringMatching(told)]);
    expect(lines.at(-1)).toMatch(/^0 errors, [12] warnings? /);
  });

  test("what has an effect is not warned of", async () => {
    const fine = `${GOOD.replace("app:1", `app:latest@sha256:${"a".repeat(64)}`)}[sysctls]\n"net.core.somaxconn" = "1024"\n[update]\nsettle = "15s"\n`;
    expect((await lintTree({ "manifests/vm-a/web.toml": fine })).join("\n")).toBe(
      "0 errors, 0 warnings in 1 manifest of 3 nodes: valid",
    );
  });

  test("a YAML file beside the manifests, but for one that a service is given", async () => {
    const given = `${GOOD}[[files]]\nsource = "app.yaml"\ntarget = "/etc/app.yaml"\n`;
    const lines = await lintTree({
      "manifests/vm-a/web.toml": given,
      "manifests/vm-a/app.yaml": "a: 1\n",
      "manifests/vm-a/db.yaml": "image: postgres\n",
      "manifests/vm-a/old.toml.bak": GOOD,
    });
    expect(lines.filter((line) => line.includes("it is no manifest")).map((line) => line.split(":", 1)[0])).toEqual([
      "orca/manifests/vm-a/db.yaml",
      "orca/manifests/vm-a/old.toml.bak",
    ]);
  });
});
