// Images from a private registry on the real engine: credentials, digests, an outage, and a pull that delays nobody.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { docker } from "../../builders/engine/docker-cli.ts";
import { buildHttpd, IMAGE, RealNode } from "../../../scripts/lab/engine/real-node.ts";
import { REGISTRY_PASSWORD, REGISTRY_USER, TestRegistry } from "../../builders/engine/registry.ts";
import { findPort } from "../../builders/engine/free-port.ts";

const registry = new TestRegistry(await findPort());
const image = `${registry.host}/team/app`;
const config = mkdtempSync(join(tmpdir(), "orca-docker-config-"));
let digest = "";
const node = new RealNode("registry", { authFiles: [registry.authFile] });

beforeAll(async () => {
  await registry.start();
  await docker("--config", config, "login", "-u", REGISTRY_USER, "-p", REGISTRY_PASSWORD, registry.host);
  for (const tag of ["1", "2", "3"]) {
    await docker("tag", IMAGE, `${image}:${tag}`);
    await docker("--config", config, "push", "-q", `${image}:${tag}`);
  }
  const digests = JSON.parse(await docker("inspect", "-f", "{{json .RepoDigests}}", `${image}:1`)) as string[];
  digest = digests.find((entry) => entry.startsWith(image))?.split("@")[1] ?? "";
  for (const tag of ["1", "2", "3"]) await docker("rmi", `${image}:${tag}`);
  await node.start();
});

afterAll(async () => {
  await node.dispose();
  await registry.destroy();
  rmSync(config, { recursive: true, force: true });
  const left = await docker("images", image, "--format", "{{.Repository}}:{{.Tag}}");
  for (const tag of left.split("\n")) if (tag !== "" && !tag.endsWith("<none>")) await docker("rmi", tag);
  await docker("rmi", `${image}@${digest}`).catch(() => undefined);
});

test("an image is pulled by tag and by digest with credentials from a file", async () => {
  expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  node.set({ tagged: buildHttpd({ image: `${image}:1` }), pinned: buildHttpd({ image: `${image}@${digest}` }) });
  await node.untilSettled(["tagged", "pinned"]);
  const pulls = node.events.filter(
    (event) => event.kind === "step-done" && event.step.kind === "ensure-image" && event.changed,
  );
  expect(pulls.length).toBeGreaterThanOrEqual(1);
});

test("without credentials the registry's refusal is shown, with the next try; nothing secret is in it", async () => {
  writeFileSync(
    registry.authFile,
    JSON.stringify({ auths: { [registry.host]: { auth: Buffer.from("orca:wrong-password").toString("base64") } } }),
  );
  node.set({ denied: buildHttpd({ image: `${image}:2` }) });
  await node.until("it is refused", () => node.view("denied")?.state === "backoff");
  expect(node.view("denied")?.reason).toMatch(/pull image: .*(unauthorized|no basic auth)/i);
  expect(node.view("denied")?.nextMs).toBeGreaterThan(Date.now());
  expect(JSON.stringify(node.events)).not.toMatch(/wrong-password|b3JjYTp3cm9uZy/);
});

test("an outage of the registry: what runs goes on running, and the image comes when the registry does", async () => {
  const auth = Buffer.from(`${REGISTRY_USER}:${REGISTRY_PASSWORD}`).toString("base64");
  writeFileSync(registry.authFile, JSON.stringify({ auths: { [registry.host]: { auth } } }));
  await registry.stop();
  const before = await node.idOf("tagged");
  node.set({ denied: undefined, tagged: buildHttpd({ image: `${image}:3` }) });
  await node.until("the pull has failed", () => node.view("tagged")?.state === "backoff");
  expect(node.view("tagged")?.reason).toMatch(/pull image: .*refused.*still runs \(healthy\)/);
  expect(await node.idOf("tagged")).toBe(before);
  await registry.start();
  node.agent.request({ kind: "sync", retry: "tagged", allowRemoval: undefined, actor: { uid: 0, user: "root" } });
  await node.until("the new one runs", async () =>
    (await node.of("tagged")).some((row) => row.status === "running" && row.id !== before),
  );
});

test("credentials kept by a helper are refused with what to do instead", async () => {
  writeFileSync(registry.authFile, JSON.stringify({ auths: { [registry.host]: {} }, credsStore: "pass" }));
  node.set({ helped: buildHttpd({ image: `${image}:2` }) });
  await node.until(
    "it is said",
    () => node.view("helped")?.reason.includes("the helper pass, which the agent does not run") === true,
  );
});
