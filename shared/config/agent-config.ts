// /etc/orca/agent.toml: what one host tells its agent (contract, section 2). Never in Git. Read by the CLI's `agent`.

import * as z from "zod";

import { FRONT_IMAGE } from "../state/front.ts";
import { absolutePath, durationMs, imageReference, name, positiveDurationMs, sizeBytes } from "../text/schema-leaf.ts";
import { trustedKeysSchema } from "./trusted-key.ts";

const listenAddress = z
  .string()
  .regex(/^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]|localhost):\d{1,5}$/, 'write "127.0.0.1:7070"')
  .refine((text) => Number(text.slice(text.lastIndexOf(":") + 1)) <= 65_535, "a port is at most 65535");

/** Status listens on loopback alone: reading needs no login there, so it may be reached from nowhere else. */
const loopbackAddress = listenAddress.refine((text) => /^(127\.|\[::1\]|localhost:)/.test(text), {
  message: "status is served on loopback only",
  params: { hint: 'write "127.0.0.1:7070"' },
});

/** Status and logs show the URL, so nothing secret may stand in it. */
const repositoryUrl = z.url({ protocol: /^https?$/ }).refine((text) => !/^https?:\/\/[^/]*@|[?#]/.test(text), {
  message: "a repository's URL has no user, password, query or fragment",
  params: { hint: 'write "https://git.example.com/acme/platform.git", and the token into token_file' },
});

const gitSource = z.strictObject({
  url: repositoryUrl,
  branch: z
    .string()
    .regex(/^(?![/.-])[\w./+@-]+(?<![/.])$/, 'write a branch\'s name, such as "main"')
    .default("main"),
  path: z.string().default("orca").describe("The directory that holds orca/, or orca/ itself."),
  poll: positiveDurationMs.default(15_000).describe("How often the branch is asked for; jittered by a tenth."),
  timeout: positiveDurationMs.default(120_000).describe("How long one fetch may take."),
  max_size: sizeBytes.default(33_554_432).describe("The largest pack that is taken."),
  token_file: absolutePath
    .optional()
    .describe("Root-owned 0600 file that holds a token with the right to read, or user:token."),
  ca_file: absolutePath.optional().describe("The CA, in PEM form, that the server's certificate must come from."),
  trusted_keys: trustedKeysSchema
    .optional()
    .describe("Keys whose signatures count, and for what; without them every commit is taken."),
});

const webhook = z.strictObject({
  listen: listenAddress.describe("Where pushes are received; their path is /webhook."),
  secret_file: absolutePath.describe("Root-owned 0600 file that holds the secret that the forge signs with."),
});

/** Keys of `source` that need a forge. */
const FORGE_KEYS = ["webhook", "status_token_file", "status_url", "api_url"] as const;

/** Anything else in braces would lead nowhere. */
const statusUrl = z
  .string()
  .refine((text) => URL.canParse(text) && /^https?:/.test(text), 'write "https://status.example.com/{node}"')
  .refine(
    (text) => !/[{}]/.test(text.replaceAll(/\{(?:node|sha)\}/g, "")),
    "only {node} and {sha} stand for something",
  );

const source = z
  .strictObject({
    git: gitSource.optional(),
    dir: absolutePath.optional(),
    webhook: webhook.optional(),
    status_token_file: absolutePath
      .optional()
      .describe("Root-owned 0600 file with a token that may write the repository: commit statuses are told with it."),
    status_url: statusUrl.optional().describe("Where a commit status leads to; {node} and {sha} stand for those."),
    api_url: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe("The forge's API, where it is not at /api/v1 beside the repository."),
  })
  .superRefine((value, ctx) => {
    for (const key of FORGE_KEYS) {
      if (value[key] === undefined || value.dir === undefined) continue;
      ctx.addIssue({
        code: "custom",
        path: [key],
        message: "a directory has no forge that would push to it or take a status; it is watched",
        params: { hint: "take it out, or write git = { … } in place of dir" },
      });
    }
    if ((value.git === undefined) !== (value.dir === undefined)) return;
    ctx.addIssue({
      code: "custom",
      message: "the source is either git or dir",
      params: { hint: 'write git = { url = "…", branch = "main" } or dir = "/srv/manifests"' },
    });
  });

const secrets = z
  .strictObject({
    infisical: z
      .strictObject({
        url: z.url({ protocol: /^https?$/ }),
        project: z.string().min(1),
        environment: z.string().min(1),
        client_id_file: absolutePath.describe("Root-owned 0600 file that holds the machine identity's client id."),
        client_secret_file: absolutePath.describe("The same with its client secret."),
        ca_file: absolutePath.optional().describe("The CA, in PEM form, that the server's certificate must come from."),
        poll: positiveDurationMs.default(300_000).describe("How often it is asked; jittered by a tenth."),
      })
      .refine(({ url, ca_file: ca }) => ca === undefined || url.startsWith("https:"), {
        message: "a CA is for TLS",
        params: { hint: "write https:// into url" },
      })
      .optional(),
    file: absolutePath.optional().describe("A file of secrets on this host, as orca secrets makes it."),
    identity_file: absolutePath
      .optional()
      .describe("Root-owned 0600 file with the age key that opens it; beside it with .key at the end when left out."),
    plain: z.boolean().default(false).describe("Lets the file be unencrypted (chmod 600); status shows that it may."),
    key_file: absolutePath
      .optional()
      .describe(
        "Root-owned 0600 file with this host's key, 32 bytes or more; made in the state directory when left out.",
      ),
    max_stale: positiveDurationMs
      .default(604_800_000)
      .describe("How old a last known value may be while the provider cannot be asked."),
  })
  .superRefine((value, ctx) => {
    if ((value.infisical === undefined) !== (value.file === undefined)) return;
    ctx.addIssue({
      code: "custom",
      message: "there is one provider of secrets",
      params: { hint: "write infisical or file" },
    });
  });

