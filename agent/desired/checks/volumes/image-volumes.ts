// Paths that an image keeps in a VOLUME of its own and no [[volumes]] covers: their data is in no backup, and no new container gets it
// by itself. What an image keeps is known where it lies on this host, and of a few databases everywhere. Lint asks; pure.

import { parseImageReference } from "../../../../shared/manifest/image-reference.ts";
import { blame, type FiledService, type FileFinding, type RepositoryView } from "../view/repository-view.ts";

/** Where images of Docker's library keep their data, whatever the version (their Dockerfiles' VOLUME). */
const LIBRARY: Readonly<Record<string, string>> = {
  cassandra: "/var/lib/cassandra",
  couchdb: "/opt/couchdb/data",
  ghost: "/var/lib/ghost/content",
  mariadb: "/var/lib/mysql",
  mongo: "/data/db",
  mysql: "/var/lib/mysql",
  nextcloud: "/var/www/html",
  percona: "/var/lib/mysql",
  postgres: "/var/lib/postgresql",
  rabbitmq: "/var/lib/rabbitmq",
  redis: "/data",
  registry: "/var/lib/registry",
  wordpress: "/var/www/html",
};

/**
 * Checks every service.
 * @param images the paths that images on this host keep in VOLUMEs of their own, by their references
 */
export function checkImageVolumes(view: RepositoryView, images: ReadonlyMap<string, readonly string[]>): FileFinding[] {
  return view.services
    .filter(({ manifest }) => manifest.schedule === undefined && manifest.backup === undefined)
    .flatMap((service) => {
      const declared = images.get(service.manifest.image);
      return declared === undefined ? checkRecorded(service) : checkDeclared(service, declared);
    });
}

/** The engine makes a volume for each of these paths unless something is mounted at just that path. */
function checkDeclared(service: FiledService, declared: readonly string[]): FileFinding[] {
  const mounted = new Set(listTargets(service));
  return declared.map(trimPath).flatMap((path) => (mounted.has(path) ? [] : [find(service, path)]));
}

/** Where only the place is known, anything that is mounted around it counts. */
function checkRecorded(service: FiledService): FileFinding[] {
  const image = parseImageReference(service.manifest.image);
  if (typeof image === "string" || image.registry !== "docker.io" || !image.repository.startsWith("library/"))
    return [];
  const path = LIBRARY[image.repository.slice("library/".length)];
  if (path === undefined) return [];
  const isNear = listTargets(service).some(
    (target) => `${target}/`.startsWith(`${path}/`) || `${path}/`.startsWith(`${target}/`),
  );
  return isNear ? [] : [find(service, path)];
}

function listTargets({ manifest }: FiledService): string[] {
  const inMemory = (manifest.tmpfs ?? []).map((entry) => entry.split(":")[0] ?? "");
  return [...manifest.volumes.map(({ target }) => target), ...inMemory].map(trimPath);
}

function trimPath(path: string): string {
  return path.replace(/\/+/g, "/").replace(/(.)\/$/, "$1");
}

function find(service: FiledService, path: string): FileFinding {
  return blame(service, ["image"], {
    severity: "warning",
    code: "image-volume",
    message: `the image keeps data at ${path} in a VOLUME of its own, and no [[volumes]] covers it: it is in no backup, and a change that needs a new container is held`,
    hint: `write [[volumes]] with target = "${path}" and [[backups]], or backup = { none = "why losing it is fine" }`,
  });
}
