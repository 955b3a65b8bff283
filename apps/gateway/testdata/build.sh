#!/bin/sh
# Builds echo.binpb, the descriptor set of the service that tests and benchmarks stand in front of. Run from the root of the repository.
set -e
npx buf build -o apps/gateway/testdata/echo.binpb --config \
  '{"version":"v2","modules":[{"path":"proto","includes":["proto/google"]},{"path":"apps/gateway/testdata/proto"}]}'
