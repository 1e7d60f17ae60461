#!/bin/sh
# Plays a service whose image is not at hand: answers its health check and takes connections on its ports.
# The agent says what to play: ORCA_STAND_IN_HTTP="9000/health/ready", ORCA_STAND_IN_TCP="5432 6379".
# /dev/shm is writable even where the root file system is not.
set -eu
root=/dev/shm/orca-stand-in
mkdir -p "$root/www"
trap 'exit 0' TERM INT
for place in ${ORCA_STAND_IN_HTTP:-}; do
  port=${place%%/*}
  path=${place#"$port"}
  path=${path%%\?*}
  case "$path" in */) path="${path}index.html" ;; esac
  mkdir -p "$root/www${path%/*}"
  echo "a stand-in answers for this service" >"$root/www$path"
  httpd -f -p "$port" -h "$root/www" &
done
for port in ${ORCA_STAND_IN_TCP:-}; do
  nc -ll -p "$port" -e /bin/true &
done
: >"$root/ready"
echo "stand-in: http ${ORCA_STAND_IN_HTTP:-none}, tcp ${ORCA_STAND_IN_TCP:-none}"
while :; do
  sleep 3600 &
  wait $!
done
