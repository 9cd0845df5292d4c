#!/usr/bin/env bash
# What the hop through the gateway costs: a context of 512 MiB in, a tar of 512 MiB out, each through
# the gateway and directly, in turns, on one buildkitd. Prints medians and their ratio.
#
#   benches/hop.sh [ROUNDS]        (root; needs `make tools` and `cargo build --release`)
set -euo pipefail

rounds=${1:-5}
mib=512
here=$(cd "$(dirname "$0")/.." && pwd)
gateway=${BUILDKIT_GHA_BIN:-$here/target/release/buildkit-gha}
export PATH=$here/.tools/bin:$PATH

[[ $EUID -eq 0 ]] || { echo "hop.sh: buildkitd needs root" >&2; exit 1; }
[[ -x $gateway ]] || { echo "hop.sh: $gateway is missing: cargo build --release" >&2; exit 1; }

lab=$(mktemp -d)
pid=
finish() {
    if [[ -n $pid ]]; then
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    fi
    rm -rf "$lab"
}
trap finish EXIT

"$gateway" gateway --root "$lab/root" --addr "unix://$lab/gateway.sock" \
    --oci-worker-net host --containerd-worker=false >"$lab/log" 2>&1 &
pid=$!
for ((i = 0; ; i++)); do
    [[ -S $lab/gateway.sock ]] && break
    kill -0 "$pid" 2>/dev/null && ((i < 600)) || { cat "$lab/log" >&2; exit 1; }
    sleep 0.1
done
# buildkitd's own socket, of which it writes in its log.
inner=$(sed -n 's/.*running server on \([^"]*\)".*/\1/p' "$lab/log" | head -n 1)

mkdir "$lab/context"
printf 'FROM scratch\nCOPY large /large\n' >"$lab/context/Dockerfile"
head -c "${mib}M" /dev/urandom >"$lab/context/large"

build() { # ADDRESS [BUILDCTL'S ARGUMENTS]
    local address=$1
    shift
    buildctl --addr "unix://$address" build --frontend dockerfile.v0 --progress plain \
        --local context="$lab/context" --local dockerfile="$lab/context" "$@" >"$lab/build" 2>&1 ||
        { cat "$lab/build" >&2; exit 1; }
}

seconds() { # COMMAND…
    local begun=$EPOCHREALTIME
    "$@"
    awk -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f\n", b - a }'
}

upload() { # ADDRESS: a changed file is sent anew
    touch "$lab/context/large"
    seconds build "$1"
}

download() { # ADDRESS
    seconds build "$1" --output type=tar,dest="$lab/out.tar"
}

median() { sort -n "$1" | awk '{ a[NR] = $1 } END { print (a[int((NR + 1) / 2)] + a[int(NR / 2) + 1]) / 2 }'; }

build "$inner"
echo "round  what      direct  gateway"
for ((round = 1; round <= rounds; round++)); do
    for what in upload download; do
        for way in direct gateway; do
            address=$inner
            [[ $way == gateway ]] && address=$lab/gateway.sock
            "$what" "$address" >>"$lab/$what.$way"
        done
        printf '%5d  %-8s  %6s  %7s\n' "$round" "$what" \
            "$(tail -n 1 "$lab/$what.direct")" "$(tail -n 1 "$lab/$what.gateway")"
    done
done

echo
echo "median of $rounds, $mib MiB, $(nproc) cores:"
for what in upload download; do
    direct=$(median "$lab/$what.direct") ours=$(median "$lab/$what.gateway")
    awk -v w="$what" -v d="$direct" -v g="$ours" \
        'BEGIN { printf "  %-8s  direct %.2f s  gateway %.2f s  ratio %.2f\n", w, d, g, g / d }'
done
awk '/VmHWM/ { printf "  gateway: peak memory %.0f MiB\n", $2 / 1024 }' "/proc/$pid/status"
