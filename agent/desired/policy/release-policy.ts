// The host's law over a release that was kept: it was judged when it was new, and the law may have become stricter since. A release
// holds no manifest, so that one is put together again from what the release makes the host do. Pure.
// Held by test/scenario/start/release-policy.test.ts.

import type { Manifest } from "../../../shared/manifest/manifest.ts";
import { parsePublishedPort } from "../../../shared/manifest/published-port.ts";
import type { Policy } from "../../../shared/policy/policy.ts";
import { readBootstrapName } from "../../../shared/secret/bootstrap.ts";
import { type SecretFacts, splitVersion } from "../../../shared/secret/secret-facts.ts";
import type { DesiredService } from "../../../shared/state/desired-state.ts";
import type { ReasonOf } from "../../../shared/state/reason.ts";
import { listContentVersions } from "../../../shared/state/file-content.ts";
import type { DesiredSettings } from "../build/desired-settings.ts";
import { checkPolicy, explainRefusals } from "./policy-check.ts";
import { buildSecretTests, checkContents } from "./policy-values.ts";

/** What a release is judged with. */
export interface ReleaseFacts {
  settings: Pick<DesiredSettings, "policy" | "ownDirectories" | "standIns">;
  /** Bind-mount source, or directory that the policy allows → the real path behind it now. */
  realPaths: Readonly<Record<string, string | undefined>>;
  secrets: SecretFacts;
  /** The bytes of a delivered file by their hash. */
  findContent(hash: string): Uint8Array | undefined;
}

/** Why the host's policy refuses a kept release now; undefined where it may run. */
export function judgeRelease(release: DesiredService, facts: ReleaseFacts): ReasonOf<"policy-refuses"> | undefined {
  const { settings, realPaths } = facts;
  const { ownDirectories } = settings;
  const policy = adaptPolicy(settings);
  const secrets = buildSecretTests(facts.secrets, Object.fromEntries(listVersions(release)));
  const subject = { service: release.name, manifest: rebuildManifest(release), realPaths, secrets, ownDirectories };
  const refusals = checkPolicy(subject, policy).filter(({ deferred }) => !deferred);
  const files = release.files.flatMap(({ target, content }) => {
    const bytes = content.kind === "plain" ? facts.findContent(content.hash) : undefined;
    return bytes === undefined ? [] : [{ path: [target], content: bytes }];
  });
  const contents = checkContents(files, policy).map((refusal) => ({ ...refusal, key: refusal.path.join() }));
  return explainRefusals([...refusals, ...contents]);
}

/** In a trial the image is the one that plays the service, and the policy speaks of the one that is played. */
function adaptPolicy({ policy, standIns }: ReleaseFacts["settings"]): Policy {
  if (standIns === undefined) return policy;
  return { ...policy, images: { ...policy.images, registries: undefined, require_digest: false } };
}

/** The manifest that this release is made from, as far as it makes the host do anything. */
function rebuildManifest(release: DesiredService): Manifest {
  const { spec } = release;
  const ports = (spec.ports ?? release.front?.service.spec.ports ?? []).map((text) => parsePublishedPort(text));
  return {
    ...rebuildEngineOptions(release),
    image: spec.image,
    command: copy(spec.command),
    entrypoint: copy(spec.entrypoint),
    user: spec.user,
    working_dir: spec.workingDir,
    stop_signal: spec.stopSignal,
    stop_timeout: release.stopTimeoutMs,
    owner: release.owner,
    requires: [...release.requires],
    wants: [...release.wants],
    wants_timeout: release.wantsTimeoutMs,
    ports: ports.filter((port) => typeof port !== "string"),
    state: release.running ? "running" : "stopped",
    schedule: release.schedule,
    restart: release.restart,
    health: release.health,
    update: release.update,
    env: { ...spec.env },
    ...rebuildSecrets(release),
    volumes: (spec.volumes ?? []).map(({ name, of: base = name, source, target, readOnly = false, ephemeral }) => {
      return { name: base, source, target, read_only: readOnly, ephemeral: ephemeral === true };
    }),
    files: release.files.map(({ target, mode, owner, onChange }) => {
      return { source: target, target, mode, owner, on_change: onChange, template: false };
    }),
    routes: [],
    backups: [],
  };
}

function rebuildEngineOptions({ spec, caps }: DesiredService) {
  return {
    resources: { memory: caps.memoryBytes, pids: caps.pids },
    shm_size: spec.shmSizeBytes,
    ulimits: spec.ulimits,
    sysctls: spec.sysctls,
    tmpfs: copy(spec.tmpfs),
    read_only: spec.readOnly,
    cap_add: copy(spec.capAdd),
    cap_drop: copy(spec.capDrop),
    devices: copy(spec.devices),
    privileged: spec.privileged,
    init: spec.init,
    hostname: spec.hostname,
    dns: copy(spec.dns),
    network: spec.network ?? ("orca" as const),
    pid: spec.pid ?? ("private" as const),
    ipc: spec.ipc ?? ("private" as const),
    labels: { ...spec.labels },
    log: rebuildLog(spec.log),
  };
}

const LOG_DRIVERS = ["journald", "json-file", "local", "none", "syslog"] as const;

function rebuildLog(log: DesiredService["spec"]["log"]): Manifest["log"] {
  const driver = LOG_DRIVERS.find((known) => known === log?.driver);
  return driver === undefined || log === undefined ? undefined : { driver, options: { ...log.options } };
}

function rebuildSecrets(release: DesiredService): Pick<Manifest, "secrets" | "bootstrap"> {
  const { secretEnv = {}, secretFiles = {}, bootstrapFile } = release.spec;
  const readPaths = (names: Readonly<Record<string, string>>): Record<string, string> =>
    Object.fromEntries(Object.entries(names).map(([name, path]) => [name, splitVersion(path).path]));
  const rendered = release.files.flatMap(({ content }) =>
    content.kind === "rendered" ? content.secrets.map((name) => splitVersion(name).path) : [],
  );
  const file = bootstrapFile === undefined ? undefined : readBootstrapName(splitVersion(bootstrapFile).path);
  return {
    secrets: {
      env: readPaths(secretEnv),
      files: readPaths(secretFiles),
      on_rotate: "restart",
      templates: Object.fromEntries(rendered.map((path) => [path, path])),
    },
    ...(file === undefined ? {} : { bootstrap: { env_file: file } }),
  };
}

/** The versions that it runs with, by path. */
function listVersions({ spec, files }: DesiredService): (readonly [string, string])[] {
  const names = [
    ...Object.values(spec.secretEnv ?? {}),
    ...Object.values(spec.secretFiles ?? {}),
    ...(spec.bootstrapFile === undefined ? [] : [spec.bootstrapFile]),
    ...files.flatMap(({ content }) => listContentVersions(content)),
  ];
  return names.flatMap((name) => {
    const { path, version } = splitVersion(name);
    return version === "" ? [] : [[path, version] as const];
  });
}

function copy<T>(list: readonly T[] | undefined): T[] | undefined {
  return list === undefined ? undefined : [...list];
}
