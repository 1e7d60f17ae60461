// Secrets that a manifest asks for as variables: allowed, a choice, and said, since the engine shows variables.

import { blame, type FileFinding, type RepositoryView } from "../view/repository-view.ts";

const MESSAGE =
  "the engine shows variables to whoever may inspect the container: prefer [secrets.files] to [secrets.env] where the program can read a file";

/** One `info` for each service with such variables. */
export function checkSecretEnv(view: RepositoryView): FileFinding[] {
  return view.services
    .filter(({ manifest }) => Object.keys(manifest.secrets?.env ?? {}).length > 0)
    .map((service) =>
      blame(service, ["secrets", "env"], { severity: "info", code: "secret-env", message: MESSAGE, hint: "" }),
    );
}
