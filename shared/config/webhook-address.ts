// What a forge must allow before it delivers pushes to a node's address. Pure; status and doctor say it.

/** `10.0.0.10:7071`, or `[fd00::1]:7071`, without its port. */
function readHost(listen: string): string {
  return listen.slice(0, listen.lastIndexOf(":")).replaceAll(/[[\]]/g, "");
}

const LOOPBACK = /^(127\.|::1$|localhost$)/;
const PRIVATE = /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|f[cd][0-9a-f]{2}:)/i;
/** Every address of the host: which one a forge would use is not known here. */
const ANY = /^(0\.0\.0\.0|::)$/;

/**
 * What Gitea and Forgejo need in app.ini to deliver to an address.
 * @returns undefined where their default lets it through
 */
export function describeAllowedHosts(listen: string): string | undefined {
  const host = readHost(listen);
  const kind = LOOPBACK.test(host) ? "loopback" : PRIVATE.test(host) || ANY.test(host) ? "private" : undefined;
  if (kind === undefined) return undefined;
  return `Gitea refuses ${kind} addresses by default ([webhook] ALLOWED_HOST_LIST = external): write ALLOWED_HOST_LIST = external,${kind} into its app.ini and restart it`;
}
