#!/bin/bash
# Copies the primary when the data directory is empty, then runs as its standby.
set -eu
umask 077
pass=/tmp/pgpass
printf '%s:5432:*:replicator:%s\n' "$PRIMARY_HOST" "$(cat /run/secrets/REPLICATION_PASSWORD)" >"$pass"
chown postgres "$pass"
export PGPASSFILE=$pass
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  chown postgres "$PGDATA"
  gosu postgres pg_basebackup --host "$PRIMARY_HOST" --username replicator --slot "$PRIMARY_SLOT" \
    --pgdata "$PGDATA" --wal-method stream --write-recovery-conf
fi
exec gosu postgres postgres -c hot_standby=on
