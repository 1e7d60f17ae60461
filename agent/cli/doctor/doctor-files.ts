// Which files of this host `orca doctor` looks at, and how each that must be there is made. Only cli/doctor.ts asks.

import { statePath } from "../../host/state-layout.ts";
import type { FileFact } from "../../doctor/doctor-facts.ts";
import { readFileFact } from "./read-host.ts";
import type { AgentConfig } from "../../../shared/config/agent-config.ts";
import { describeProvider } from "../agent/agent-command.ts";

const SET_SECRET =
  "orca secrets set /prod/app/PASSWORD makes it, and its key beside it; or copy it from where it was made";

/** Every file that the configuration names and that must be root's alone, as it lies there. */
export function listKeyFiles(config: AgentConfig, stateDir: string): Promise<FileFact>[] {
  return [...listPromised(config), ...listOptional(config, stateDir)];
}

/** What the configuration promises: it must be there. */
function listPromised({ source, secrets, alerts }: AgentConfig): Promise<FileFact>[] {
  const { provider } = describeProvider(secrets);
  const { infisical } = secrets ?? {};
  const pasted: [path: string | undefined, role: string, what: string][] = [
    [source.git?.token_file, "the token for Git", "the token alone"],
    [source.status_token_file, "the token for commit statuses", "the token alone"],
    [source.webhook?.secret_file, "the webhook's secret", "the secret alone, as the forge has it"],
    [infisical?.client_id_file, "the client id of Infisical", "the id alone"],
    [infisical?.client_secret_file, "the client secret of Infisical", "the secret alone"],
    [alerts?.webhook_file, "the URL for alerts", "the URL alone"],
  ];
  const ageKey = provider.kind === "file" && !provider.place.plain ? provider.place.identityFile : undefined;
  const key = secrets?.key_file;
  const made: [path: string | undefined, role: string, make: string][] = [
    ...pasted.map(([path, role, what]): [string | undefined, string, string] => [path, role, paste(what, path)]),
    [secrets?.file, "the file of secrets", SET_SECRET],
    [ageKey, "the age key of the secrets", SET_SECRET],
    [key, "the key of this host", `head -c 32 /dev/urandom | install -m 600 /dev/stdin ${key}`],
  ];
  return made.flatMap(([path, role, make]) =>
    path === undefined ? [] : [readFileFact(path, role).then((fact) => ({ ...fact, make }))],
  );
}

/** What the agent makes when it needs it, and what may be missing. */
function listOptional({ secrets, gossip, docker }: AgentConfig, stateDir: string): Promise<FileFact>[] {
  const own = secrets?.key_file === undefined ? statePath(stateDir, "hostKey") : undefined;
  const made: [path: string | undefined, role: string][] = [
    [own, "the key of this host"],
    [statePath(stateDir, "sealed"), "the last known secrets, sealed"],
    [gossip?.identity_file, "this node's identity"],
  ];
  const absent = "images are pulled without credentials; docker login makes such a file";
  const file = docker.auth_file;
  return [
    ...made.flatMap(([path, role]) => (path === undefined ? [] : [readFileFact(path, role, false)])),
    ...(file === undefined
      ? []
      : [readFileFact(file, "the credentials of registries", false).then((fact) => ({ ...fact, absent }))]),
  ];
}

/** How a file that holds one thing is made, so that it is never open to others and stands in no history. */
function paste(what: string, path: string | undefined): string {
  return `install -m 600 /dev/stdin ${path}, paste ${what}, and end with Ctrl-D`;
}