const alerts = z.strictObject({
  webhook_file: absolutePath.describe("Root-owned 0600 file that holds the webhook's URL: the URL is a secret."),
  min: z.enum(["info", "warning", "critical"]).default("warning"),
  repeat: durationMs.default(21_600_000),
});

const update = z
  .strictObject({
    url: repositoryUrl.optional().describe("The directory that holds packages and their signatures."),
    ca_file: absolutePath.optional().describe("The CA, in PEM form, that the server's certificate must come from."),
    dir: absolutePath.optional().describe("The same on this host, in place of url."),
  })
  .refine(({ url, dir }) => (url === undefined) !== (dir === undefined), {
    message: "packages are taken from either url or dir",
    params: { hint: 'write url = "https://releases.example.com/orca" or dir = "/srv/orca/packages"' },
  });

/** Status shows it, so nothing secret may stand in it. */
const natsUrl = z
  .string()
  .refine((text) => /^(nats|tls):\/\/[\w.-]+(:\d{1,5})?$|^(nats|tls):\/\/\[[0-9a-fA-F:]+\](:\d{1,5})?$/.test(text), {
    message: "a NATS server has a name or address and a port, and no user or password",
    params: { hint: 'write "tls://nats.example.com:4222", and the credentials into creds_file' },
  });

const natsBackend = z
  .strictObject({
    nats: z
      .union([natsUrl, z.array(natsUrl).min(1).max(16)])
      .transform((value) => (typeof value === "string" ? [value] : value))
      .describe("The servers, tls:// or nats://; any one that answers is used."),
    creds_file: absolutePath.optional().describe("Root-owned 0600 file with a user's credentials, as nsc writes it."),
    nkey_file: absolutePath.optional().describe("Root-owned 0600 file with a user's NKey seed."),
    ca_file: absolutePath.optional().describe("The CA, in PEM form, that the server's certificate must come from."),
    cert_file: absolutePath.optional().describe("This node's certificate, where the server asks for one."),
    key_file: absolutePath.optional().describe("Root-owned 0600 file with its key."),
    replicas: z
      .union([z.literal(1), z.literal(3), z.literal(5)])
      .default(1)
      .describe("Copies of the bucket, where the agents make it: at most as many as there are servers."),
  })
  .refine(({ creds_file: creds, nkey_file: nkey }) => creds === undefined || nkey === undefined, {
    message: "an agent goes to the server as one user",
    params: { hint: "write creds_file or nkey_file" },
  })
  .refine(({ nats, ca_file: ca, cert_file: cert }) => (ca ?? cert) === undefined || nats.every(isTls), {
    message: "certificates are for TLS",
    params: { hint: "write tls:// into nats, for each server" },
  })
  .refine(({ cert_file: cert, key_file: key }) => (cert === undefined) === (key === undefined), {
    message: "a certificate and its key go together",
    params: { hint: "write cert_file and key_file" },
  });

function isTls(url: string): boolean {
  return url.startsWith("tls:");
}

/** The schema of agent.toml. */
export const agentConfigSchema = z
  .strictObject({
    node: name,
    source,
    secrets: secrets.optional(),
    gossip: z
      .strictObject({
        listen: listenAddress.optional().describe("This node's private address; not with a backend."),
        identity_file: absolutePath,
        backend: natsBackend.optional(),
      })
      .refine(({ listen, backend }) => (listen === undefined) !== (backend === undefined), {
        message: "nodes speak to each other on listen, or through backend, not both and not neither",
        params: { hint: 'write listen = "10.0.0.10:7946" or backend = { nats = "tls://nats.example.com:4222" }' },
      })
      .optional(),
    status: z
      .strictObject({ listen: z.array(loopbackAddress).default(["127.0.0.1:7070", "127.0.0.1:80"]) })
      .prefault({}),
    docker: z
      .strictObject({
        socket: absolutePath.default("/var/run/docker.sock"),
        front_image: imageReference
          .default(FRONT_IMAGE)
          .describe("HAProxy, for the fronts of start-first services; this host's own word, no policy asks for it."),
        cgroup_parent: z
          .string()
          .regex(/^[A-Za-z0-9_.]+\.slice$/, 'write a slice of systemd, such as "orca.slice"')
          .optional()
          .describe("The systemd slice that new containers go into, with its cap for all of them together."),
        auth_file: absolutePath.optional().describe("Registry credentials in Docker's config.json form."),
      })
      .prefault({}),
    state: z.strictObject({ dir: absolutePath.default("/var/lib/orca") }).prefault({}),
    backups: z
      .strictObject({
        dir: absolutePath
          .default("/var/lib/orca/backups")
          .describe("The directory of the repository local; best on another file system than Docker's."),
      })
      .prefault({}),
    policy: z.strictObject({ file: absolutePath.default("/etc/orca/policy.toml") }).prefault({}),
    update: update.optional(),
    alerts: alerts.optional(),
    log: z
      .strictObject({
        level: z.enum(["debug", "info", "warn", "error"]).default("info"),
        format: z
          .enum(["text", "json"])
          .optional()
          .describe(
            "A line for people, or JSON for programs; when left out, text in the journal and on a terminal, else JSON.",
          ),
      })
      .prefault({}),
  })
  .meta({ title: "Orca agent configuration" });

/** A validated agent.toml. */
export type AgentConfig = z.output<typeof agentConfigSchema>;
