#!/usr/bin/env bash
# dockerd.sh DIR: a Docker engine of our own in the foreground. All that it has is in DIR, and it
# listens on DIR/docker.sock: an engine that the machine may have is neither used nor disturbed.
set -euo pipefail

dir=${1:?usage: dockerd.sh DIR}
tools=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
mkdir -p "$dir"

# Containers join the host's network; a bridge would need rules in the machine's firewall.
args=(
    --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/docker.pid"
    --host "unix://$dir/docker.sock" --config-file "$dir/daemon.json"
    --bridge none --iptables=false --ip6tables=false
)
printf '{}' >"$dir/daemon.json"

# Capability 24 is CAP_SYS_RESOURCE, which sandboxes like to withhold.
bounding=$(awk '/^CapBnd:/ { print $2 }' /proc/self/status)
if ! ((16#$bounding >> 24 & 1)); then
    export BUILDKIT_GHA_DROP_CAPS='["CAP_SYS_RESOURCE"]'
    args+=(--add-runtime "bounded=$tools/runc-within-bounds.sh" --default-runtime bounded)
fi
exec dockerd "${args[@]}"
