// The drop-in that opens directories to the agent's unit, which may otherwise write only below its own (ProtectSystem=strict, systemd.exec(5)).
// Paths come from Git, too: nothing but a plain path gets into the file, and no directory of the system is opened. Pure.

/** What belongs to the system: nothing there, and nothing that holds it, is a place for backups. */
const SYSTEM = (
  "/bin /boot /dev /etc /lib /lib32 /lib64 /proc /root /run /sbin /sys /tmp /usr /opt/orca /var/cache /var/lib/containerd " +
  "/var/lib/dpkg /var/lib/docker /var/lib/systemd /var/log /var/run /var/spool /var/tmp"
).split(" ");

/** Makes it; without a path there is nothing to open. */
export function buildDropIn(paths: readonly string[]): string {
  // The minus sign: a directory that is not there keeps no agent from starting.
  const lines = paths.map((path) => `ReadWritePaths="-${escapeUnit(path)}"`);
  return [
    "# Made by `orca unit --write`, which makes it anew: directories of backups and state that lie outside /var/lib/orca.",
    "[Service]",
    ...lines,
    "",
  ].join("\n");
}

/** Why a directory is not opened; undefined where nothing is against it. @param path real, as links lead there */
export function findObjection(path: string): string | undefined {
  // eslint-disable-next-line no-control-regex -- that is what is looked for
  if (/[\u0000-\u001f\u007f]/.test(path)) return "its name has control characters";
  const taken = SYSTEM.find((place) => isBelow(path, place) || isBelow(place, path));
  return taken === undefined ? undefined : `${taken} belongs to the system`;
}

/** Each directory that needs a line, once: what lies below another one, or below what the unit has anyway, needs none. */
export function selectOpened(paths: readonly string[], own: readonly string[]): string[] {
  const wanted = [...new Set(paths)].filter((path) => !own.some((place) => isBelow(path, place)));
  return wanted.filter((path) => !wanted.some((other) => other !== path && isBelow(path, other))).toSorted();
}

function isBelow(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === "/" ? "/" : `${directory}/`);
}

/** systemd.syntax(7), "Quoting", and systemd.unit(5), "Specifiers". */
function escapeUnit(path: string): string {
  return path.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("%", "%%");
}
