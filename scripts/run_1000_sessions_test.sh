#!/bin/sh
# Runs a load scenario against a gateway and writes its report.
#
#   scripts/run_1000_sessions_test.sh [--list] [-s SERVER] [-o DIR] SCENARIO [options of `npm run lab -- load`]
#
# Exit code: 0 passed, 99 thresholds missed, 130 interrupted (with a report), others for errors.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
lab=$root/apps/lab/dist/main.js
if [ ! -f "$lab" ]; then
  echo 'The lab is not built yet: run `npm install && npm run build`, or `npm start` once.' >&2
  exit 1
fi
# The Node that comes with the project, when there is one for this machine.
for node in "$root"/node_modules/node-linux-*/bin/node; do
  if [ -x "$node" ] && "$node" --version >/dev/null 2>&1; then
    exec "$node" "$lab" load "$@"
  fi
done
exec node "$lab" load "$@"
