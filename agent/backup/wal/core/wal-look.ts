// What a PostgreSQL says of its log, in one line, and what must be so before Orca takes a slot on it. Pure; asked by wal-server.ts.

import { parsePosition, type WalPosition } from "./wal-position.ts";

/** One look at a server. */
export interface WalLook {
  systemId: string;
  timeline: number;
  /** Everything before it is on the server's disk. */
  flushed: WalPosition;
  segmentBytes: number;
  /** As the server shows it: `-1` for none; undefined before PostgreSQL 13. */
  keepSize: string | undefined;
  walLevel: string;
  synchronous: string;
  /** Undefined where there is no slot of that name. */
  slot: WalSlot | undefined;
}

/** The slot as the server has it. */
interface WalSlot {
  isPhysical: boolean;
  isActive: boolean;
  /** What its receiver has on disk; undefined while nothing is held for it. */
  received: WalPosition | undefined;
  /** The server has let go of what it held: `max_slot_wal_keep_size` was reached. */
  isLost: boolean;
}

/** What the receiver calls itself to the server. */
export const RECEIVER_NAME = "orca_receiver";

const FIELDS = 11;

/**
 * Answers one line of eleven fields with tabs between. The timeline is asked of the position that is written now: the control file has
 * that of the last checkpoint.
 * @param slot a name as the manifest's schema lets it be: small letters, digits and `_`
 */
export function askLook(slot: string): string {
  return [
    "select (pg_control_system()).system_identifier,",
    "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), pg_current_wal_flush_lsn(),",
    "pg_size_bytes(current_setting('wal_segment_size')), coalesce(current_setting('max_slot_wal_keep_size', true), ''),",
    "current_setting('wal_level'), replace(current_setting('synchronous_standby_names'), E'\\t', ' '),",
    "coalesce(s.slot_type, ''), coalesce(s.active, false), coalesce(s.restart_lsn::text, ''),",
    "coalesce(to_jsonb(s) ->> 'wal_status', '')",
    `from (select 1) one left join pg_replication_slots s on s.slot_name = '${slot}'`,
  ].join(" ");
}

/** Reads that line; undefined where it is none. */
export function parseLook(line: string): WalLook | undefined {
  const fields = line.trimEnd().split("\t");
  const [systemId = "", timeline = "", flushedText = "", bytes = "", keepSize = "", walLevel = "", synchronous = ""] =
    fields;
  const [, , , , , , , type = "", active = "", receivedText = "", status = ""] = fields;
  const flushed = parsePosition(flushedText);
  if (fields.length > FIELDS || !/^\d+$/.test(systemId) || flushed === undefined || !/^[0-9A-F]{8}$/.test(timeline))
    return undefined;
  const received = parsePosition(receivedText);
  const slot = { isPhysical: type === "physical", isActive: active === "t", received, isLost: status === "lost" };
  return {
    systemId,
    timeline: Number.parseInt(timeline, 16),
    flushed,
    segmentBytes: Number(bytes),
    keepSize: keepSize === "" ? undefined : keepSize,
    walLevel,
    synchronous,
    slot: type === "" ? undefined : slot,
  };
}

/** Why no slot is made there and no receiver started, with what to write instead; undefined where both are fine. */
export function refuseServer(look: WalLook, slot: string): string | undefined {
  const { keepSize, walLevel, synchronous } = look;
  if (keepSize === undefined)
    return "the server is older than PostgreSQL 13 and has no max_slot_wal_keep_size: a slot could fill its disk";
  if (keepSize === "-1")
    return (
      "the server answers max_slot_wal_keep_size = -1, and a slot could fill its disk: " +
      'write command = ["postgres", "-c", "max_slot_wal_keep_size=4GB"]'
    );
  if (walLevel === "minimal")
    return "the server answers wal_level = minimal: write wal_level=replica, which is the server's own default";
  if (waitsForReceiver(synchronous))
    return `synchronous_standby_names = ${JSON.stringify(synchronous)} matches the receiver, and commits would wait for it: name the standbys that are meant`;
  if (look.slot !== undefined && !look.slot.isPhysical)
    return `the slot ${slot} is a logical one, which somebody else made: write another slot`;
  return undefined;
}

/** True where the server would hold commits until the receiver has them (PostgreSQL, "synchronous_standby_names"). */
function waitsForReceiver(names: string): boolean {
  const words = names.replaceAll(/^\s*(?:FIRST|ANY)?\s*\d+\s*\(|\)\s*$/gi, "").split(",");
  return words.some((word) => {
    const name = word.trim().replaceAll(/^"|"$/g, "").toLowerCase();
    return name === "*" || name === RECEIVER_NAME;
  });
}
