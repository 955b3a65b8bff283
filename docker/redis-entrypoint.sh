#!/bin/sh
# The configuration comes by standard input, so that the password is in no argument and no environment.
# Limits only: nothing to keep, and of what does not fit the limits that end soonest go first.
set -eu
password=$(cat /secrets/redis/redis-password)
exec redis-server - <<END
requirepass $password
bind *
dir /tmp
save ""
appendonly no
maxmemory 160mb
maxmemory-policy volatile-ttl
END
