#!/bin/sh
# Starts this host's PostgreSQL as its official image does: makes a cluster in an empty PGDATA, trusts connections on loopback, makes
# the database POSTGRES_DB for POSTGRES_USER. Runs as postgres, also where the container was started as root.
set -eu
: "${PGDATA:=/var/lib/postgresql/data}" "${POSTGRES_USER:=postgres}"
export PGDATA
if [ "${1:-postgres}" != postgres ]; then exec "$@"; fi
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" && chown postgres:postgres "$PGDATA" && chmod 700 "$PGDATA"
  exec /bin/setpriv --reuid=999 --regid=999 --clear-groups "$0" "$@"
fi
# A start that is cut (an ended container, a power loss) leaves no half-made cluster: all is made beside, and PG_VERSION comes last.
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  new="$PGDATA/.new"
  rm -rf "$PGDATA"/* "$new"
  # A copy of the cluster that was made with the image, with the superuser's name and password in place of its own.
  cp -a /cluster "$new"
  {
    echo "update pg_catalog.pg_authid set rolname = '$POSTGRES_USER' where oid = 10"
    echo "alter role \"$POSTGRES_USER\" password '$(echo "${POSTGRES_PASSWORD:-postgres}" | sed "s/'/''/g")'"
  } | postgres --single -D "$new" -c fsync=off postgres >/dev/null
  sed -i 's#^\(host.*127.0.0.1/32\s*\)scram-sha-256#\1trust#; s#^\(local.*\)scram-sha-256#\1trust#' "$new/pg_hba.conf"
  echo 'host all all all scram-sha-256' >>"$new/pg_hba.conf"
  if [ "${POSTGRES_DB:-$POSTGRES_USER}" != postgres ]; then
    pg_ctl -D "$new" -o '-c listen_addresses= -c unix_socket_directories=/tmp' -w start >/dev/null
    createdb -h /tmp -U "$POSTGRES_USER" --maintenance-db=postgres "${POSTGRES_DB:-$POSTGRES_USER}"
    pg_ctl -D "$new" -m fast -w stop >/dev/null
  fi
  for entry in "$new"/*; do
    case "$entry" in */PG_VERSION) ;; *) mv "$entry" "$PGDATA/" ;; esac
  done
  mv "$new/PG_VERSION" "$PGDATA/"
  rmdir "$new"
fi
shift "$(( $# > 0 ? 1 : 0 ))"
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
