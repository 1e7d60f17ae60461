// Puts together everything of this host that `orca doctor` judges. Reads only; no value of a secret goes further than here.

import { existsSync } from "node:fs";

import { statePath } from "../../host/state-layout.ts";
import type {
  FileFact,
  FirewallFact,
  HostView,
  ProviderFact,
  ServiceFact,
  WebhookFact,
} from "../../doctor/doctor-facts.ts";
import { isPlainFile, readFileFact, readSealedFact, readSystemFacts } from "./read-host.ts";
import { readBaseline } from "./baseline/read-baseline.ts";
import { readEscrowFact } from "./read-escrow.ts";
import { readFirewall } from "./read-firewall.ts";
import { readHostFirewall } from "./read-host-firewall.ts";
import { ask } from "../../http/exchange.ts";
import { readPolicy } from "../../host/files/host-files.ts";
import { readStoredInForce } from "../../host/store/store.ts";
import { askChild } from "../../secrets/providers/file-provider.ts";
import { describeExchangeError, trustOnly } from "../../secrets/providers/infisical-http.ts";
import type { AgentConfig } from "../../../shared/config/agent-config.ts";
import { type Fleet, fleetSchema } from "../../../shared/fleet/fleet.ts";
import type { InForce } from "../../../shared/state/in-force.ts";
import { parseManifest } from "../../../shared/manifest/parse-manifest.ts";
import { parseToml } from "../../../shared/text/parse-toml.ts";
import type { StatusDocument } from "../../../shared/document/status-document.ts";
import { describeProvider } from "../agent/agent-command.ts";
import { listKeyFiles } from "./doctor-files.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

const RUN_DIR = "/run/orca";
const ANSWER_MS = 5_000;
const FILE_MS = 15_000;
/** More than this no status is. */
const STATUS_BYTES = 16 * 1024 ** 2;

/** Reads everything that is judged. */
export async function readHost(config: AgentConfig, path: string): Promise<HostView> {
  const { dir: stateDir } = config.state;
  const secrets = describeProvider(config.secrets);
  const inForce = readStoredInForce(stateDir);
  const fleet = await readFleet(inForce, config.node);
  const services = await readServices(inForce);
  const policyFile = await readFileFact(config.policy.file, "the host's law");
  const policy = await readPolicyFacts(policyFile);
  const allowed = policy.policy?.bootstrap.allowed_files ?? [];
  const taken = (services ?? []).flatMap(({ bootstrapFile }) => (bootstrapFile === undefined ? [] : [bootstrapFile]));
  const bootstrap = [...new Set([...taken, ...allowed])];
  return {
    nowMs: Date.now(),
    config: path,
    files: await Promise.all(listKeyFiles(config, stateDir)),
    services,
    provider: await readProvider(secrets.provider),
    sealed: await readSealedFact(statePath(stateDir, "sealed"), secrets.maxStaleMs),
    policy,
    bootstrapFiles: await Promise.all(bootstrap.map((file) => readFileFact(file, "a bootstrap file"))),
    ...(await readSystemFacts(RUN_DIR)),
    escrow: await readEscrowFact(statePath(stateDir, "escrow")),
    webhook: await readWebhookFact(config),
    firewall: fleet && (await readFirewallFact(fleet, config.node)),
    hostFirewall: fleet && (await readHostFirewall(fleet, config.node)),
    baseline: await readBaseline({
      config,
      configPath: path,
      services: inForce,
      sealedPath: statePath(stateDir, "sealed"),
    }),
  };
}

async function readPolicyFacts(file: FileFact): Promise<HostView["policy"]> {
  if (file.found === undefined) return { file, policy: undefined, problem: undefined };
  try {
    return { file, policy: await readPolicy(file.path), problem: undefined };
  } catch (error) {
    return { file, policy: undefined, problem: readMessage(error) };
  }
}

/** The fleet in force, where this node is in it. */
async function readFleet(inForce: InForce | undefined, node: string): Promise<Fleet | undefined> {
  if (inForce?.fleet === undefined) return undefined;
  const parsed = await parseToml(fleetSchema, inForce.fleet, "fleet.toml");
  return parsed.ok && parsed.value.nodes[node] !== undefined ? parsed.value : undefined;
}

