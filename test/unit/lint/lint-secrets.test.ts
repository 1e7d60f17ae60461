// Secrets written where only their paths belong. No message may hold the value.

import { assert, constantFrom, property, string, tuple, uniqueArray } from "fast-check";
import { describe, expect, it } from "vitest";

import { isSecretName, looksRandom } from "../../../agent/desired/checks/secrets/secret-shapes.ts";
import { type Content, lintFiles, lintShort, service } from "../../builders/git/repository.ts";
import { readCpuMs } from "../../builders/data/cpu-time.ts";

/** Joined here, so that no scanner of this repository takes them for real. */
const TOKENS = Object.fromEntries(
  Object.entries({
    aws: ["AKIA", "IOSFODNN7EXAMPLE"],
    github: ["ghp_", "a1B2".repeat(9)],
    githubFine: ["github_pat_", "11ABCDEFG0".repeat(3)],
    gitlab: ["glpat-", "x1Y2z3".repeat(4)],
    openai: ["sk-", "proj-a1B2c3D4e5F6g7H8"],
    slack: ["xoxb-", "123456789012-abcdef"],
    hook: ["https://hooks.slack.com/services/", "T00000000/B00000000/", "X".repeat(24)],
    stripe: ["sk_live_", "4eC39HqLyjWD"],
    pem: ["-----BEGIN RSA ", "PRIVATE KEY", "-----"],
    jwt: ["eyJhbGciOiJIUzI1NiJ9.", "eyJzdWIiOiIxMjM0NTY3ODkwIn0", ".c2lnbmF0dXJl"],
    age: ["AGE-SECRET-KEY-1", "QPZRY9X8GF2TVDW0S3JN"],
    vault: ["hvs.", "CAESIJ1234567890abcdefgh"],
  }).map(([name, parts]) => [name, parts.join("")]),
);
const HEX_KEY = "9f86d081884c7d659a2feaa0c55ad015";
const BASE64_KEY = "k7Qz9mX2vR8pL4nB6wT1yH3sD5fG0jKc";

const env = (name: string, value: string): string => service("", `[env]\n${name} = ${JSON.stringify(value)}`);
/** Another check's word on a placeholder is not meant here. */
const lintOne = async (text: string): Promise<string[]> =>
  (await lintShort({ "manifests/vm-a/app.toml": text })).filter((line) => !line.includes(" no-interpolation "));

describe("variables", () => {
  it.each([
    "POSTGRES_PASSWORD",
    "dbPassword",
    "MYSQL_ROOT_PASSWORD",
    "JWT_SECRET",
    "SECRET_KEY_BASE",
    "API_TOKEN",
    "STRIPE_API_KEY",
    "SMTP_PASS",
    "ENCRYPTION_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "GITHUB_TOKENS",
    "DB_PASSWORD_2",
  ])("named %s hold no literal", async (name) => {
    expect(await lintOne(env(name, "hunter2-and-more"))).toEqual([`error secret-literal vm-a/app:5:1 env.${name}`]);
  });

  it.each([
    ["POSTGRES_PASSWORD_FILE", "anything"],
    ["DB_PASSWORD", "/run/secrets/db"],
    ["DB_PASSWORD", "file:/run/x"],
    ["DB_PASSWORD", ""],
    ["ALLOW_EMPTY_PASSWORD", "yes"],
    ["DB_PASSWORD", "${DB_PASSWORD}"],
    ["JWT_SECRET", "<set>"],
    ["TOKEN_URL", "https://auth.example/token"],
    ["TOKEN_TTL", "3600"],
    ["MAX_TOKENS", "4096"],
    ["TOKEN", "900"],
    ["SECRET_PROVIDER", "infisical"],
    ["PASSWORD_HASHER", "argon2id"],
    ["JWT_TOKEN_ISSUER", "orca"],
    ["ACCESS_KEY_ID", "minio"],
    ["DISABLE_PASSWORD_LOGIN", "maybe"],
    ["PASSENGER_COUNT", "many"],
    ["PWD", "/srv"],
    ["NEXT_PUBLIC_TOKEN", "pk"],
    ["AUTH_SECRET_PATH", "prod/x"],
    ["API_KEY_HEADER", "X-Api-Key"],
    ["API_TOKEN", "vault:secret/data/x#y"],
    ["TOKENIZER_MODEL", "bert"],
    ["SECRETARY", "ann"],
  ])("%s = %j is no secret", async (name, value) => {
    expect(await lintOne(env(name ?? "", value ?? ""))).toEqual([]);
  });

  it("with a number for a password are found, and with the shape of a token under any name", async () => {
    expect(await lintOne(env("DB_PASSWORD", "123456"))).toHaveLength(1);
    for (const [kind, token] of Object.entries(TOKENS)) {
      const found = await lintOne(env("NOTE", `x ${token} y`));
      expect([kind, ...found]).toEqual([kind, "error secret-literal vm-a/app:5:1 env.NOTE"]);
    }
  });

  it("hold no password in a URL, but a user or a placeholder", async () => {
    const bad = ["postgres://app:hunter2@db:5432/app", "see https://:pw@host/ too", "amqp://u:p%40w@mq"];
    for (const url of bad) expect([url, (await lintOne(env("DATABASE_URL", url))).length]).toEqual([url, 1]);
    const good = ["postgres://app@db:5432/app", "postgres://app:${PW}@db/app", "http://host:8080/a@b", "user:pw@host"];
    for (const url of good) expect([url, ...(await lintOne(env("DATABASE_URL", url)))]).toEqual([url]);
  });

  it("that look random are found, unless their name or form says that they are public", async () => {
    for (const value of [HEX_KEY, BASE64_KEY, HEX_KEY.repeat(2), `x=${BASE64_KEY}`]) {
      expect([value, (await lintOne(env("SALT", value))).length]).toEqual([value, 1]);
    }
    const publicOnes = [
      ["SITE_ID", HEX_KEY],
      ["GIT_COMMIT", HEX_KEY],
      ["IMAGE", `sha256:${HEX_KEY.repeat(2)}`],
      ["REQUEST", "123e4567-e89b-12d3-a456-426614174000"],
      ["RECIPIENT", `age1${BASE64_KEY.toLowerCase()}`],
      ["KEY", `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5${BASE64_KEY}`],
      ["CLASS", "com/example/platform/billing/InvoiceServiceImplementation2"],
      ["HOSTS", "postgres-exporter-custom-queries-2024-01-15-final"],
      ["FLAGS", "-XX:MaxMetaspaceSize=256m -XX:ReservedCodeCacheSize=128m"],
    ];
    for (const [name = "", value = ""] of publicOnes) {
      expect([name, ...(await lintOne(env(name, value)))]).toEqual([name]);
    }
  });
});

