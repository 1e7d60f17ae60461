// Ephemeral volumes: one service of a node has each, and whoever mounts it says that it is ephemeral. A job fills what a service has.

import {
  blame,
  type Fault,
  type FiledService,
  type FileFinding,
  type RepositoryView,
} from "../view/repository-view.ts";

/** Checks every mount of a volume that is ephemeral somewhere on its node. */
export function checkEphemeral(view: RepositoryView): FileFinding[] {
  const mounts = view.services.flatMap((service) => listMounts(service));
  const places = Map.groupBy(mounts, ({ service: { node }, name }) => `${node}:${name}`);
  return [...places.values()].flatMap((list) => (list.some(({ ephemeral }) => ephemeral) ? judgePlace(list) : []));
}

interface Mount {
  service: FiledService;
  index: number;
  name: string;
  ephemeral: boolean;
}

function listMounts(service: FiledService): Mount[] {
  return service.manifest.volumes.flatMap(({ name, ephemeral }, index) =>
    name === undefined ? [] : [{ service, index, name, ephemeral }],
  );
}

function judgePlace(mounts: readonly Mount[]): FileFinding[] {
  const ofServices = mounts.filter(({ service }) => service.manifest.schedule === undefined);
  const owner = ofServices.find(({ ephemeral }) => ephemeral);
  return mounts.flatMap((mount) => {
    const fault = judgeMount(mount, owner, ofServices);
    return fault === undefined ? [] : [blame(mount.service, ["volumes", mount.index], fault)];
  });
}

function judgeMount(
  { service, name, ephemeral }: Mount,
  owner: Mount | undefined,
  ofServices: readonly Mount[],
): Fault | undefined {
  const common = { severity: "error", code: "ephemeral" } as const;
  if (owner === undefined) {
    if (!ephemeral) return undefined;
    const message = `no service of ${service.node} has the ephemeral volume ${name}: there is no release that it begins with`;
    return { ...common, message, hint: "give it to a service, or leave ephemeral out" };
  }
  if (!ephemeral) {
    const message = `${name} is ephemeral in ${owner.service.service}, and here it would be another volume`;
    return { ...common, message, hint: "write ephemeral = true here too, or another name" };
  }
  const first = ofServices[0];
  if (service.manifest.schedule !== undefined || first === undefined || first.service === service) return undefined;
  const message = `${first.service.service} has the ephemeral volume ${name} too, and each would get one of its own`;
  return { ...common, message, hint: "one service has it; jobs may mount it too. Give the other another name" };
}
