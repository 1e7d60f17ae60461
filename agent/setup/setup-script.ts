// The script that makes a fresh VM a node, as user-data brings it: volume, Docker's settings before Docker, the package by its checksum,
// keys. A text alone: what differs from node to node is in /etc/orca/setup.env (agent/setup/user-data.ts). Each step looks before it acts.

/** Where it lies on the VM. */
export const SETUP_SCRIPT = "/usr/local/sbin/orca-setup";
/** What differs from node to node. */
export const SETUP_SETTINGS = "/etc/orca/setup.env";
/** Lines for /etc/hosts. */
export const SETUP_NAMES = "/etc/orca/setup.hosts";
/** Runs it until it has succeeded once, at later boots too. */
export const SETUP_UNIT = "/etc/systemd/system/orca-setup.service";

/** The unit: a VM whose network or volume comes late becomes a node all the same. */
export const SETUP_UNIT_TEXT = `[Unit]
Description=Makes this VM an Orca node, once
Wants=network-online.target
After=network-online.target
ConditionPathExists=!/var/lib/orca-setup/done
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=${SETUP_SCRIPT}
Restart=on-failure
RestartSec=30
TimeoutStartSec=30min
StandardOutput=journal+console
StandardError=journal+console

[Install]
WantedBy=multi-user.target
`;

