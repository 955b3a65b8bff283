#!/bin/sh
# Copies what containers say to logs/<service>/<service>-service.log, as `npm start` does, until they are removed: the containers
# themselves may write nothing of the machine. Called by dev.sh: sh scripts/follow-logs.sh CONTAINER …
# A file that has grown to FILE_BYTES_MAX is set aside as `.1`.
set -eu
cd "$(dirname "$0")/.."
FILE_BYTES_MAX=100000000

label() { docker inspect --format "{{ index .Config.Labels \"com.docker.compose.$1\" }}" "$2" 2>/dev/null; }

follow() {
  container=$1 file=$2 since=$(docker inspect --format '{{ .State.StartedAt }}' "$1")
  while docker inspect "$container" >/dev/null 2>&1; do
    [ ! -f "$file" ] || [ "$(wc -c <"$file")" -lt "$FILE_BYTES_MAX" ] || mv "$file" "$file.1"
    docker logs --follow --since "$since" "$container" >>"$file" 2>&1 &
    reader=$!
    while kill -0 "$reader" 2>/dev/null; do
      sleep 5
      [ "$(wc -c <"$file")" -lt "$FILE_BYTES_MAX" ] || kill "$reader" 2>/dev/null || true
    done
    # A container that starts again goes on here.
    since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    sleep 1
  done
  rm -f "$3"
}

for container in "$@"; do
  service=$(label service "$container") || continue
  case $service in app) name=gateway ;; open-allocator) name=allocator ;; *) name=$service ;; esac
  mkdir -p "logs/$name"
  # One reader for each container, however often `up` is repeated.
  marker="logs/$name/.following-$(echo "$container" | cut -c1-12)"
  [ ! -e "$marker" ] || ! kill -0 "$(cat "$marker")" 2>/dev/null || continue
  follow "$container" "logs/$name/$name-service.log" "$marker" </dev/null >/dev/null 2>&1 &
  echo $! >"$marker"
done
