// What a round of questions to an Infisical server of 2024 and of 2026 costs, and what it makes of refused tokens, rate limits, references,
// imports and odd names, with the real SDK. What the answers mean for services: secret-faults.test.ts and secret-refusals.test.ts.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { HostKey } from "../../../agent/secrets/keeper/host-key.ts";
import { SecretKeeper } from "../../../agent/secrets/keeper/keeper.ts";
import { Redactor } from "../../../shared/secret/redactor.ts";
import { describeAnswers, InfisicalRounds } from "../../builders/data/infisical-rounds.ts";

const APP = "/prod/app/PASSWORD";
const DB = "/prod/db/PASSWORD";
const SECRETS = {
  [APP]: "canary-one",
  [DB]: "canary-two",
  "/prod/db/USER": "canary-user",
  "/other/KEY": "canary-four",
};

describe.each([2024, 2026] as const)("a server of %d", (generation) => {
  let rounds: InfisicalRounds;

  beforeEach(async () => {
    rounds = new InfisicalRounds(generation);
    await rounds.listen(SECRETS);
  });

  afterEach(() => rounds.dispose());

  async function read(paths: readonly string[], within?: readonly string[]): Promise<Record<string, string>> {
    return describeAnswers(await provider().read(paths, within));
  }

  let opened: ReturnType<InfisicalRounds["open"]> | undefined;
  const provider = (): ReturnType<InfisicalRounds["open"]> => (opened ??= rounds.open());
  beforeEach(() => (opened = undefined));

  describe("a new login", () => {
    const REFUSED: [name: string, refuse: () => void][] = [
      ["an expired token", () => rounds.server.expireTokens()],
      ["a revoked token", () => rounds.server.revokeTokens()],
      ["a used-up token", () => rounds.server.revokeTokens("used-up")],
      [
        "a client secret that was rotated, with its tokens",
        () => {
          rounds.server.rotateClientSecret("client-secret-canary-2");
          rounds.writeCredentials();
        },
      ],
    ];

    test.each(REFUSED)("after %s is made as nobody, once, in the same round", async (_name, refuse) => {
      expect((await read([APP]))[APP]).toBe("canary-one");
      refuse();
      expect((await read([APP]))[APP]).toBe("canary-one");
      const logins = rounds.server.seen.filter(({ path }) => path.endsWith("/login"));
      expect(logins.map(({ authorization }) => authorization)).toEqual([undefined, undefined]);
    });

    test("in the middle of a round goes on with what is left", async () => {
      const folders = Array.from({ length: 6 }, (_, index) => `/prod/f${index}/KEY`);
      for (const path of folders) rounds.server.secrets.set(path, `value of ${path}`);
      rounds.server.tokenUses = 4;
      const within = folders.map((path) => path.slice(0, path.lastIndexOf("/")));
      expect(Object.values(await read(folders, within)).every((answer) => answer.startsWith("unavailable"))).toBe(
        false,
      );
      rounds.server.tokenUses = Number.POSITIVE_INFINITY;
      await rounds.clock.advance(61_000);
      expect(await read(folders, within)).toEqual(
        Object.fromEntries(folders.map((path) => [path, `value of ${path}`])),
      );
    });

    test("with a wrong secret names the files, and the right one in them is tried at once", async () => {
      rounds.writeCredentials("wrong");
      let hints = 0;
      provider().watch(() => (hints += 1));
      expect((await read([APP]))[APP]).toMatch(/refused the login: Invalid credentials; check what is in \/.*secret$/);
      await read([APP]);
      expect(rounds.server.count("login")).toBe(1);
      rounds.writeCredentials();
      await expect.poll(() => hints, { timeout: 40_000 }).toBe(1);
      expect((await read([APP]))[APP]).toBe("canary-one");
    });
  });

  describe("requests", () => {
    test("one list where one can do, for 28 folders", async () => {
      const paths = Array.from({ length: 28 }, (_, index) => `/prod/service-${index}/PASSWORD`);
      for (const path of paths) rounds.server.secrets.set(path, `value of ${path}`);
      const answers = await read(paths, ["/prod"]);
      expect(paths.every((path) => answers[path] === `value of ${path}`)).toBe(true);
      const lists = rounds.server.seen.filter(({ path }) => path === "/api/v3/secrets/raw");
      expect(lists.map(({ query }) => [query.get("secretPath"), query.get("recursive")])).toEqual([["/prod", "true"]]);
      expect(rounds.server.count("name")).toBe(0);
    });

    test("never for a folder outside of what the host allows", async () => {
      expect(await read([APP, DB], ["/prod/app", "/prod/db"])).toEqual({ [APP]: "canary-one", [DB]: "canary-two" });
      const asked = rounds.server.seen.flatMap(({ query }) => query.get("secretPath") ?? []);
      expect(asked.toSorted()).toEqual(["/prod/app", "/prod/db"]);
      expect(rounds.server.seen.map(({ query }) => query.get("recursive"))).not.toContain("true");
    });

    test("one for each folder where the common one holds nothing, and not again for an hour", async () => {
      rounds.server.vault.list = (
        (list) => (folder: string, query: URLSearchParams) =>
          query.get("recursive") === "true" ? { status: 200, body: { secrets: [], imports: [] } } : list(folder, query)
      )(rounds.server.vault.list.bind(rounds.server.vault));
      expect(await read([APP, DB])).toEqual({ [APP]: "canary-one", [DB]: "canary-two" });
      expect(rounds.server.count("list")).toBe(3);
      await read([APP, DB]);
      expect(rounds.server.count("list")).toBe(5);
      await rounds.clock.advance(3_600_000);
      await read([APP, DB]);
      expect(rounds.server.count("list")).toBe(8);
    });

    test("what was read before the limit is read, and what is left says when", async () => {
      const paths = Array.from({ length: 50 }, (_, index) => `/prod/service-${index}/PASSWORD`);
      for (const path of paths) rounds.server.secrets.set(path, `value of ${path}`);
      rounds.server.readsPerMinute = 40;
      const answers = await provider().read(
        paths,
        paths.map((path) => path.slice(0, path.lastIndexOf("/"))),
      );
      const kinds = Object.groupBy(answers.values(), ({ kind }) => kind);
      expect([kinds.value?.length, kinds.unavailable?.length]).toEqual([40, 10]);
      expect(kinds.unavailable?.[0]).toMatchObject({
        reason: `it asks for fewer requests (${generation === 2024 ? 500 : 429})`,
        waitMs: 60_000,
      });
    });
  });

  describe("a value that is made of others", () => {
    const URL_PATH = "/prod/app/URL";
    const write = (value: string): void => void rounds.server.secrets.set(URL_PATH, value);

    test("is given with them in it", async () => {
      write("postgres://${prod.prod.db.USER}:${prod.prod.db.PASSWORD}@db/${PASSWORD}");
      expect((await read([URL_PATH]))[URL_PATH]).toBe("postgres://canary-user:canary-two@db/canary-one");
      for (const name of ["A", "B", "C"]) rounds.server.secrets.set(`/prod/app/${name}`, `${name} \${PASSWORD}`);
      rounds.server.seen.splice(0);
      const many = ["/prod/app/A", "/prod/app/B", "/prod/app/C"];
      expect(Object.values(await read(many))).toEqual(["A canary-one", "B canary-one", "C canary-one"]);
      // However many there are, one list more.
      expect(rounds.server.seen.length).toBe(2);
    });

    test.each([
      ["to a name that is not there", "x-${NOT_THERE}-y", "${NOT_THERE}"],
      ["to nothing else at all", "${NOT_THERE}", "${NOT_THERE}"],
      ["between two that are there", "${PASSWORD}${NOT_THERE}${PASSWORD}", "${NOT_THERE}"],
      ["to a folder that is not there", "x-${prod.prod.gone.KEY}-y", "${prod.prod.gone.KEY}"],
      ["through one that is", "x-${BROKEN}-y", "${"],
    ])("and refers %s is never given", async (_name, value, reference) => {
      rounds.server.secrets.set("/prod/app/BROKEN", "${NOT_THERE}");
      write(value);
      const answer = (await read([URL_PATH]))[URL_PATH];
      expect(answer).toMatch(/^not-found: its reference .* leads nowhere/);
      expect(answer).toContain(`its reference ${reference}`);
    });

    test("and refers out of scope is never given, and takes nothing else of its folder away", async () => {
      rounds.server.scopes = ["/prod/app"];
      write("x-${prod.other.KEY}-y");
      const answers = await read([URL_PATH, APP]);
      expect(answers[APP]).toBe("canary-one");
      expect(answers[URL_PATH]).toMatch(
        generation === 2024 ? /^not-found: its reference \$\{prod\.other\.KEY\}/ : /^denied: .*KEY/,
      );
    });

    test("or is not is given to the byte as the server keeps it, which cuts blanks at both ends", async () => {
      const key = "-----BEGIN KEY-----\nMC4CAQ==\n-----END KEY-----";
      rounds.server.secrets.set(URL_PATH, `  ${key}\r\n\r\n`);
      expect((await read([URL_PATH]))[URL_PATH]).toBe(`${key}\n`);
    });

    test("nor one that is blank, while dollars that are no reference are left", async () => {
      write(" \n ");
      rounds.server.secrets.set("/prod/app/SHELL", "echo ${HOME:-/root} $PATH ${}");
      const answers = await read([URL_PATH, "/prod/app/SHELL"]);
      expect(answers[URL_PATH]).toMatch(/^not-found: it is empty/);
      expect(answers["/prod/app/SHELL"]).toBe("echo ${HOME:-/root} $PATH ${}");
    });
  });

  describe("what a folder does not hold", () => {
    test("is found in its imports, the last first, also where other folders are listed with it", async () => {
      rounds.server.imports.set("/prod/app", ["/prod/db", "/other"]);
      const answers = await read([APP, "/prod/app/KEY", "/prod/app/USER", DB], ["/prod"]);
      expect(answers).toEqual({
        [APP]: "canary-one",
        "/prod/app/KEY": "canary-four",
        "/prod/app/USER": "canary-user",
        [DB]: "canary-two",
      });
    });

    test("and imports from out of scope says so, and not only that it is not there", async () => {
      rounds.server.scopes = ["/prod"];
      rounds.server.imports.set("/prod/app", ["/other"]);
      const answers = await read(["/prod/app/KEY", APP]);
      expect(answers[APP]).toBe("canary-one");
      // A server of 2024 does not show that there is such an import.
      expect(answers["/prod/app/KEY"]).toMatch(
        generation === 2024
          ? /^not-found: .*imports it, this identity must be able to read/
          : /^denied: .*\/other, which/,
      );
    });

    test("because its name holds a slash is told by that name, and not given under a path of another folder", async () => {
      rounds.server.vault.oddNames.set("/prod/app", { "we/ird": "canary-odd" });
      expect((await read([APP, "/prod/app/we/ird"]))["/prod/app/we/ird"]).toMatch(
        /^not-found: we\/ird is the name of a secret in \/prod\/app, and a name with a \/ cannot be used: rename it/,
      );
      expect((await read(["/prod/app/we/ird"]))["/prod/app/we/ird"]).toMatch(/the secret's name holds a \//);
    });
  });

  describe("a refusal of everything", () => {
    const OF_ALL: [name: string, refuse: () => void, says: RegExp][] = [
      ["an address that is not trusted", () => (rounds.server.isTrustedAddress = false), /IP address; add this host/],
      [
        "an identity out of the project",
        () => (rounds.server.isMember = false),
        /member of this project.*; add the id/,
      ],
    ];

    test.each(OF_ALL)(
      "%s: the round has failed, after one request, and it says what to do",
      async (_name, refuse, says) => {
        await read([APP]);
        refuse();
        rounds.server.seen.splice(0);
        const answers = await read([APP, DB]);
        for (const path of [APP, DB]) {
          expect(answers[path]).toMatch(/^unavailable: it refuses everything: /);
          expect(answers[path]).toMatch(says);
        }
        expect(rounds.server.seen.length).toBe(1);
        // A person must change that, and so it is not the same as a server that is down.
        expect((await provider().read([APP])).get(APP)).toMatchObject({ refused: true });
        rounds.server.fault = { kind: "reset" };
        expect((await provider().read([APP])).get(APP)).not.toMatchObject({ refused: true });
      },
    );

    test("an unknown project is one, and so is an unknown environment, which is not said of it", async () => {
      const slug = rounds.open({ project: "a-slug" });
      expect(describeAnswers(await slug.read([APP]))[APP]).toMatch(/^unavailable: .*check secrets\.infisical\.project/);
      const staging = await rounds.open({ environment: "staging" }).read([APP, DB]);
      for (const answer of staging.values()) expect(answer).toMatchObject({ listed: false });
    });
  });

  describe("nodes behind one address, which share 40 reads a minute", () => {
    const keepers: SecretKeeper[] = [];

    afterEach(async () => {
      for (const keeper of keepers.splice(0)) await keeper.close();
    });

    function openKeeper(paths: readonly string[], within?: readonly string[]): SecretKeeper {
      const { clock } = rounds;
      const keeper = new SecretKeeper({
        provider: rounds.open(),
        sealed: undefined,
        key: new HostKey(Buffer.alloc(32, keepers.length), "a test"),
        clock,
        redactor: new Redactor(),
        maxStaleMs: 86_400_000,
        onChange: () => undefined,
      });
      keepers.push(keeper);
      clock.isBusy = () => keepers.some(({ isBusy }) => isBusy);
      keeper.want(new Set(paths), within);
      return keeper;
    }

    const knows = (keeper: SecretKeeper, paths: readonly string[]): number =>
      paths.filter((path) => keeper.facts.look(path)?.kind === "value").length;

    function write(count: number): string[] {
      const paths = Array.from({ length: count }, (_, index) => `/prod/service-${index}/PASSWORD`);
      for (const path of paths) rounds.server.secrets.set(path, `value of ${path}`);
      rounds.server.readsPerMinute = 40;
      rounds.server.seen.splice(0);
      return paths;
    }

    test("28 folders over four nodes cost four reads, and a day of polls stays far below", async () => {
      const paths = write(28);
      const nodes = [0, 7, 14, 21].map((from) => {
        const own = paths.slice(from, from + 7);
        return { own, keeper: openKeeper(own, ["/prod"]) };
      });
      await rounds.clock.advance(1_000);
      for (const { own, keeper } of nodes) expect(knows(keeper, own)).toBe(7);
      expect([rounds.server.count("list"), rounds.server.count("name")]).toEqual([4, 0]);
      await rounds.clock.advance(3_600_000);
      expect(rounds.server.count("list")).toBeLessThanOrEqual(4 * 15);
      expect(nodes.every(({ keeper }) => keeper.trouble === undefined)).toBe(true);
    });

    test("60 folders that have no list in common are read in two parts, each of them once", async () => {
      const paths = write(60);
      const keeper = openKeeper(
        paths,
        paths.map((path) => path.slice(0, path.lastIndexOf("/"))),
      );
      await rounds.clock.advance(1_000);
      expect([knows(keeper, paths), keeper.trouble]).toEqual([40, undefined]);
      await rounds.clock.advance(58_000);
      expect(knows(keeper, paths)).toBe(40);
      await rounds.clock.advance(10_000);
      expect([knows(keeper, paths), keeper.trouble]).toEqual([60, undefined]);
      const asked = rounds.server.seen.flatMap(({ query }) => query.get("secretPath") ?? []);
      // The limiter's refusals apart, of which there is one for each that was asked for at once.
      expect(asked.length).toBeLessThanOrEqual(64);
      // And polled again and again they stay known.
      await rounds.clock.advance(1_800_000);
      expect([knows(keeper, paths), keeper.trouble]).toEqual([60, undefined]);
    });
  });

  test("what a server does not take as a path is the fault of that path alone", async () => {
    const find = rounds.server.vault.find.bind(rounds.server.vault);
    rounds.server.vault.find = (folder, name, query) =>
      name === "ODD"
        ? generation === 2024
          ? { status: 401, body: { error: "ValidationFailure", message: [{ message: "too odd" }] } }
          : { status: 422, body: { error: "ValidationFailure", message: [{ message: "too odd" }] } }
        : find(folder, name, query);
    const answers = await read([APP, "/prod/app/ODD"]);
    expect(answers).toEqual({
      [APP]: "canary-one",
      "/prod/app/ODD": "not-found: the server does not take this path: too odd",
    });
    expect(rounds.server.count("login")).toBe(1);
  });
});
