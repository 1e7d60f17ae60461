// Keys, signatures and what they may change, taken apart: the pure half of trusted keys. Whatever comes in, nothing is thrown
// and nothing is trusted that is not one key's signature for Git.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { listChanged, mayChange, readFleetValues, type Scope } from "../../../agent/sources/git/trust/git-scopes.ts";
import type { TagFault } from "../../../shared/state/hold.ts";
import { canDescribeFault, describeRefusedTag } from "../../../shared/text/words/source-words.ts";
import { splitCommit, splitTag } from "../../../agent/sources/git/trust/git-signature.ts";
import { agentConfigSchema } from "../../../shared/config/agent-config.ts";
import { parseToml } from "../../../shared/text/parse-toml.ts";
import { parseSshKey } from "../../../shared/fleet/ssh-key.ts";
import type { TrustedKey } from "../../../shared/config/trusted-key.ts";

const LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

function wire(...parts: (string | Buffer)[]): Buffer {
  return Buffer.concat(
    parts.flatMap((part) => {
      const bytes = Buffer.from(part as string);
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      return [length, bytes];
    }),
  );
}

const KEY = wire("ssh-ed25519", Buffer.alloc(32, 7));

function armour(namespace: string, version = 1): string {
  const blob = Buffer.concat([
    Buffer.from("SSHSIG"),
    Buffer.from([0, 0, 0, version]),
    wire(KEY, namespace, "", "sha512", "s"),
  ]);
  const lines = blob.toString("base64").match(/.{1,70}/g) ?? [];
  return ["-----BEGIN SSH SIGNATURE-----", ...lines, "-----END SSH SIGNATURE-----"].join("\n");
}

function buildCommit(signature: string): string {
  const header = signature === "" ? "" : `gpgsig ${signature.replaceAll("\n", "\n ")}\n`;
  return `tree ${"a".repeat(40)}\nauthor Jäne <j@e> 1 +0000\ncommitter C <c@e> 1 +0000\n${header}encoding x\n\nsubject\n\nbody gpgsig x\n`;
}

describe("a public key", () => {
  test("is told by its fingerprint, as ssh-keygen prints it; its comment does not matter", () => {
    const fingerprint = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";
    expect(parseSshKey(LINE)).toEqual({ line: LINE, fingerprint });
    expect(parseSshKey(`  ${LINE}   jane@example.com and more\n`)).toEqual({ line: LINE, fingerprint });
  });

  test.each([
    ["", /nothing is no type of key/],
    ["ssh-dss AAAA", /ssh-dss is no type/],
    ["ssh-ed25519", /is not the key that the first says/],
    ["ssh-ed25519 AAAA!", /is not the key/],
    [LINE.replace("ssh-ed25519", "ssh-rsa"), /is not the key/],
    ["-----BEGIN OPENSSH PRIVATE KEY-----", /a private key, which belongs on no server/],
    [`restrict ${LINE}`, /restrict is no type/],
  ])("is refused: %s", (text, says) => {
    expect(parseSshKey(text)).toMatch(says);
  });

  test("in agent.toml has its scopes, and mistakes are named", async () => {
    const parse = async (keys: string): Promise<unknown> => {
      const git = `url = "https://git.example.com/a/b.git", trusted_keys = ${keys}`;
      const parsed = await parseToml(agentConfigSchema, `node = "a"\nsource = { git = { ${git} } }`, "agent.toml");
      return parsed.ok
        ? parsed.value.source.git?.trusted_keys
        : parsed.problems.map(({ key, message }) => [key, message]);
    };
    expect(await parse(`[{ key = "${LINE} jane", name = "jane", nodes = ["vm-edge", "*"] }]`)).toMatchObject([
      { line: LINE, name: "jane", nodes: ["vm-edge", "*"], fleet: false },
    ]);
    const at = "source.git.trusted_keys";
    expect(await parse("[]")).toEqual([[at, expect.any(String)]]);
    expect(await parse(`[{ key = "${LINE}" }]`)).toEqual([[`${at}[0]`, "this key is allowed nothing"]]);
    expect(await parse(`[{ key = "jane", fleet = true }]`)).toEqual([
      [`${at}[0].key`, expect.stringMatching(/not a public/)],
    ]);
    expect(await parse(`[{ key = "${LINE}", nodes = ["A b"] }]`)).toEqual([[`${at}[0].nodes[0]`, expect.any(String)]]);
    const twice = `{ key = "${LINE}", fleet = true }`;
    expect(await parse(`[${twice}, ${twice}]`)).toEqual([[`${at}[1].key`, expect.stringMatching(/is listed already/)]]);
  });
});

