// `[log] options`: a closed list for each driver, with bounds. dockerd carries them out as root.

import { describe, expect, it } from "vitest";

import { parseManifest } from "../../../shared/manifest/parse-manifest.ts";
import { buildManifest } from "../../builders/node/manifest.ts";

async function explain(log: string): Promise<string[]> {
  const parsed = await parseManifest(buildManifest({ tables: `[log]\n${log}` }), "vm-a/app.toml");
  return parsed.ok ? [] : parsed.problems.map(({ key, message, hint }) => `${key}: ${message} (${hint})`);
}

describe("refused", () => {
  it.each([
    // Variables, which may be secrets.
    ['driver = "json-file"\noptions = { env-regex = ".*" }', "log.options.env-regex"],
    ['driver = "json-file"\noptions = { env = "DB_PASSWORD" }', "log.options.env"],
    ['driver = "journald"\noptions = { env = "DB_PASSWORD" }', "log.options.env"],
    ['driver = "json-file"\noptions = { tag = "{{.ContainerEnv}}" }', "log.options.tag"],
    ['driver = "json-file"\noptions = { tag = "{{range .ContainerEnv}}{{.}}{{end}}" }', "log.options.tag"],
    ['driver = "json-file"\noptions = { tag = "{{.ExtraAttributes nil}}" }', "log.options.tag"],
    ['driver = "json-file"\noptions = { labels-regex = ".*" }', "log.options.labels-regex"],
    // The host's disk, and dockerd's memory.
    ['options = { max-size = "900g" }', "log.options.max-size"],
    ['options = { max-size = "-1" }', "log.options.max-size"],
    ['options = { max-size = "0" }', "log.options.max-size"],
    ['options = { max-file = "100000" }', "log.options.max-file"],
    ['options = { max-size = "1g", max-file = "100" }', "log.options"],
    ['options = { mode = "non-blocking", max-buffer-size = "10g" }', "log.options.max-buffer-size"],
    // Keys of the host's root, and sockets that only root may dial.
    ['driver = "syslog"\noptions = { syslog-tls-key = "/etc/ssl/private/host.key" }', "log.options.syslog-tls-key"],
    ['driver = "syslog"\noptions = { syslog-tls-ca-cert = "/root/x" }', "log.options.syslog-tls-ca-cert"],
    ['driver = "local"\noptions = { syslog-address = "unix:///run/docker.sock" }', "log.options.syslog-address"],
    ['driver = "syslog"\noptions = { syslog-address = "tcp://x:1\\nEvil: 1" }', "log.options.syslog-address"],
    // What no driver knows, and what another one does.
    ['driver = "none"\noptions = { max-size = "1m" }', "log.options.max-size"],
    ['options = { constructor = "x" }', "log.options.constructor"],
    ['options = { splunk-token = "abc-def" }', "log.options.splunk-token"],
    ['driver = "gelf"', "log.driver"],
    ['driver = "splunk"', "log.driver"],
  ])("%s", async (log, key) => {
    const problems = await explain(log);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(new RegExp(`^${key.replaceAll(".", String.raw`\.`)}: `));
    expect(problems[0]).not.toContain("abc-def");
  });

  it("says which options there are, and why variables are none of them", async () => {
    expect(await explain('options = { env-regex = ".*" }')).toEqual([
      "log.options.env-regex: the log driver local takes no such option here " +
        "(variables are not written to logs; there are mode, max-buffer-size, max-size, max-file, compress)",
    ]);
  });
});

it.each([
  "",
  'driver = "none"',
  'options = { max-size = "10m", max-file = "3" }',
  'options = { max-size = "10MB", max-file = "5", compress = "false" }',
  'driver = "json-file"\noptions = { max-size = "1g", max-file = "10" }',
  'driver = "json-file"\noptions = { tag = "{{.Name}}/{{ .ID }}", labels = "team,com.example.part" }',
  'driver = "journald"\noptions = { tag = "web", mode = "non-blocking", max-buffer-size = "4m" }',
  'driver = "syslog"\noptions = { syslog-address = "udp://10.0.0.5:514", syslog-facility = "local3" }',
])("taken: %s", async (log) => expect(await explain(log)).toEqual([]));
