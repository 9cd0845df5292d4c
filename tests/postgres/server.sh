#!/bin/sh
# A PostgreSQL server of the tests' own in the directory $1, on a socket there. Reads commands: `start` and `stop` are
# answered with a line when they are done; the end of the input, which comes however the test ends, stops
# the server and removes the directory.
set -eu
dir=$1
trap '' INT
cd "$dir"
# Debian has each version in a folder of its own, on nobody's path; the newest counts.
for programs in /usr/lib/postgresql/*/bin; do
    PATH=$programs:$PATH
done

# The server refuses to run as root.
as=
if [ "$(id -u)" = 0 ]; then
    chown postgres "$dir"
    as='setpriv --reuid=postgres --regid=postgres --clear-groups'
fi

# Nothing of it outlives the machine, so nothing waits for the disk.
settings="-k $dir -c listen_addresses= -c fsync=off -c max_connections=400 -c shared_buffers=16MB"

start() {
    $as pg_ctl --pgdata="$dir/data" --log="$dir/log" --options="$settings" --wait start
}

stop() {
    $as pg_ctl --pgdata="$dir/data" --mode=fast --wait stop
}

$as initdb --pgdata="$dir/data" --auth=trust --username=postgres --encoding=UTF8 --locale=C --no-sync >&2
while read -r command; do
    case $command in
    start) start >&2 </dev/null ;;
    stop) stop >&2 </dev/null ;;
    esac
    echo 'done'
done
$as pg_ctl --pgdata="$dir/data" --mode=immediate --wait stop >&2 </dev/null || true
rm -rf "$dir"