describe("arguments, labels, options, probes", () => {
  it.each([
    ['command = ["redis-server", "--requirepass", "hunter2"]', "1:45 command[2]"],
    ['command = ["serve", "--api-key=abc-def-ghi"]', "1:21 command[1]"],
    ['command = ["sh", "-c", "PASSWORD=hunter2 exec app"]', "1:24 command[2]"],
    [`command = ["sh", "-c", "app --token 'abcdefgh' run"]`, "1:24 command[2]"],
    ['entrypoint = ["app", "mysql://root:hunter2@db"]', "1:22 entrypoint[1]"],
    [`labels = { note = "${TOKENS.github}" }`, "1:12 labels.note"],
    ['labels = { "app.token" = "abc-def" }', '1:12 labels."app.token"'],
    ['wants = ["https://h.example/?access_token=abcdef"]', "1:10 wants[0]"],
  ])("are looked through: %s", async (top, place) => {
    expect(await lintOne(service(top))).toEqual([`error secret-literal vm-a/app:${place}`]);
  });

  it.each([
    'command = ["serve", "--password-file", "/run/secrets/pw", "--token-ttl", "15m"]',
    'command = ["sh", "-c", "PASSWORD=$(cat /run/secrets/pw) TOKEN=\\"$TOKEN\\" exec app --api-key ${KEY}"]',
    'command = ["serve", "--token", "--verbose"]',
    'command = ["--secret-backend", "infisical", "--authors", "a, b"]',
    'labels = { "traefik.http.routers.app.rule" = "Host(`a.example`)" }',
  ])("may name secrets: %s", async (top) => {
    expect(await lintOne(service(top))).toEqual([]);
  });

  it("of health checks, file changes and backups are looked through", async () => {
    const tables = [
      '[[volumes]]\nname = "d"\ntarget = "/d"',
      '[[files]]\nsource = "files/x"\ntarget = "/x"\non_change = { exec = ["reload", "--token=abcdef"] }',
      '[[backups]]\nname = "b"\nengine = "command"\nschedule = "every 5h"\ncommand = ["dump", "-p", "--password=hunter2"]',
    ].join("\n");
    const text = service("", tables).replace(
      "{ tcp = { port = 8080 } }",
      '{ exec = ["curl", "http://a:b@localhost"] }',
    );
    const files = { "manifests/vm-a/app.toml": text, "manifests/vm-a/files/x": "x" };
    expect(await lintShort(files)).toEqual([
      "error secret-literal vm-a/app:10:33 files[0].on_change.exec[1]",
      "error secret-literal vm-a/app:15:26 backups[0].command[2]",
      "error secret-literal vm-a/app:2:28 health.exec[1]",
    ]);
  });
});