describe("a signature", () => {
  test("is taken out of a commit, and what is left is what was signed", () => {
    const { payload, signature } = splitCommit(Buffer.from(buildCommit(armour("git"))));
    expect(payload.toString()).toBe(buildCommit(""));
    expect(signature).toEqual({ kind: "ssh", armored: `${armour("git")}\n`, key: KEY });
    expect(splitCommit(Buffer.from(buildCommit("")))).toMatchObject({ signature: { kind: "none" } });
  });

  test("is taken off the end of a tag", () => {
    const text = `object ${"a".repeat(40)}\ntype commit\ntag v1\ntagger J <j@e> 1 +0000\n\nwords\n`;
    const { payload, signature } = splitTag(Buffer.from(`${text}${armour("git")}\n`));
    expect([payload.toString(), signature.kind]).toEqual([text, "ssh"]);
    expect(splitTag(Buffer.from(text))).toEqual({ payload: Buffer.from(text), signature: { kind: "none" } });
  });

  test.each([
    ["another purpose", armour("file"), "broken-signature"],
    ["another version", armour("git", 2), "broken-signature"],
    ["two in one", `${armour("git")}\n${armour("git")}`, "broken-signature"],
    ["GPG", "-----BEGIN PGP SIGNATURE-----\nx\n-----END PGP SIGNATURE-----", "gpg-signature"],
    ["nothing", "x", "foreign-signature"],
  ])("that is of %s is never one", (_what, text, code) => {
    const { signature } = splitCommit(Buffer.from(buildCommit(text)));
    expect(signature).toEqual({ kind: "unusable", why: { code } });
  });

  test("that is twofold is none", () => {
    const text = buildCommit(armour("git")).replace("encoding", "gpgsig-sha256 x\nencoding");
    expect(splitCommit(Buffer.from(text)).signature).toEqual({
      kind: "unusable",
      why: { code: "several-signatures" },
    });
  });

  test("is looked for in any bytes without a fault, and none is made up", () => {
    const piece = fc.constantFrom(
      "gpgsig ",
      "\n",
      " ",
      "-----BEGIN SSH SIGNATURE-----",
      "-----END SSH SIGNATURE-----",
      "AAAA",
      "\n\n",
      "é",
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.array(piece).map((pieces) => Buffer.from(pieces.join(""))),
        ),
        (bytes) => {
          for (const split of [splitCommit, splitTag]) {
            const { payload, signature } = split(bytes);
            expect(payload.length).toBeLessThanOrEqual(bytes.length);
            if (signature.kind === "none") expect(Buffer.compare(payload, Buffer.from(bytes))).toBe(0);
          }
        },
      ),
    );
  });
});