/** Whom the fleet in force sets apart from this node, and what holds them apart. */
async function readFirewallFact({ nodes }: Fleet, node: string): Promise<FirewallFact | undefined> {
  const realm = nodes[node]?.env;
  if (realm === undefined) return undefined;
  const others = Object.entries(nodes)
    .filter(([, { env }]) => env !== realm)
    .map(([name, { env, address }]) => ({ node: name, realm: env, address }));
  return { realm, others, ...(await readFirewall()) };
}

/** What the running agent counted; the reading is open on loopback, so nothing is asked of root's socket. */
async function readWebhookFact({ source, status, node }: AgentConfig): Promise<WebhookFact | undefined> {
  const listen = source.webhook?.listen;
  if (listen === undefined) return undefined;
  try {
    const url = `http://${status.listen[0]}/v1/status`;
    const { content } = await ask({
      url: new URL(url),
      deadlineMs: ANSWER_MS,
      keepRedirect: true,
      judge: () => ({ limitBytes: STATUS_BYTES }),
    });
    const document = JSON.parse(content.toString("utf8")) as StatusDocument;
    const { accepted = 0, ignored = 0, refused = 0, polled = 0, last } = document.webhook ?? {};
    if (document.node !== node || document.webhook === null) return { listen, answers: undefined };
    return { listen, answers: { signed: accepted + ignored, refused, polled, last: `${last?.status}, ${last?.said}` } };
  } catch {
    return { listen, answers: undefined };
  }
}

async function readServices(inForce: InForce | undefined): Promise<ServiceFact[] | undefined> {
  if (inForce === undefined) return undefined;
  const read = Object.entries(inForce.services).map(async ([name, { text }]): Promise<ServiceFact[]> => {
    const parsed = await parseManifest(text, `${name}.toml`);
    if (!parsed.ok) return [];
    const { secrets, bootstrap } = parsed.value;
    return [{ name, secretEnv: secrets?.env ?? {}, bootstrapFile: bootstrap?.env_file }];
  });
  return (await Promise.all(read)).flat();
}

async function readProvider(provider: ReturnType<typeof describeProvider>["provider"]): Promise<ProviderFact> {
  const none = { plainAllowed: false, isPlain: false, trouble: undefined, skewMs: undefined };
  if (provider.kind === "none") return { ...none, kind: "none", location: "" };
  if (provider.kind === "infisical") {
    const { url, project, environment, caFile } = provider.place;
    const location = `${url} (project ${project}, environment ${environment})`;
    return { ...none, kind: "infisical", location, ...(await askServer(url, caFile)) };
  }
  const { file, plain } = provider.place;
  const isPlain = existsSync(file) && (await isPlainFile(file));
  // The child opens it as it would for the agent; the values end with it.
  const limits = { deadlineMs: FILE_MS, signal: new AbortController().signal };
  const { failure } = await askChild(process.argv[1] ?? "", { kind: "file", place: provider.place }, limits);
  return { ...none, kind: "file", location: file, plainAllowed: plain, isPlain, trouble: failure?.reason };
}

/** Only whether it is there: no login is made, since those are counted. */
async function askServer(url: string, caFile: string | undefined): Promise<Pick<ProviderFact, "trouble" | "skewMs">> {
  try {
    // Nothing else that this command asks goes through TLS.
    await trustOnly(caFile);
    const askedMs = Date.now();
    const { status, headers } = await ask({
      url: new URL(`${url}/api/status`),
      deadlineMs: ANSWER_MS,
      keepRedirect: true,
      judge: () => ({ limitBytes: 0, cut: true }),
    });
    const toldMs = Date.parse(headers.date ?? "");
    // It tells whole seconds, of a moment between the question and the answer.
    const skewMs = Number.isNaN(toldMs) ? undefined : toldMs + 500 - (askedMs + Date.now()) / 2;
    return { trouble: status >= 200 && status < 300 ? undefined : `it answered ${status}`, skewMs };
  } catch (error) {
    return { trouble: describeExchangeError(error, { url, caFile }), skewMs: undefined };
  }
}
