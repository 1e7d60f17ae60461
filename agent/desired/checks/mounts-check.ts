// What a container sees at which path: no two things at one path, nothing below a file. What Docker does in each case was
// seen with 28.2: it refuses two mounts at one path, and a tmpfs silently hides a mount at the same path.

import type { Manifest } from "../../../shared/manifest/manifest.ts";
import { blame, type Fault, type FiledService, type FileFinding, type RepositoryView } from "./view/repository-view.ts";

interface Mount {
  target: string;
  kind: "volume" | "file" | "tmpfs" | "secrets" | "hosts";
  readOnly: boolean;
  /** The key that says so; undefined for what the agent mounts. */
  path: readonly (string | number)[] | undefined;
  shown: string;
}

/** Checks the container paths of every service. */
export function checkMounts(view: RepositoryView): FileFinding[] {
  return view.services.flatMap((service) => {
    const mounts = listMounts(service.manifest);
    return mounts.some((mount) => mount.path !== undefined) ? checkService(service, mounts) : [];
  });
}

function checkService(service: FiledService, mounts: readonly Mount[]): FileFinding[] {
  const findings: FileFinding[] = [];
  const held = new Map<string, Mount>();
  for (const mount of mounts) {
    const other = held.get(mount.target);
    const fault = mount.target === "/" ? ROOT_FAULT : other === undefined ? undefined : describeTwice(mount, other);
    if (fault !== undefined) findings.push(blame(service, mount.path ?? [], fault));
    if (other === undefined) held.set(mount.target, mount);
  }
  for (const mount of held.values()) {
    const outer = findOuter(mount.target, held);
    const fault = outer === undefined ? undefined : describeNested(mount, outer);
    // What the agent mounts below a volume is blamed on the volume.
    if (fault !== undefined) findings.push(blame(service, mount.path ?? outer?.path ?? [], fault));
  }
  return findings;
}

const ROOT_FAULT: Fault = {
  severity: "error",
  code: "mount-clash",
  message: "nothing can be mounted over the whole container",
  hint: "write the directory that the service needs",
};

function describeTwice(mount: Mount, other: Mount): Fault {
  const message = `${mount.target} is taken already by ${other.shown}`;
  return { severity: "error", code: "mount-clash", message, hint: "mount one of them at another path" };
}

function describeNested(mount: Mount, outer: Mount): Fault | undefined {
  const shown = mount.path === undefined ? `${mount.target}, which the agent mounts,` : mount.target;
  if (outer.kind === "file" || outer.kind === "hosts") {
    const message = `${shown} lies below ${outer.target}, which is a file (${outer.shown})`;
    return { severity: "error", code: "mount-nested", message, hint: "mount one of them at another path" };
  }
  if (outer.kind === "secrets") {
    const message = `${shown} lies below ${outer.target}, which holds the secrets and is read-only`;
    return { severity: "error", code: "mount-nested", message, hint: "mount it at another path" };
  }
  if (outer.kind !== "volume" || !outer.readOnly) return undefined;
  // The engine makes no mount point in a read-only volume; it works only where the volume holds one already.
  const message = `${shown} lies below ${outer.target}, which is read-only: it works only where the volume holds such an entry`;
  return { severity: "warning", code: "mount-nested", message, hint: "mount it at another path" };
}

function findOuter(target: string, held: ReadonlyMap<string, Mount>): Mount | undefined {
  for (let slash = target.lastIndexOf("/"); slash > 0; slash = target.lastIndexOf("/", slash - 1)) {
    const outer = held.get(target.slice(0, slash));
    if (outer !== undefined) return outer;
  }
  return undefined;
}

/** In this order the later of two mounts at one path is blamed; what the agent mounts comes first. */
function listMounts({ network, secrets, volumes, files, tmpfs }: Manifest): Mount[] {
  const agents: Mount[] = [];
  if (network === "orca") {
    const shown = "the agent's hosts file";
    agents.push({ target: "/etc/hosts", kind: "hosts", readOnly: true, path: undefined, shown });
  }
  if (Object.keys(secrets?.files ?? {}).length > 0) {
    const shown = "the secrets of [secrets.files]";
    agents.push({ target: "/run/secrets", kind: "secrets", readOnly: true, path: undefined, shown });
  }
  return [
    ...agents,
    ...volumes.map((volume, index): Mount => {
      const target = foldPath(volume.target);
      return {
        target,
        path: ["volumes", index, "target"],
        shown: `volumes[${index}]`,
        kind: "volume",
        readOnly: volume.read_only,
      };
    }),
    ...files.map((file, index): Mount => {
      const target = foldPath(file.target);
      return { target, path: ["files", index, "target"], shown: `files[${index}]`, kind: "file", readOnly: true };
    }),
    ...(tmpfs ?? []).map((text, index): Mount => {
      const target = foldPath(text.split(":", 1)[0] ?? text);
      return { target, path: ["tmpfs", index], shown: `tmpfs[${index}]`, kind: "tmpfs", readOnly: false };
    }),
  ];
}

/** `/data/` and `//data` are `/data`. */
function foldPath(path: string): string {
  const folded = path.replaceAll(/\/{2,}/g, "/");
  return folded.length > 1 && folded.endsWith("/") ? folded.slice(0, -1) : folded;
}
