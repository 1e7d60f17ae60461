// Routes: one owner for a host and path, copies that agree, and no way that leads nowhere.

import { describe, expect, it } from "vitest";

import { type Content, lintFiles, lintShort, service } from "../../builders/git/repository.ts";

const route = (rest: string, port = 8080): string => `[[routes]]\nport = ${port}\n${rest}`;
const web = (rest: string): string => service('ports = ["8080:8080"]', route(rest));

describe("hosts and paths", () => {
  it("have one owner in each realm", async () => {
    const files = {
      "manifests/vm-a/web.toml": web('host = "a.example"'),
      "manifests/vm-a/guard.toml": web('host = "a.example"\npath = "/guard"').replace("8080:8080", "8081:8080"),
      "manifests/vm-a/any.toml": web('host = "*.example"').replace("8080:8080", "8082:8080"),
      "manifests/vm-stage/site.toml": web('host = "a.example"'),
    };
    expect(await lintShort(files)).toEqual([]);
  });

  it("with two owners are refused, in one service too", async () => {
    const twice = `${web('host = "a.example"')}${route('host = "b.example"\npath = "/"')}\n${route('host = "b.example"')}\n`;
    const problems = await lintFiles({
      "manifests/vm-a/web.toml": twice,
      "manifests/vm-b/site.toml": web('host = "a.example"\npath = "/"'),
    });
    expect(problems.map(({ code, line, column, key, message }) => [code, line, column, key, message])).toEqual([
      ["route-duplicate", 14, 1, "routes[2].host", "b.example is routed already by this service"],
      ["route-duplicate", 7, 1, "routes[0].host", "a.example/ is routed already by vm-a/web"],
    ]);
  });

  it("may be served by copies of a service, which must agree", async () => {
    const files = (second: string): Record<string, Content> => ({
      "manifests/vm-a/web.toml": web('host = "a.example"\nallow = ["10.0.0.0/16"]'),
      "manifests/vm-b/web.toml": web(second),
    });
    expect(await lintShort(files('allow = ["10.0.0.0/16"]\nhost = "a.example"'))).toEqual([]);
    expect(await lintShort(files('host = "a.example"\nallow = ["0.0.0.0/0"]'))).toEqual([
      "warning route-differs vm-b/web:8:1 routes[0].allow",
    ]);
    expect(await lintShort(files('host = "a.example"'))).toEqual([
      "warning route-differs vm-b/web:5:3 routes[0].allow",
    ]);
  });

  it("are not served by a job", async () => {
    const job = service('schedule = "0 3 * * *"', route('host = "a.example"'));
    expect(await lintShort({ "manifests/vm-a/job.toml": job })).toEqual(["error route-of-job vm-a/job:5:3 routes"]);
  });
});

describe("the way from the proxy", () => {
  const proxy = service("", '[[files]]\nsource = "files/t"\ntarget = "/etc/t"\ntemplate = true');
  const template = "{% for route in routes %}{{ route.upstream }}{% endfor %}";
  const withProxy = (files: Record<string, Content>, text = template): Record<string, Content> => ({
    "manifests/vm-a/proxy.toml": proxy,
    "manifests/vm-a/files/t": text,
    ...files,
  });

  it("is there beside the proxy, over a published port, and where no proxy is known", async () => {
    const files = withProxy({
      "manifests/vm-a/near.toml": service("", route('host = "near.example"')),
      "manifests/vm-b/far.toml": web('host = "far.example"'),
      "manifests/vm-stage/other.toml": service("", route('host = "other.example"')),
    });
    expect(await lintShort(files)).toEqual([]);
  });

  it("is missing where the port is not published, not by TCP, or on loopback alone", async () => {
    const files = withProxy({
      "manifests/vm-b/a.toml": service("", route('host = "a.example"')),
      "manifests/vm-b/b.toml": service('ports = ["81:8080/udp"]', route('host = "b.example"')),
      "manifests/vm-b/c.toml": service('ports = ["127.0.0.1:82:8080"]', route('host = "c.example"')),
      "manifests/vm-b/d.toml": service('ports = ["8080:80"]', route('host = "d.example"')),
    });
    const problems = await lintFiles(files);
    expect(problems.map(({ code, file, line, column, key }) => [code, file.slice(20), line, column, key])).toEqual([
      ["route-unreachable", "a.toml", 5, 1, "routes[0].port"],
      ["route-unreachable", "b.toml", 6, 1, "routes[0].port"],
      ["route-unreachable", "c.toml", 6, 1, "routes[0].port"],
      ["route-unreachable", "d.toml", 6, 1, "routes[0].port"],
    ]);
    expect(problems[2]?.message).toBe("the proxy runs on vm-a, and port 8080 is published on loopback only");
  });

  it("is not asked for where the template reads no routes", async () => {
    const files = withProxy({ "manifests/vm-b/a.toml": service("", route('host = "a.example"')) }, "{{ node }}");
    expect(await lintShort(files)).toEqual([]);
  });
});
