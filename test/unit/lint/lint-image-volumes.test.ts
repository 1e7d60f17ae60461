// What images keep in VOLUMEs of their own, and lint knows.

import { createServer, type Server } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { lintFiles, lintShort, service } from "../../builders/git/repository.ts";

const NONE = 'backup = { none = "a cache" }';
const CODE = "warning image-volume vm-a/app";
const cover = (target: string): string => `[[volumes]]\nname = "data"\ntarget = "${target}"\n`;
const BACKUP = '[[backups]]\nname = "all"\nengine = "files"\nschedule = "every 5h"\n';

function lint(image: string, parts: { top?: string; tables?: string } = {}, docker?: string): Promise<string[]> {
  const text = service(parts.top, parts.tables).replace('"app:1"', `"${image}"`);
  return lintShort({ "manifests/vm-a/app.toml": text }, docker === undefined ? {} : { docker });
}

describe("of a database that everybody knows", () => {
  it("a warning says so, with the way out", async () => {
    expect(await lint("postgres:16")).toEqual([`${CODE}:1:1 image`]);
    expect(await lint("docker.io/library/redis:7-alpine")).toEqual([`${CODE}:1:1 image`]);
    const [problem] = await lintFiles({ "manifests/vm-a/app.toml": service().replace('"app:1"', '"redis:7"') });
    expect(problem).toMatchObject({
      message:
        "the image keeps data at /data in a VOLUME of its own, and no [[volumes]] covers it: it is in no backup, and a change that needs a new container is held",
      hint: 'write [[volumes]] with target = "/data" and [[backups]], or backup = { none = "why losing it is fine" }',
    });
  });

  it("what is mounted there, or around it, is enough", async () => {
    for (const target of ["/var/lib/postgresql/data", "/var/lib/postgresql/", "/var/lib"])
      expect(await lint("postgres:16", { tables: cover(target) + BACKUP })).toEqual([]);
    expect(await lint("redis:7", { top: 'tmpfs = ["/data:size=16m"]' })).toEqual([]);
    expect(await lint("redis:7", { tables: cover("/database") + BACKUP })).toEqual([`${CODE}:1:1 image`]);
  });

  it("a reason for no backup is one for this too, and a job keeps nothing", async () => {
    expect(await lint("redis:7", { top: NONE })).toEqual([]);
    expect(await lint("postgres:16", { top: 'schedule = "every 5h"' })).toEqual([]);
  });

  it("another image of that name is another image", async () => {
    expect(await lint("registry.example.com/team/redis:7")).toEqual([]);
    expect(await lint("team/redis:7")).toEqual([]);
  });
});

describe("of an image on this host", () => {
  let directory: string;
  let socket: string;
  let server: Server;
  const images = new Map<string, object>();

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "orca-lint-engine-"));
    socket = join(directory, "docker.sock");
    server = createServer((request, answer) => {
      const name = decodeURIComponent(/^\/images\/(.*)\/json$/.exec(request.url ?? "")?.[1] ?? "");
      const volumes = images.get(name);
      answer.writeHead(volumes === undefined ? 404 : 200, { "content-type": "application/json" });
      answer.end(
        JSON.stringify(
          volumes === undefined ? { message: "no such image" } : { Id: "sha256:1", Config: { Volumes: volumes } },
        ),
      );
    });
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    images.clear();
  });

  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    rmSync(directory, { recursive: true, force: true });
  });

  it("each path counts, and only just that path is enough", async () => {
    images.set("team/app:1", { "/data/": {}, "/var/log": {} });
    expect(await lint("team/app:1", {}, socket)).toEqual([`${CODE}:1:1 image`, `${CODE}:1:1 image`]);
    expect(await lint("team/app:1", { tables: cover("/data") + BACKUP }, socket)).toEqual([`${CODE}:1:1 image`]);
    expect(await lint("team/app:1", { top: 'tmpfs = ["/var/log"]', tables: cover("//data") + BACKUP }, socket)).toEqual(
      [],
    );
    expect(await lint("team/app:1", { top: NONE }, socket)).toEqual([]);
  });

  it("what it says counts more than what is known of its name", async () => {
    images.set("redis:7", {});
    expect(await lint("redis:7", {}, socket)).toEqual([]);
  });

  it("an image that is not here, and an engine that is not there, are no finding", async () => {
    expect(await lint("team/app:1", {}, socket)).toEqual([]);
    expect(await lint("team/app:1", {}, join(directory, "none.sock"))).toEqual([]);
  });
});
