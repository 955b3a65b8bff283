#!/bin/sh
# `npm run lab -- …` without npm: runs the lab on the Node that comes with the project, when there is one for this machine.
#
#   scripts/lab.sh COMMAND …
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
lab=$root/apps/lab/dist/main.js
if [ ! -f "$lab" ]; then
  echo 'The lab is not built yet: run `npm install && npm run build`, or `npm start` once.' >&2
  exit 1
fi
for node in "$root"/node_modules/node-linux-*/bin/node; do
  if [ -x "$node" ] && "$node" --version >/dev/null 2>&1; then
    exec "$node" "$lab" "$@"
  fi
done
exec node "$lab" "$@"
