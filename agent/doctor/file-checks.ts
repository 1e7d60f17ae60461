// The host's own files: keys, tokens and credentials, bootstrap files, the policy. Whose they are, who may read them, and that none
// of them lies where it could be committed.

import { describeDuration } from "../../shared/text/duration.ts";
import { buildStrictPolicy, type Policy } from "../../shared/policy/policy.ts";
import { type Finding, fine } from "./finding.ts";
import type { FileFact, HostView } from "./doctor-facts.ts";

/** A bootstrap file that nobody has changed for so long holds a secret that nobody rotates. */
const OLD_BOOTSTRAP_MS = 365 * 86_400_000;

/** Judges the files. */
export function checkFiles(host: HostView): Finding[] {
  return [...host.files.map(checkKeyFile), ...checkBootstrapFiles(host), ...checkPolicyFile(host)];
}

/** What is wrong with a file that must be root's alone; undefined where nothing is. */
function judgePrivate(check: string, file: FileFact): Finding | undefined {
  const { path, role, found, trouble, workTree, required } = file;
  const why = `${role}: whoever reads it can be this host`;
  if (trouble !== undefined)
    return {
      check,
      severity: "fail",
      what: `${path} cannot be looked at: ${trouble}`,
      why,
      fix: "sudo orca doctor",
    };
  if (found === undefined) {
    if (!required) return undefined;
    return {
      check,
      severity: "fail",
      what: `${path} is not there`,
      why: `${role}: the agent needs it`,
      fix: file.make ?? `install -m 600 /dev/stdin ${path}, paste what it is to hold, and end with Ctrl-D`,
    };
  }
  if (found.kind !== "file")
    return { check, severity: "fail", what: `${path} is no file`, why, fix: `replace it by a file` };
  if (workTree !== undefined) {
    const fix = `mv ${path} /etc/orca/ and change the path in the configuration; if it was ever committed, make a new one`;
    return {
      check,
      severity: "fail",
      what: `${path} lies in the Git work tree ${workTree}`,
      why: `${role}: one git add from being published`,
      fix,
    };
  }
  if (found.uid !== 0)
    return {
      check,
      severity: "fail",
      what: `${path} belongs to uid ${found.uid}`,
      why,
      fix: `chown root:root ${path}`,
    };
  if ((found.mode & 0o077) !== 0)
    return { check, severity: "fail", what: `${path} has mode ${showMode(found.mode)}`, why, fix: `chmod 600 ${path}` };
  return undefined;
}

function checkKeyFile(file: FileFact): Finding {
  const check = "keys and credentials";
  const { absent = "it is made when it is needed" } = file;
  const state = file.found === undefined ? `is not there: ${absent}` : "is root's alone";
  return judgePrivate(check, file) ?? fine(check, `${file.path} (${file.role}) ${state}`);
}

function checkBootstrapFiles({ bootstrapFiles, services = [], policy, nowMs }: HostView): Finding[] {
  const check = "bootstrap files";
  const allowed = policy.policy?.bootstrap.allowed_files ?? [];
  return bootstrapFiles.map((file): Finding => {
    const { path, found } = file;
    const users = services.filter(({ bootstrapFile }) => bootstrapFile === path).map(({ name }) => name);
    const bad = judgePrivate(check, { ...file, required: users.length > 0 });
    if (bad !== undefined) return bad;
    if (!allowed.includes(path)) {
      const why = "the host's policy decides which services may bypass the provider; this one it refuses";
      const fix = `in ${policy.file.path}: [bootstrap] allowed_files = ["${path}"], or take it out of the manifest`;
      return {
        check,
        severity: "fail",
        what: `${users.join(", ")} takes ${path}, which the policy does not allow`,
        why,
        fix,
      };
    }
    // Root alone can make it: what is only named, as in the policy that is shipped, lets nobody in.
    if (users.length === 0 && found === undefined) return fine(check, `${path} is allowed, and is not there`);
    if (users.length === 0) {
      const why = "an exception that nothing needs any more is a way in";
      return {
        check,
        severity: "warn",
        what: `${path} is allowed, and no service takes it`,
        why,
        fix: `rm ${path}, and take it out of [bootstrap] allowed_files in ${policy.file.path}`,
      };
    }
    const ageMs = nowMs - (found?.changedMs ?? nowMs);
    if (ageMs <= OLD_BOOTSTRAP_MS)
      return fine(check, `${path} is root's alone, allowed, and taken by ${users.join(", ")}`);
    const why = "no provider rotates it: only a person does";
    return {
      check,
      severity: "warn",
      what: `${path} was last changed ${describeDuration(ageMs)} ago`,
      why,
      fix: `write new secrets into ${path}, a line NAME=value each, where their services take them from too`,
    };
  });
}

