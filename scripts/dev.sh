#!/bin/sh
# The system from containers: sh scripts/dev.sh up|down|build|logs|ps [profile]
# Profiles: core (default), postcard, observability, lab. Several: core,observability
set -eu
cd "$(dirname "$0")/.."

usage() {
  sed -n '2,3s/^# //p' "$0" >&2
  exit 2
}
command=${1:-} profile=${2:-core}

if docker compose version >/dev/null 2>&1; then compose='docker compose'
elif command -v docker-compose >/dev/null 2>&1; then compose=docker-compose
else
  echo 'Neither `docker compose` nor `docker-compose` is installed. Without Docker, `npm start` runs the same system.' >&2
  exit 1
fi
for name in $(echo "$profile" | tr , ' '); do compose="$compose --profile $name"; done

case $command in
  up)
    $compose up --build --detach
    address=${GATEWAY_PUBLISH:-127.0.0.1:8083}
    echo "waiting for the gateway on $address"
    for _ in $(seq 60); do
      if curl -fsS -o /dev/null "http://$address/health" 2>/dev/null; then
        echo "Sluice is ready at http://$address; stop it with: sh scripts/dev.sh down $profile"
        exit 0
      fi
      sleep 1
    done
    $compose ps
    echo "The gateway does not answer yet; see: sh scripts/dev.sh logs $profile" >&2
    exit 1
    ;;
  down) $compose down --remove-orphans ;;
  build) $compose build ;;
  logs) $compose logs --tail=200 --follow ;;
  ps) $compose ps ;;
  *) usage ;;
esac
