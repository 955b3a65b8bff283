#!/bin/sh
# The system from containers: sh scripts/dev.sh up|down|build|logs|ps [profile]
# Profiles: core (default), postcard, observability, lab. Several: core,observability
# sh scripts/dev.sh lab load SCENARIO …: a run of the lab beside the gateway; its reports come to ./reports, its exit code is the run's.
set -eu
cd "$(dirname "$0")/.."

usage() {
  sed -n '2,4s/^# //p' "$0" >&2
  exit 2
}
fail() {
  echo "$1" >&2
  exit 2
}
# Of the key of postcard's model: containers get files.
check_model_key() {
  [ -z "${MODEL_API_KEY:-}" ] ||
    fail 'MODEL_API_KEY is set: whoever may inspect a container sees its environment. Put the key into a file that user 1000 can read, and set MODEL_API_KEY_FILE to its absolute path.'
  case ${MODEL_API_KEY_FILE:-/} in
    /*) [ -z "${MODEL_API_KEY_FILE:-}" ] || [ -f "$MODEL_API_KEY_FILE" ] || fail "MODEL_API_KEY_FILE=$MODEL_API_KEY_FILE: there is no such file" ;;
    *) fail "MODEL_API_KEY_FILE=$MODEL_API_KEY_FILE: expected an absolute path, such as $PWD/$MODEL_API_KEY_FILE" ;;
  esac
}
command=${1:-}
if [ "$command" = lab ]; then profile=lab; else profile=${2:-core}; fi

case $command in up | lab) check_model_key ;; esac

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
  lab)
    shift
    container=sluice-lab-$$
    code=0
    $compose run --name "$container" lab "$@" || code=$?
    docker cp "$container:/app/reports" . >/dev/null 2>&1 && echo 'What is in /app/reports of the container is in ./reports now.' || echo "No report came out of the container $container." >&2
    docker rm -v "$container" >/dev/null
    exit "$code"
    ;;
  down) $compose down --remove-orphans ;;
  build) $compose build ;;
  logs) $compose logs --tail=200 --follow ;;
  ps) $compose ps ;;
  *) usage ;;
esac
