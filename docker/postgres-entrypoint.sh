#!/bin/sh
# Generates the superuser's password into a volume on the first start, for the image's own entry point and for the container
# `prepare`, which runs as user 1000.
set -eu
file=/secrets/postgres/postgres-password
if [ ! -s "$file" ]; then
  head -c 32 /dev/urandom | base64 | tr -d '\n' >"$file.new"
  mv "$file.new" "$file"
fi
chown -R 1000 /secrets/postgres
chmod 700 /secrets/postgres
chmod 600 "$file"
# The image asks for it to make the database; a server that has one never gets it.
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  POSTGRES_PASSWORD=$(cat "$file")
  export POSTGRES_PASSWORD
fi
exec docker-entrypoint.sh postgres "$@"