function checkPolicyFile({ policy }: HostView): Finding[] {
  const check = "policy";
  const { file, policy: rules, problem } = policy;
  if (file.found === undefined) {
    const why =
      "the strict default holds, in which any registry and any secret path is allowed; no risk of this host is named";
    return [
      {
        check,
        severity: "warn",
        what: `${file.path} is not there`,
        why,
        fix: `in a checkout of Orca: install -m 600 host-config/policy.toml ${file.path}; then edit it`,
      },
    ];
  }
  if (rules === undefined)
    return [
      {
        check,
        severity: "fail",
        what: `${file.path} is not valid: ${problem ?? ""}`,
        why: "the agent does not start with it",
        fix: `edit ${file.path} at that line; orca schema policy prints every key`,
      },
    ];
  const findings: Finding[] = [];
  if (file.found.uid !== 0 || (file.found.mode & 0o022) !== 0) {
    const what = `${file.path} can be changed by others (uid ${file.found.uid}, mode ${showMode(file.found.mode)})`;
    findings.push({
      check,
      severity: "fail",
      what,
      why: "it is the law of this host",
      fix: `chown root:root ${file.path}; chmod 644 ${file.path}`,
    });
  }
  findings.push(
    ...listLoose(rules).map(({ what, write }): Finding => {
      const why = "a commit may then use it";
      const fix = `in ${file.path} write ${write}, where no service needs more`;
      return { check, severity: "warn", what: `${file.path}: ${what}`, why, fix };
    }),
  );
  return findings.length > 0 ? findings : [fine(check, `${file.path} is strict`)];
}

/** Mounting one of these is as good as being root. */
const WIDE_PREFIXES = new Set([
  "/",
  "/etc",
  "/root",
  "/home",
  "/var",
  "/var/lib",
  "/var/run",
  "/run",
  "/usr",
  "/proc",
  "/sys",
  "/dev",
  "/boot",
]);

/** Where a policy allows what is dangerous, in its own words, and what to write instead. */
function listLoose(policy: Policy): { what: string; write: string }[] {
  const strict = buildStrictPolicy();
  const { mounts, security, secrets, images, endpoints, volumes, log } = policy;
  const keys = ["privileged", "host_network", "host_pid", "host_ipc", "devices", "cap_add", "ulimits"] as const;
  const lists = keys.flatMap((key) =>
    security[key].length > strict.security[key].length
      ? [{ what: `security.${key} allows ${security[key].join(", ")}`, write: `[security] ${key} = []` }]
      : [],
  );
  const wide = mounts.allowed_prefixes.filter((prefix) => WIDE_PREFIXES.has(prefix.replace(/(.)\/+$/, "$1")));
  return [
    ...(mounts.docker_socket
      ? [
          {
            what: "mounts.docker_socket gives services the engine, which is root",
            write: "[mounts] docker_socket = false",
          },
        ]
      : []),
    ...wide.map((prefix) => ({
      what: `mounts.allowed_prefixes has ${prefix}`,
      write: '[mounts] allowed_prefixes = ["/mnt/data"], or whatever holds data alone',
    })),
    ...lists,
    ...(endpoints.allowed?.includes("*") === true
      ? [
          {
            what: 'endpoints.allowed has "*": a manifest may have this host ask itself and the metadata of its cloud',
            write: '[endpoints] allowed = ["10.0.0.0/16"], or whichever hosts are waited for, or leave it out',
          },
        ]
      : []),
    ...(volumes.foreign.length === 0
      ? []
      : [{ what: `volumes.foreign allows ${volumes.foreign.join(", ")}`, write: "[volumes] foreign = []" }]),
    ...(log.syslog.length === 0
      ? []
      : [{ what: `log.syslog allows ${log.syslog.join(", ")}`, write: "[log] syslog = []" }]),
    ...(secrets.allowed_prefixes === undefined
      ? [
          {
            what: "secrets.allowed_prefixes is left out: every path may be asked for",
            write: `[secrets] allowed_prefixes = ["/${policy.realm}"]`,
          },
        ]
      : []),
    ...(images.registries === undefined
      ? [
          {
            what: "images.registries is left out: images may come from anywhere",
            write: '[images] registries = ["docker.io"], or whichever you pull from',
          },
        ]
      : []),
  ];
}

function showMode(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, "0");
}
