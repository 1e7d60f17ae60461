// Restores of buckets over the socket, into an empty bucket of the same service or an empty directory. Each is in the audit log before it
// is handed on.

import { isAbsolute, normalize } from "node:path";

import type { Actor } from "../../shared/state/event.ts";
import type { CopyOutOrder, CopyOutPlace } from "../../shared/state/backup.ts";
import { isKernelPlace } from "../host/files/make-directory.ts";
import { type BackupParts, STARTING } from "./backup-routes.ts";
import { type Answer, answerError, answerJson, type Call } from "./http-answer.ts";
import { recordAsk } from "./restore-routes.ts";

/** Answers `POST /v1/backups/SERVICE/STORE/copy-out`. */
export async function answerCopyOut(
  parts: BackupParts,
  call: Call,
  { body, actor }: { body: object; actor: Actor },
): Promise<Answer> {
  const [, , service = "", store = ""] = call.path;
  const desk = parts.backups();
  if (desk === undefined) return answerError(call, 503, STARTING);
  const order = parseOrder(service, store, body);
  if (typeof order === "string") return answerError(call, 400, order);
  const into = describePlace(order.into);
  const refusal = await recordAsk(parts, { actor, action: "backup-copy-out", what: { service, store, into } });
  if (refusal !== undefined) return answerError(call, 503, refusal);
  const fault = desk.copyOut(order);
  if (fault !== undefined) return answerError(call, 409, fault);
  return answerJson(202, { accepted: true, message: `${service}/${store}: a backup is restored into ${into} now` });
}

function parseOrder(service: string, store: string, body: object): CopyOutOrder | string {
  const { backup, at, into, ...rest } = body as Record<string, unknown>;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) return `copy-out knows no ${JSON.stringify(unknown)}`;
  if (backup !== undefined && typeof backup !== "string") return "backup is the name of one";
  if (at !== undefined && (typeof at !== "number" || !Number.isSafeInteger(at)))
    return "at is a moment in milliseconds";
  if (backup !== undefined && at !== undefined) return "name a backup, or a time";
  const place = typeof into === "string" ? parsePlace(into) : undefined;
  if (place === undefined) return "into is s3://BUCKET, s3://BUCKET/PREFIX, or the absolute path of a directory";
  if ("directory" in place && isKernelPlace(place.directory))
    return `nothing can be stored in ${place.directory}: it is the kernel's: name another place`;
  return { service, store, backup, atMs: at, into: place };
}

/** `s3://uploads-new/app`, or `/var/lib/orca/restored`; undefined for anything else. */
function parsePlace(text: string): CopyOutPlace | undefined {
  const [, bucket, prefix = ""] = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*?))?\/?$/s.exec(text) ?? [];
  if (bucket !== undefined) return prefix.startsWith("/") || prefix.length > 512 ? undefined : { bucket, prefix };
  const isPath = isAbsolute(text) && text !== "/" && !text.includes("\0") && normalize(text) === text;
  return isPath ? { directory: text.replace(/\/$/, "") } : undefined;
}

function describePlace(place: CopyOutPlace): string {
  return "directory" in place ? place.directory : `s3://${place.bucket}/${place.prefix}`;
}
