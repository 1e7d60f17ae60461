// Who is on the other end of a unix socket, by the kernel's own word (SO_PEERCRED, unix(7)). Node cannot ask, so the C library is
// called with the socket's descriptor; what calls it is loaded at the first act and not before. No answer means: no act.

import { readFile } from "node:fs/promises";
import type { Socket } from "node:net";

import { findCFunction } from "./c-library.ts";

/** The process on the other end, as it was when it connected. */
export interface PeerCredentials {
  pid: number;
  uid: number;
  gid: number;
}

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
/** struct ucred: pid, uid and gid, four bytes each. */
const UCRED_BYTES = 12;
/** What the kernel says of a peer without credentials. */
const NO_ID = 0xff_ff_ff_ff;

type GetSockOpt = (...parameters: [fd: number, level: number, name: number, value: Buffer, length: number[]]) => number;

let loading: Promise<GetSockOpt> | undefined;

const PROTOTYPE = "int getsockopt(int fd, int level, int name, _Out_ void *value, _Inout_ uint32_t *length)";

/** Asks the kernel who connected; undefined where it does not say. */
export async function readPeerCredentials(socket: Socket): Promise<PeerCredentials | undefined> {
  if (process.platform !== "linux") return undefined;
  const getsockopt = await (loading ??= findCFunction<GetSockOpt>(PROTOTYPE)).catch(() => undefined);
  if (getsockopt === undefined) loading = undefined;
  // Read after the library is there: the socket may have been closed meanwhile, and its descriptor be someone else's.
  const fd = socket.destroyed ? undefined : (socket as unknown as { _handle?: { fd?: number } | null })._handle?.fd;
  if (getsockopt === undefined || fd === undefined || fd < 0) return undefined;
  const value = Buffer.alloc(UCRED_BYTES);
  const length = [UCRED_BYTES];
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, length) !== 0 || length[0] !== UCRED_BYTES) return undefined;
  const [pid, uid, gid] = [value.readInt32LE(0), value.readUInt32LE(4), value.readUInt32LE(8)];
  return uid === NO_ID || pid <= 0 ? undefined : { pid, uid, gid };
}

/** The name of a user, from /etc/passwd; undefined where it has none there. */
export async function findUserName(uid: number): Promise<string | undefined> {
  const rows = await readRows("/etc/passwd");
  return rows.find((fields) => fields[2] === String(uid))?.[0];
}

/** The number of a group, from /etc/group. */
export async function findGroupId(name: string): Promise<number | undefined> {
  const gid = Number((await readRows("/etc/group")).find((fields) => fields[0] === name)?.[2]);
  return Number.isInteger(gid) ? gid : undefined;
}

async function readRows(path: string): Promise<string[][]> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text.split("\n").map((line) => line.split(":"));
}
