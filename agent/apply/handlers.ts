// One handler for each kind of step, in a table the compiler checks for completeness. The only code that is given the
// Docker writer. Every handler may run twice for the same step and then changes nothing more.

import type { OwnContainerId } from "../../shared/state/identity.ts";
import { CommandFailure } from "./failure.ts";
import type { TemplateRecipe } from "../../shared/secret/secret-facts.ts";
import { describeSize } from "../../shared/text/size.ts";
import type { FileReference, Step, StepContainer } from "../../shared/state/step.ts";
import type { DockerExec, DockerReader } from "../docker/reader.ts";
import type { CreateRequest, DockerWriter, RegistryAuth } from "../docker/writer.ts";
import type { FileStore } from "../host/files/file-store.ts";
import type { BindLook } from "../host/os/bind-look.ts";
import { startChecked } from "./checked-start.ts";
import { findContainerUser } from "./container-user.ts";
import type { FrontPort } from "./front-control.ts";
import type { ImageLookup } from "./image-lookup.ts";
import type { SecretDelivery } from "./secret-delivery.ts";
import { describeCount } from "../../shared/text/count.ts";
import { findKeptHash, holdsSecret } from "../../shared/state/file-content.ts";

/** What the handlers work with. */
export interface Tools {
  node: string;
  writer: DockerWriter;
  reader: DockerReader;
  exec: DockerExec;
  files: FileStore;
  images: ImageLookup;
  fronts: FrontPort;
  secrets: SecretDelivery;
  binds: BindLook;
  /** Takes secret values out of what programs have printed. */
  redact(text: string): string;
  /** Credentials for an image's registry, read anew for each pull. */
  findAuth(image: string): Promise<RegistryAuth | undefined>;
}

/** One run of an operation: what its steps share. */
export interface Run {
  signal: AbortSignal;
  /** Content of a delivered file by its hash. */
  findContent(hash: string): Uint8Array | undefined;
  /** The container this operation has created. */
  created: OwnContainerId | undefined;
  report(progress: string): void;
}

/** Whether a step changed anything; `replan` also ends the operation, since the world has moved on meanwhile. */
export type StepResult = "changed" | "unchanged" | "replan";

type Handlers = {
  [K in Step["kind"]]: (step: Extract<Step, { kind: K }>, run: Run, tools: Tools) => Promise<StepResult>;
};

/** How long a command that tells a service of new content may take. */
const NOTIFY_TIMEOUT_MS = 30_000;

const HANDLERS: Handlers = {
  "ensure-network": async (step, _run, tools) => {
    await tools.writer.createNetwork({
      name: step.network,
      node: tools.node,
      subnet: step.subnet,
      internal: step.internal,
    });
    return "changed";
  },
  "write-hosts": async (step, _run, tools) => {
    await tools.files.writeHosts(step.hosts);
    return "changed";
  },
  "ensure-image": pullImage,
  "ensure-volume": async (step, _run, tools) => {
    const { volume: name, service, ephemeral } = step;
    await tools.writer.createVolume({ name, node: tools.node, service, ephemeral });
    return "changed";
  },
  "write-files": async (step, run, tools) => {
    const secret = step.files.filter((file) => holdsSecret(file.content));
    for (const file of step.files.filter((entry) => !secret.includes(entry)))
      await tools.files.write(step, file, findContent(file, run));
    await tools.secrets.write(step, secret, {
      findRecipe: (file) => readRecipe(findContent(file, run)),
      findUser: async () => {
        if (step.container === undefined) throw new Error("deliver secrets: there is no container yet");
        return findContainerUser(tools.reader, resolveContainer(step.container, run));
      },
    });
    return "changed";
  },
  "remove-files": async (step, _run, tools) => {
    await tools.files.remove(step.service, step.specHash);
    await tools.secrets.remove(step);
    return "changed";
  },
  "create-container": async (step, run, tools) => {
    run.created = await tools.writer.createContainer(await buildRequest(step, tools));
    return "changed";
  },
  "start-container": async (step, run, tools) => {
    await startChecked(resolveContainer(step.container, run), step.binds ?? [], { ...tools, look: tools.binds });
    return "changed";
  },
  "unpause-container": async (step, _run, tools) => {
    await tools.writer.unpauseContainer(step.container);
    return "changed";
  },
  "rename-container": async (step, _run, tools) => {
    await tools.writer.renameContainer(step.container, step.name);
    return "changed";
  },
  "stop-container": async (step, _run, tools) => {
    await tools.writer.stopContainer(step.container, step.timeoutMs);
    return "changed";
  },
  "remove-container": async (step, _run, tools) => {
    await tools.writer.removeContainer(step.container);
    return "changed";
  },
  "update-caps": async (step, _run, tools) => {
    await tools.writer.updateCaps(step.container, step.to);
    return "changed";
  },
  "connect-network": async (step, _run, tools) => {
    await tools.writer.connectNetwork(step.network, step.container, step.aliases);
    return "changed";
  },
  "signal-container": async (step, _run, tools) => {
    await tools.writer.signalContainer(step.container, step.signal);
    return "changed";
  },
  "exec-in-container": async (step, _run, tools) => {
    const { exitCode, output } = await tools.exec.run(step.container, step.command, NOTIFY_TIMEOUT_MS);
    if (exitCode !== 0) throw new CommandFailure(`run ${step.command[0]} in container: exit code ${exitCode}`, output);
    return "changed";
  },
  "switch-traffic": async ({ front, run, address, ports }, _run, tools) =>
    (await tools.fronts.switchTo(front, { run, address }, ports)) ? "changed" : "unchanged",
  "drain-traffic": async ({ front, address, ports, timeoutMs }, run, tools) => {
    await tools.fronts.drain(front, { address, ports, timeoutMs }, run.signal);
    return "changed";
  },
};

