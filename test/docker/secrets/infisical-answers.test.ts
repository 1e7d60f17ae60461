// Each wire answer of an Infisical server through the real SDK in the real child: which class it is. What a class does to services
// is the scenario lane's (secret-faults.test.ts), by the same list.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { InfisicalProvider } from "../../../agent/secrets/providers/infisical-provider.ts";
import { NEIGHBOUR, type ProviderAnswer, PROVIDER_ANSWERS } from "../../builders/data/provider-answers.ts";
import { FakeInfisical } from "../../fakes/fake-infisical.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";

const PATH = "/prod/app/PASSWORD";
const directory = mkdtempSync(join(tmpdir(), "orca-answers-"));

afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function expectClass(row: ProviderAnswer, generation: 2024 | 2026): Promise<void> {
  const server = new FakeInfisical(generation);
  await server.listen();
  server.secrets.set(PATH, "canary-of-the-table");
  server.secrets.set("/prod/app/OTHER", "so that the folder stays");
  server.secrets.set(NEIGHBOUR, "canary-of-the-neighbour");
  const own = mkdtempSync(join(directory, "case-"));
  const [clientIdFile, clientSecretFile] = ["id", "secret"].map((name) => join(own, name)) as [string, string];
  writeFileSync(clientIdFile, server.clientId, { mode: 0o600 });
  writeFileSync(clientSecretFile, "client-secret-canary", { mode: 0o600 });
  const { url, project, environment } = server;
  const place = { url, project, environment, clientIdFile, clientSecretFile, caFile: undefined };
  const provider = new InfisicalProvider({ place, pollMs: 300_000 }, PROGRAM);
  // The same question is good before: what comes afterwards is the answer's doing.
  expect((await provider.read([PATH])).get(PATH)?.kind).toBe("value");
  await row.apply(server, PATH);
  const logins = server.count("login");
  const answers = await provider.read([PATH, NEIGHBOUR]);
  const answer = answers.get(PATH);
  expect(answer?.kind).toBe(row.class);
  // A refusal of one path leaves the other answered; one of everything leaves neither, and no folder that could be listed.
  const isRefusal = row.class === "denied" || row.class === "not-found";
  expect(answers.get(NEIGHBOUR)?.kind).toBe(isRefusal && row.ofAll !== true ? "value" : row.class);
  expect(JSON.stringify(answer)).not.toContain("canary");
  if (answer !== undefined && answer.kind !== "value") {
    expect(answer.reason).toMatch(row.says);
    expect(answer).toMatchObject(row.waitMs === undefined ? {} : { waitMs: row.waitMs });
  }
  // However it answers: at most one more login.
  expect(server.count("login") - logins).toBeLessThanOrEqual(1);
  provider.close();
  await server.close().catch(() => undefined);
}

const isSlow = ({ name }: ProviderAnswer): boolean => name === "a hang" || name === "a timeout";

// Each takes the whole time that a round may take: they are waited for beside all others.
const slow = PROVIDER_ANSWERS.filter(isSlow).map((row) => ({ row, end: expectClass(row, 2026) }));
for (const { end } of slow) end.catch(() => undefined);

describe.each([2024, 2026] as const)("a server of %d", (generation) => {
  const rows = PROVIDER_ANSWERS.filter((row) => row.only === undefined || row.only === generation);

  test.each(rows.filter((row) => !isSlow(row)))("$name is $class", (row) => expectClass(row, generation));
});

test.each(slow)("a server that does not answer in time: $row.name is $row.class", async ({ end }) => {
  await expect(end).resolves.toBeUndefined();
});
