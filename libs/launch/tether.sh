# Runs a program that is interrupted when the process holding the other end of descriptor 3 is gone, however it went:
# neither Postgres nor Redis notices the loss of its parent by itself. The program must handle SIGINT itself:
# a shell without job control starts what runs in its background with that signal ignored. Usage: sh tether.sh PROGRAM [ARGUMENT...]
"$@" 3<&- &
child=$!
trap 'kill -s INT "$child" 2>/dev/null' INT TERM HUP
{ read -r _ <&3; kill -s INT "$child"; } 2>/dev/null &
watcher=$!
exec 3<&-
status=0
while kill -0 "$child" 2>/dev/null; do
  wait "$child"
  status=$?
done
kill "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
exit "$status"
