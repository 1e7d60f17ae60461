#!/bin/bash
# Runs once, on an empty data directory: the replica's user, and its way in.
set -eu
psql --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set ON_ERROR_STOP=1 \
  --set password="$(cat /run/secrets/REPLICATION_PASSWORD)" <<'SQL'
create role replicator with replication login password :'password';
select pg_create_physical_replication_slot('ops_1');
SQL
echo "host replication replicator 10.20.0.31/32 scram-sha-256" >>"$PGDATA/pg_hba.conf"
