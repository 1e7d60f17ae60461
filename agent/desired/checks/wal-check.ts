// A log that is streamed (`[backups.wal]`) against the server's own command: without a bound a slot keeps the log until the server's disk is
// full. What the server really has it is asked itself, by the agent, before any slot is made.

import { blame, type FileFinding, type RepositoryView } from "./view/repository-view.ts";

/** The setting that bounds what a slot keeps (PostgreSQL, "max_slot_wal_keep_size"). */
const BOUND = /\bmax[_-]slot[_-]wal[_-]keep[_-]size\s*=?/;

/** Checks every manifest with such a table. */
export function checkLogs(view: RepositoryView): FileFinding[] {
  return view.services.flatMap((service) => {
    const { backups, command = [], entrypoint = [] } = service.manifest;
    if ([...entrypoint, ...command].some((word) => BOUND.test(word))) return [];
    return backups.flatMap(({ wal }, index) =>
      wal === undefined
        ? []
        : [
            blame(service, ["backups", index, "wal"], {
              severity: "warning",
              code: "wal-unbounded",
              message:
                "max_slot_wal_keep_size is not seen in command: the agent makes no slot until the server answers other than -1",
              hint: 'write command = ["postgres", "-c", "max_slot_wal_keep_size=4GB"]: as much as may lie on the server\'s disk',
            }),
          ],
    );
  });
}
