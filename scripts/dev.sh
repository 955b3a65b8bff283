#!/bin/sh
# The system from containers: sh scripts/dev.sh up|logs|ps [profile], build [profile or services], down (all that runs)
# Profiles: core (default), postcard, allocator, observability, lab. Several: core,observability. Logs are in logs/<name>/<name>-service.log.
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
# Of the key of postcard's model and the mail server: containers get files.
check_secret_file() {
  eval "value=\${$1:-} file=\${$1_FILE:-}"
  [ -z "$value" ] ||
    fail "$1 is set: whoever may inspect a container sees its environment. Put it into a file that user 1000 can read, and set $1_FILE to its absolute path."
  case ${file:-/} in
    /*) [ -z "$file" ] || [ -f "$file" ] || fail "$1_FILE=$file: there is no such file" ;;
    *) fail "$1_FILE=$file: expected an absolute path, such as $PWD/$file" ;;
  esac
}
command=${1:-}
PROFILES='core postcard allocator observability lab'
is_profile() { case " $PROFILES " in *" $1 "*) true ;; *) false ;; esac; }
services=
case $command in
  lab) profile=lab ;;
  down) profile=$(echo "$PROFILES aliases" | tr ' ' ,) ;;
  build)
    profile=core
    for word in $(shift; echo "$@" | tr , ' '); do
      if is_profile "$word"; then profile=$profile,$word; else services="$services $word"; fi
    done
    [ -z "$services" ] || profile=$(echo "$PROFILES aliases" | tr ' ' ,)
    ;;
  *) profile=${2:-core} ;;
esac
for name in $(echo "$profile" | tr , ' '); do
  is_profile "$name" || [ "$name" = aliases ] || fail "There is no profile $name: $PROFILES. A service is built by: sh scripts/dev.sh build $name"
done

case $command in up | lab) check_secret_file MODEL_API_KEY && check_secret_file SMTP_URL ;; esac

if docker compose version >/dev/null 2>&1; then compose='docker compose'
elif command -v docker-compose >/dev/null 2>&1; then compose=docker-compose
else
  echo 'Neither `docker compose` nor `docker-compose` is installed. Without Docker, `npm start` runs the same system.' >&2
  exit 1
fi
if ! docker info >/dev/null 2>&1; then
  echo 'Docker is installed, but its engine does not answer. Start it, or run the same system without Docker: npm start' >&2
  exit 1
fi
for name in $(echo "$profile" | tr , ' '); do compose="$compose --profile $name"; done

case $command in
  up)
    $compose up --build --detach
    sh scripts/follow-logs.sh $($compose ps -q)
    address=${GATEWAY_PUBLISH:-127.0.0.1:8083}
    [ "$profile" != allocator ] || address=${APP_PUBLISH:-127.0.0.1:8000}
    # Where postcard is not started, its absence is no reason to wait: 503 is an answer, too.
    fail=--fail
    [ "$profile" != core ] || fail=
    echo "waiting for the gateway on $address"
    for _ in $(seq 60); do
      if curl $fail -sS -o /dev/null "http://$address/health" 2>/dev/null; then
        echo "Sluice is ready at http://$address; stop it with: sh scripts/dev.sh down"
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
  build) $compose build $services ;;
  logs) $compose logs --tail=200 --follow ;;
  ps) $compose ps ;;
  *) usage ;;
esac
