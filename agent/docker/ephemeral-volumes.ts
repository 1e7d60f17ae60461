// The engine's ephemeral volumes: the only volumes of services that the agent removes, and only where nothing has them. Given a dockerode
// instance by engine.ts; handed to prune/ alone.

import { isReleaseVolume, LABEL } from "../../shared/state/identity.ts";
import { call, callUnless } from "./call.ts";

/** Lists and removes. Every call may throw an `EngineError`. */
export interface EphemeralVolumes {
  /** Those that this node has made, and for which service. */
  list(node: string): Promise<{ name: string; service: string }[]>;
  /** Removes one; false where a container has it, it is gone, or its labels do not say that it is an ephemeral volume of this node. */
  remove(name: string, node: string): Promise<boolean>;
}

type Labels = Record<string, string> | null;

/** The corner of dockerode that is needed here; only engine.ts knows the rest. */
interface VolumeDocker {
  listVolumes(options: object): Promise<{ Volumes?: { Name: string; Labels?: Labels }[] | null }>;
  getVolume(name: string): { inspect(): Promise<{ Labels?: Labels }>; remove(): Promise<unknown> };
}

/** Builds it. */
export function createEphemeralVolumes(docker: VolumeDocker): EphemeralVolumes {
  return {
    list: (node) =>
      call("list volumes", async () => {
        const filters = { label: [`${LABEL.node}=${node}`, LABEL.ephemeral] };
        const { Volumes } = await docker.listVolumes({ filters: JSON.stringify(filters) });
        return (Volumes ?? []).map(({ Name, Labels }) => ({ name: Name, service: Labels?.[LABEL.service] ?? "" }));
      }),
    remove: async (name, node) => {
      const labels = await callUnless(
        "inspect volume",
        [404],
        async () => (await docker.getVolume(name).inspect()).Labels,
      );
      if (!isEphemeral(name, labels ?? {}, node)) return false;
      const gone = await callUnless(`remove volume ${name}`, [404, 409], async () => {
        await docker.getVolume(name).remove();
        return true;
      });
      return gone === true;
    },
  };
}

/** Its label says the name that manifests give it, and its own name begins with that: no label alone makes data removable. */
function isEphemeral(name: string, labels: Readonly<Record<string, string>>, node: string): boolean {
  const base = labels[LABEL.ephemeral];
  return labels[LABEL.node] === node && base !== undefined && base !== "" && isReleaseVolume(name, base);
}
