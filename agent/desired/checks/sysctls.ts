// Kernel parameters that are the whole host's: the engine sets only those that a container has to itself.

import { isOwnSysctl } from "../../../shared/manifest/manifest-limits.ts";
import { blame, type FileFinding, type RepositoryView } from "./view/repository-view.ts";

/** Warns of every parameter that no container can have for itself. */
export function checkSysctls(view: RepositoryView): FileFinding[] {
  return view.services.flatMap((service) => {
    const { sysctls = {}, network, ipc } = service.manifest;
    return Object.entries(sysctls).flatMap(([name, value]) => {
      const isOwn = isOwnSysctl(name);
      const isShared = name.startsWith("net.") ? network === "host" : isOwn && ipc === "host";
      if (isOwn && !isShared) return [];
      const message = isShared
        ? `${name} is the host's here, since its ${name.startsWith("net.") ? "network" : "ipc"} is: the engine refuses to start this`
        : `${name} belongs to the whole host, and the engine refuses to start a container with it`;
      const hint = `write it into a file of the host: /etc/sysctl.d/90-orca.conf with ${name} = ${value}; and take it out here`;
      return [blame(service, ["sysctls", name], { severity: "warning", code: "host-sysctl", message, hint })];
    });
  });
}