describe("files and comments", () => {
  it("hold no private keys and no tokens; binary files too", async () => {
    const binary = Buffer.concat([Buffer.from([0, 255, 10, 10]), Buffer.from(`  ${TOKENS.aws}`), Buffer.from([0])]);
    const files: Record<string, Content> = {
      "manifests/vm-a/files/tls/server.key": `a\n\n  ${TOKENS.pem}\nMII\n`,
      "manifests/vm-a/files/ca.pem": "-----BEGIN CERTIFICATE-----\nMII\n",
      "manifests/vm-b/blob": binary,
      "manifests/vm-b/files/pub": "-----BEGIN PUBLIC KEY-----",
    };
    expect(await lintShort(files)).toEqual([
      "error secret-in-file vm-a/files/tls/server.key:3:3",
      "error secret-in-file vm-b/blob:3:3",
    ]);
  });

  it("of manifests and of fleet.toml are looked through", async () => {
    const manifest = `${service("", '[env]\nA = "#"  # b')}# was ${TOKENS.github}\nstate = 5 # ${TOKENS.gitlab}\n`;
    const problems = await lintShort({ "manifests/vm-a/app.toml": manifest });
    expect(problems.filter((line) => line.includes("secret"))).toEqual([
      "error secret-literal vm-a/app:6:7",
      "error secret-literal vm-a/app:7:13",
    ]);
    const fleet = `# ${TOKENS.aws}\n[nodes.vm-a]\naddress = "10.0.0.1"\nenv = "prod"\nmemory = "1GiB"\n[nodes.vm-b]\naddress = "10.0.0.2"\nenv = "prod"\nmemory = "1GiB"\n[nodes.vm-stage]\naddress = "10.0.0.3"\nenv = "prod"\nmemory = "1GiB"\n[repositories.s3]\nkind = "s3"\nendpoint = "https://key:hunter2@s3.example"\nbucket = "bbb"\nregion = "r"\nsecret = "/a"\n`;
    expect(await lintShort({ "fleet.toml": fleet })).toEqual([
      "error secret-literal fleet:16:1 repositories.s3.endpoint",
      "error secret-literal fleet:1:3",
    ]);
  });
});

describe("messages", () => {
  it("never hold what was found", async () => {
    const value = "hunter2-and-more-0815";
    const texts = [
      env("DB_PASSWORD", value),
      service(`command = ["--token=${value}", "--password", "${value}", "x://u:${value}@h"]`),
      env("NOTE", `${TOKENS.github}${value}`),
      service("", `[env]\nDB_PASSWORD = ["${value}"]\nB = { c = "${value}" }`),
      service(`requires = ["https://u:${value}@host", "tcp://u:${value}@host"]`),
      service(`[[[${value}`),
      service("", `[secrets.env]\nA = "${value}"\n[secrets.files]\nb = "${value}"`),
      service(`image2 = "https://u:${value}@registry/x"`).replace("app:1", `https://u:${value}@registry/x`),
    ];
    for (const text of texts) {
      const problems = await lintFiles({ "manifests/vm-a/app.toml": text });
      expect(problems).not.toEqual([]);
      expect(JSON.stringify(problems)).not.toContain(value);
    }
  });
});

describe("randomness", () => {
  const BASE62 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".split("");
  const WORDS = ["postgres", "exporter", "custom", "queries", "Service", "Config", "backup", "Handler", "v2", "2024"];

  it("is found in nearly every key of 40 characters, and never in words", () => {
    let missed = 0;
    const key = string({ unit: constantFrom(...BASE62), minLength: 40, maxLength: 40 });
    assert(
      property(key, (text) => {
        // What fast-check shrinks to or biases towards is not random: those texts are no keys.
        if (new Set(text).size >= 22 && !looksRandom("SALT", text)) missed += 1;
      }),
      { numRuns: 1_000 },
    );
    expect(missed).toBeLessThanOrEqual(20);
    const words = tuple(
      uniqueArray(constantFrom(...WORDS), { minLength: 5, maxLength: 8 }),
      constantFrom("-", "_", "", "/"),
    );
    assert(
      property(words, ([list, joint]) => {
        expect(looksRandom("NAME", list.join(joint))).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  it("and names are looked at in bounded time, whatever they hold", () => {
    const started = readCpuMs();
    for (const unit of ["a", "A1", "_", "eyJ-", "://u:", "PASSWORD_", "a=", "-", "aB1+"]) {
      const text = unit.repeat(Math.ceil(2 ** 20 / unit.length));
      looksRandom("SALT", text);
      isSecretName(text);
    }
    expect(readCpuMs() - started).toBeLessThan(1_000);
  });
});
