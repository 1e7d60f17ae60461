// Which agents listen on this machine, by the kernel's list of sockets, which everybody may read. Used by the commands that look for
// one. What listens under such a name is not believed for that: the caller asks who owns the socket.

import { readFileSync } from "node:fs";

/** `__SO_ACCEPTCON`: somebody listens, and is not merely connected. */
const LISTENS = "00010000";
/** Every agent's socket has this name, wherever it lies. */
const NAME = "/agent.sock";

/** The paths of the agents' sockets that somebody listens on, sorted; none where the kernel's list cannot be read. */
export function listAgentSockets(table = "/proc/net/unix"): string[] {
  let text: string;
  try {
    text = readFileSync(table, "utf8");
  } catch {
    return [];
  }
  const paths = text.split("\n").flatMap((line) => {
    // Num RefCount Protocol Flags Type St Inode Path; the path may hold spaces.
    const [, flags, path] = /^\S+ \S+ \S+ (\S+) \S+ \S+ +\d+ (\/.*)$/.exec(line) ?? [];
    return flags === LISTENS && path?.endsWith(NAME) === true ? [path] : [];
  });
  return [...new Set(paths)].toSorted();
}
