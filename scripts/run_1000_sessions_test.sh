#!/bin/sh
# Runs a load scenario against a gateway and writes its report.
#
#   scripts/run_1000_sessions_test.sh [--list] [-s SERVER] [-o DIR] SCENARIO [options of `npm run lab -- load`]
#
# Exit code: 0 passed, 99 thresholds missed, 130 interrupted (with a report), others for errors.
exec sh "$(dirname "$0")/lab.sh" load "$@"