/** Runs one step. */
export function runStep<K extends Step["kind"]>(
  step: Extract<Step, { kind: K }>,
  run: Run,
  tools: Tools,
): Promise<StepResult> {
  const handler = HANDLERS[step.kind] as (step: Step, run: Run, tools: Tools) => Promise<StepResult>;
  return handler(step, run, tools);
}

function findContent(file: FileReference, run: Run): Uint8Array {
  const hash = findKeptHash(file.content);
  const content = hash === undefined ? undefined : run.findContent(hash);
  if (content === undefined) throw new Error(`write file ${file.target}: its content is no longer wanted`);
  return content;
}

function readRecipe(content: Uint8Array): TemplateRecipe {
  return JSON.parse(new TextDecoder().decode(content)) as TemplateRecipe;
}

async function pullImage(step: Extract<Step, { kind: "ensure-image" }>, run: Run, tools: Tools): Promise<StepResult> {
  if (await tools.images.isHere(step.image)) return "unchanged";
  run.report("asking the registry");
  await tools.writer.pullImage(step.image, {
    auth: await tools.findAuth(step.image),
    signal: run.signal,
    onProgress: ({ doneBytes, totalBytes, layers }) => {
      const share =
        totalBytes === 0 ? "" : ` ${Math.floor((doneBytes / totalBytes) * 100)} % of ${describeSize(totalBytes)}`;
      run.report(`${describeCount(layers, "layer")}${share}`);
    },
  });
  return "replan";
}

async function buildRequest(step: Extract<Step, { kind: "create-container" }>, tools: Tools): Promise<CreateRequest> {
  const { service, specHash, spec } = step;
  const files = (spec.files ?? []).map(({ target, memory }) => {
    const store = memory === true ? tools.secrets : tools.files;
    return { source: store.path({ service, specHash, target }), target, readOnly: true };
  });
  const hosts =
    spec.network === undefined ? [{ source: tools.files.hostsPath, target: "/etc/hosts", readOnly: true }] : [];
  await tools.secrets.prepare(step, spec);
  const secrets = spec.secretFiles === undefined ? [] : [tools.secrets.mount(step)];
  const control = spec.control === undefined ? [] : [await tools.fronts.mount(service)];
  return {
    name: step.name,
    node: tools.node,
    service,
    specHash,
    revision: step.revision,
    spec,
    caps: step.caps,
    network: step.network,
    stopTimeoutMs: step.stopTimeoutMs,
    carried: step.carried ?? [],
    sources: Object.fromEntries((step.binds ?? []).map(({ source, real }) => [source, real])),
    binds: [...files, ...hosts, ...secrets, ...control],
    extraEnv: await tools.secrets.buildEnv(spec),
  };
}

export function resolveContainer(container: StepContainer, run: Run): OwnContainerId {
  if (container !== "created") return container;
  if (run.created === undefined) throw new Error("start container: none was created by this operation");
  return run.created;
}