describe("what a key may change", () => {
  const key = (nodes: string[], fleet = false): TrustedKey => ({
    line: "",
    fingerprint: "",
    name: undefined,
    nodes,
    fleet,
  });

  test("follows from its list", () => {
    const keys = [key(["vm1"]), key(["vm2"]), key(["*"]), key([], true)];
    const judge = (scope: Scope): boolean[] => keys.map((each) => mayChange(each, scope));
    expect(judge("directory vm1")).toEqual([true, false, true, false]);
    expect(judge("entry vm1")).toEqual([true, false, true, true]);
    expect(judge("fleet")).toEqual([false, false, false, true]);
  });

  const change = (before: string, after: string): Scope[] =>
    listChanged(readFleetValues(before), readFleetValues(after));
  const NODE = '[nodes.vm1]\naddress = "10.0.0.1"\nenv = "prod"\nmemory = "8GiB"\n';

  test("is told by what fleet.toml says, not by how it is written", () => {
    const inline = 'nodes = { vm1 = { memory = "8GiB", env = "prod", address = "10.0.0.1" } }';
    expect(change(NODE, `# words\n\n${inline}\n`)).toEqual([]);
    expect(change(NODE, NODE.replace("8GiB", "9GiB"))).toEqual(["entry vm1"]);
    expect(change(NODE, `${NODE}cpus = 2\nreserve = "1GiB"\ndata = { mount = "/mnt/data" }\n`)).toEqual(["entry vm1"]);
  });

  test.each([
    ['env = "stage"\n', "env"],
    ['approval = "tag"\n', "approval"],
    ['public_key = "ed25519:x"\n', "keys"],
    ['rollout = { after = "stage" }\n', "rollout"],
    ['freeze = [{ schedule = "0 16 * * 5", for = "64h" }]\n', "freeze"],
    ['agent = { version = "1.4.2", sha256 = "x" }\n', "agent"],
    ['standby_for = "vm2"\n', "standby"],
    ["network = { internal = false }\n", "network"],
    ["something_new = true\n", "what a later version adds"],
    ['[repositories.s3]\nrecipients = ["age1x"]\n', "repositories"],
    ["[alerts]\n", "alerts"],
  ])("is guarded: %s", (line) => {
    const without = NODE.replace('env = "prod"\n', "");
    const before = `${without}${line.startsWith("env") ? 'env = "prod"\n' : ""}`;
    expect(change(before, `${without}${line}`)).toEqual(["fleet"]);
  });

  test("is guarded where a node comes or goes, or nothing can be read", () => {
    const more = `${NODE}[nodes.vm2]\nenv = "prod"\n`;
    expect(change(NODE, more)).toEqual(["fleet", "entry vm2"]);
    expect(change(more, NODE)).toEqual(["fleet", "entry vm2"]);
    for (const text of ["[nodes", "nodes = 5", "[[nodes]]", `${NODE}x = 1\n${"#".repeat(2 ** 20)}`])
      expect(change(NODE, text)[0]).toBe("fleet");
    expect(change("nodes = 5", "nodes = 6")).toEqual(["fleet"]);
    expect(change("[nodes]\nvm1 = 5", "[nodes]\nvm1 = 6")).toEqual(["fleet"]);
  });

  test("no two different values of what is guarded look the same", () => {
    for (const [before, after] of [
      ["x = 1", 'x = "1"'],
      ["x = nan", "x = inf"],
      ["x = 1979-05-27T07:32:00Z", "x = 1979-05-27T07:32:01Z"],
      ["x = []", "x = {}"],
      ["x = inf", "x = -inf"],
    ] as const)
      expect(change(before, after)).toEqual(["fleet"]);
  });
});

describe("why a tag or a commit does not count", () => {
  test.each<[TagFault, RegExp]>([
    [{ code: "unsigned" }, /it is not signed$/],
    [{ code: "several-signatures" }, /more than one signature$/],
    [{ code: "gpg-signature" }, /GPG signature, which is not checked: sign with an SSH key$/],
    [{ code: "foreign-signature" }, /not SSH's$/],
    [{ code: "broken-signature" }, /cannot be read$/],
    [{ code: "key-not-listed", fingerprint: "SHA256:k" }, /SHA256:k, which source\.git\.trusted_keys does not list$/],
    [{ code: "signature-bad", key: "SHA256:k (jane)" }, /by SHA256:k \(jane\) is bad/],
    [{ code: "key-not-allowed", key: "SHA256:k", node: "vm1" }, /by SHA256:k is good, but .* not allowed for vm1$/],
    [{ code: "lightweight-tag", signed: true }, /git tag -s\)$/],
    [{ code: "tag-of-a-tag" }, /tag the commit itself$/],
    [{ code: "made-as-another", name: "v1" }, /made as v1$/],
  ])("%j is worded", (why, says) => expect(describeRefusedTag({ tag: "x", why })).toMatch(says));

  test("a reason that another version gives is not worded by this one", () => {
    const fault = {
      code: "not-trusted",
      commit: "a",
      author: "J",
      node: "vm1",
      first: true,
      what: "",
      needs: "",
      merged: false,
    };
    expect(canDescribeFault({ ...fault, why: { code: "unsigned" } })).toBe(true);
    for (const why of [{ code: "of-tomorrow" }, "in words", undefined])
      expect(canDescribeFault({ ...fault, why })).toBe(false);
  });
});