/** The script itself, for a POSIX shell. */
export const SETUP_TEXT = String.raw`#!/bin/sh
# Makes this VM an Orca node. Each step looks before it acts: run it again whenever you like. orca help cloud-init
set -eu
umask 022
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
. ${SETUP_SETTINGS}
kept=/var/lib/orca-setup
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { echo "orca-setup: $*"; }
fail() {
  say "$*" >&2
  exit 1
}

# Writes stdin to a file where that differs; answers whether it did.
put() {
  cat >"$work/put"
  if cmp -s "$work/put" "$1"; then return 1; fi
  mkdir -p "$(dirname "$1")"
  cat "$work/put" >"$1"
  say "wrote $1"
}

names() {
  sed '/^# orca: begin$/,/^# orca: end$/d' /etc/hosts >"$work/hosts"
  if [ -s ${SETUP_NAMES} ]; then
    { echo "# orca: begin"; cat ${SETUP_NAMES}; echo "# orca: end"; } >>"$work/hosts"
  fi
  put /etc/hosts <"$work/hosts" || true
}

resolvers() {
  [ -n "$RESOLVERS" ] || return 0
  if systemctl -q is-active systemd-resolved; then
    printf '[Resolve]\nDNS=%s\nDomains=~.\n' "$RESOLVERS" | put /etc/systemd/resolved.conf.d/orca.conf || return 0
    systemctl restart systemd-resolved
    return 0
  fi
  for address in $RESOLVERS; do echo "nameserver $address"; done | put /etc/resolv.conf || true
  conf=/etc/dhcp/dhclient.conf
  if [ -e "$conf" ]; then
    { sed '/# orca$/d' "$conf"; echo "supersede domain-name-servers $(echo "$RESOLVERS" | sed 's/ /, /g'); # orca"; } >"$work/dhclient"
    put "$conf" <"$work/dhclient" || true
  fi
}

# A whole disk that nobody uses: no partition on it, mounted nowhere, no part of anything.
unused() {
  [ -b "$1" ] && [ "$(lsblk -nro NAME "$1" | wc -l)" = 1 ] && [ -z "$(lsblk -nro MOUNTPOINT "$1" | tr -d '\n')" ]
}

find_volume() {
  : >"$work/found"
  for link in $VOLUMES; do
    case "$link" in *-part[0-9]*) continue ;; esac
    if unused "$link"; then readlink -f "$link" >>"$work/found"; fi
  done
  sort -u -o "$work/found" "$work/found"
  case "$(wc -l <"$work/found")" in
    1) cat "$work/found" ;;
    0) fail "no unused volume is attached (looked at: $VOLUMES): attach it to this VM" ;;
    *) fail "more than one unused volume is attached ($(tr '\n' ' ' <"$work/found")): name one with orca cloud-init --volume" ;;
  esac
}

# A file system is made only where there is nothing, and the mistake of another disk's data is never made.
volume() {
  [ -n "$MOUNT" ] || return 0
  if mountpoint -q "$MOUNT"; then return 0; fi
  udevadm settle 2>/dev/null || true
  device=
  if [ -n "$UUID" ]; then device=$(blkid -c /dev/null -U "$UUID") || device=; fi
  if [ -z "$device" ]; then
    [ -n "$VOLUMES" ] || fail "no disk has the file system $UUID: attach it, or name the provider or the disk to orca cloud-init"
    device=$(find_volume) || exit 1
    code=0
    blkid -p -o export "$device" >"$work/blkid" 2>&1 || code=$?
    case "$code" in
      2)
        say "$device is empty: making an ext4 on it"
        if [ -n "$UUID" ]; then mkfs.ext4 -q -m 1 -U "$UUID" "$device"; else mkfs.ext4 -q -m 1 "$device"; fi
        ;;
      0) [ -z "$UUID" ] && grep -q '^TYPE=' "$work/blkid" || fail "$device holds something else than $UUID, so nothing was made on it: $(tr '\n' ' ' <"$work/blkid")" ;;
      *) fail "blkid cannot say what $device holds, so nothing was made on it: $(tr '\n' ' ' <"$work/blkid")" ;;
    esac
  fi
  found=$(blkid -c /dev/null -p -s UUID -o value "$device")
  line="UUID=$found $MOUNT auto defaults,nofail,x-systemd.device-timeout=90s 0 2"
  if ! awk -v at="$MOUNT" '$1 !~ /^#/ && $2 == at { hit = 1 } END { exit !hit }' /etc/fstab; then
    echo "$line" >>/etc/fstab
    say "wrote /etc/fstab: $line"
  fi
  mkdir -p "$MOUNT"
  systemctl daemon-reload
  mount "$MOUNT"
}

# Before Docker's first start; an image that brings a running Docker has it stopped, unless it has containers.
engine() {
  if [ -z "$MOUNT" ]; then return 0; fi
  if systemctl -q is-active docker && [ "$(docker info -f '{{.DockerRootDir}}')" != "$MOUNT/docker" ]; then
    [ -z "$(docker ps -aq)" ] || fail "Docker runs containers from another place than $MOUNT/docker: remove them, or move its data there"
    systemctl stop docker.socket docker.service
  fi
  printf '[Unit]\nRequiresMountsFor=%s\n' "$MOUNT" | put /etc/systemd/system/docker.service.d/orca-data.conf && systemctl daemon-reload || true
}

fetch() {
  arch=$(dpkg --print-architecture)
  case "$arch" in
    amd64) sum=$SHA256_AMD64 ;;
    arm64) sum=$SHA256_ARM64 ;;
    *) fail "there is no package of Orca for $arch" ;;
  esac
  [ -n "$sum" ] || fail "the user-data names no checksum for $arch"
  deb=$kept/orca.deb
  if echo "$sum  $deb" | sha256sum --check --status 2>/dev/null; then return 0; fi
  command -v curl >/dev/null || { apt-get update -q && apt-get install -qy curl ca-certificates; }
  curl --fail --silent --show-error --location --retry 3 --max-time 600 --max-filesize 300000000 --output "$deb.part" "$(echo "$PACKAGE" | sed "s/{arch}/$arch/g")"
  echo "$sum  $deb.part" | sha256sum --check --status || fail "$PACKAGE has not the checksum $sum: nothing was installed"
  mv "$deb.part" "$deb"
}

# What the host is set up with comes in the package, so its checksum holds that too.
baseline() {
  mkdir -p "$work/tree"
  dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work/tree" ./usr/share/orca
  set -- --yes
  if [ -n "$MOUNT" ]; then set -- "$@" --data-root "$MOUNT/docker"; fi
  sh "$work/tree/usr/share/orca/install" "$@" || fail "the host's settings could not all be applied: what failed is said above"
}

package() {
  if [ "$(dpkg-query -W -f='${"$"}{db:Status-Status}' orca 2>/dev/null)" = installed ]; then return 0; fi
  # What it depends on may be here already, as in an image that was made for this; else the lists come first.
  apt-get install -qy --no-install-recommends "$deb" 2>/dev/null || { apt-get update -q && apt-get install -qy --no-install-recommends "$deb"; }
}

# What agent.toml names and nobody has brought yet.
missing() {
  for file in $CREDENTIALS; do [ -e "$file" ] || echo "$file"; done
}

address() {
  for try in $(seq 60); do
    if ip -o addr show 2>/dev/null | grep -qF " $ADDRESS/"; then return 0; fi
    sleep 2
  done
  say "this VM has not the address $ADDRESS that fleet.toml names: attach it to the private network"
}

keys() {
  # An agent with peers makes its key at its first start: two makers at once would be one too many.
  for try in $(seq 30); do
    if ! grep -q '^\[gossip\]' /etc/orca/agent.toml; then break; fi
    if [ -e /var/lib/orca/identity.key ] || ! systemctl -q is-active orca-agent; then break; fi
    sleep 1
  done
  orca keygen 2>/dev/null
}

tell() {
  lines=$(keys)
  host=$(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub 2>/dev/null | awk '{ print $2 }') || host=
  waits=$(missing | tr '\n' ' ')
  echo
  if [ -n "$waits" ]; then say "node $NODE waits for its credentials: $waits"; else say "node $NODE is set up"; fi
  echo "$lines" | while read -r line; do say "$line"; done
  if [ -n "$waits" ]; then say "on your machine: orca enroll $NODE --host-key ${"$"}{host:-SHA256:…}"; fi
  echo
}

mkdir -p "$kept"
chmod 700 /etc/orca "$kept"
names
resolvers
volume
engine
fetch
baseline
package
address
systemctl start docker
systemctl --no-block start orca-agent
tell
: >"$kept/done"
`;
