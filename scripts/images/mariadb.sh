#!/bin/sh
# Starts this host's MariaDB as its official image does: makes the system tables in an empty data directory, gives root its password
# (MARIADB_ROOT_PASSWORD or the file that MARIADB_ROOT_PASSWORD_FILE names, or none with MARIADB_ALLOW_EMPTY_ROOT_PASSWORD) for every host, makes the database MARIADB_DATABASE. Runs as
# mysql, also where the container was started as root.
set -eu
: "${MARIADB_ROOT_PASSWORD:=}" "${MARIADB_DATABASE:=}"
[ -z "${MARIADB_ROOT_PASSWORD_FILE:-}" ] || MARIADB_ROOT_PASSWORD=$(cat "$MARIADB_ROOT_PASSWORD_FILE")
export MARIADB_ROOT_PASSWORD
case "${1:-mariadbd}" in -* | mariadbd | mysqld) ;; *) exec "$@" ;; esac
data=/var/lib/mysql
for word in "$@"; do
  case "$word" in --datadir=*) data=${word#--datadir=} ;; esac
done
unset MARIADB_ROOT_PASSWORD_FILE
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$data" && chown mysql:mysql "$data"
  exec /bin/setpriv --reuid=999 --regid=999 --clear-groups "$0" "$@"
fi
case "${1:-}" in mariadbd | mysqld) shift ;; esac
if [ ! -d "$data/mysql" ]; then
  [ -n "$MARIADB_ROOT_PASSWORD" ] || [ -n "${MARIADB_ALLOW_EMPTY_ROOT_PASSWORD:-}" ] || {
    echo "the database is not initialised and no password option was given" >&2
    exit 1
  }
  # A start that is cut leaves no half-made tables: all is made beside, and the directory that is asked for above comes last.
  new="$data/.new"
  rm -rf "$data"/* "$new"
  mkdir -p "$new/mysql"
  {
    echo 'use mysql;'
    cat /usr/share/mysql/mysql_system_tables.sql /usr/share/mysql/mysql_performance_tables.sql \
      /usr/share/mysql/mysql_system_tables_data.sql /usr/share/mysql/fill_help_tables.sql \
      /usr/share/mysql/maria_add_gis_sp_bootstrap.sql
    echo 'flush privileges;'
    for host in localhost %; do
      echo "create or replace user root@'$host' identified by '$MARIADB_ROOT_PASSWORD';"
      echo "grant all on *.* to root@'$host' with grant option;"
    done
    [ -z "$MARIADB_DATABASE" ] || echo "create database if not exists \`$MARIADB_DATABASE\`;"
  } | mariadbd --no-defaults --bootstrap --datadir="$new" --tmpdir=/tmp --skip-log-bin >/dev/null 2>&1
  for entry in "$new"/*; do
    case "$entry" in */mysql) ;; *) mv "$entry" "$data/" ;; esac
  done
  mv "$new/mysql" "$data/"
  rmdir "$new"
fi
exec mariadbd --no-defaults --datadir="$data" --socket=/tmp/mariadb.sock --tmpdir=/tmp --innodb-buffer-pool-size=32M "$@"
