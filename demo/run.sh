#!/usr/bin/env bash
# The main job on this machine: build with a cache, throw the builder away, build again with a
# new one. Every step must come from the cache; the exit code says so.
set -euo pipefail
cd "$(dirname "$0")/.."

PATH=$PWD/.tools/bin:$PATH:/usr/local/sbin:/usr/sbin:/sbin
context=$PWD/target/image-dev
image=buildkit-gha:demo
base=buildkit-gha:demo-base
work=$(mktemp -d)
started=() # what is running now, to be ended in the opposite order
builder=''
container=yes

# Nothing of ours goes into the settings of the user's own buildx.
export BUILDX_CONFIG=$work/buildx

say() { printf '\n== %s\n' "$*"; }
die() {
    printf 'demo: %s\n' "$*" >&2
    tail -n 20 "$work"/*.log >&2 2>/dev/null || true
    exit 1
}

cleanup() {
    local i
    [ -z "$builder" ] || remove_builder || true
    [ $container = no ] || docker image rm --force "$image" "$base" >/dev/null 2>&1 || true
    for ((i = ${#started[@]} - 1; i >= 0; i--)); do
        kill "${started[i]}" 2>/dev/null || true
        wait "${started[i]}" 2>/dev/null || true
    done
    awk -v dir="$work/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | tac | xargs -r umount -l
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# start NAME COMMAND...: runs it in the background with a log of its own.
start() {
    local name=$1
    shift
    "$@" >"$work/$name.log" 2>&1 &
    started+=("$!")
}

# await WHAT COMMAND...: tries the command until it succeeds; the last program started must live.
await() {
    local what=$1 tries
    shift
    for ((tries = 0; tries < 300; tries++)); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        kill -0 "${started[-1]}" 2>/dev/null || return 1
        sleep 0.1
    done
    printf 'demo: not within 30 s: %s\n' "$what" >&2
    return 1
}

start_service() {
    start serve "$program" serve --listen 127.0.0.1:0 --data-dir "$work/cache"
    await 'the service listens' grep -q '^listening on ' "$work/serve.log" || die 'the service did not start'
    url=$(sed -n 's/^listening on //p' "$work/serve.log")
    token=$("$program" token --data-dir "$work/cache" --scope refs/heads/main=rw)
    printf 'An Actions cache of our own: %s\n' "$url"
}

# The engine that is there, else one of our own, else none: then the remote driver.
find_engine() {
    if docker info >/dev/null 2>&1; then
        echo 'Docker engine: the one that is running'
        return
    fi
    [ "$(id -u)" = 0 ] || die 'no Docker engine answers; as root this demo would start its own'
    export DOCKER_HOST=unix://$work/engine/docker.sock
    start dockerd tools/dockerd.sh "$work/engine"
    if await 'dockerd answers' docker info; then
        echo 'Docker engine: none was running, so one was started for this demo'
    else
        container=no
        echo 'Docker engine: none, and none could be started: using the remote driver instead'
    fi
}

# Each builder is new and empty, as on a fresh CI machine.
new_builder() {
    builder=$1
    if [ $container = yes ]; then
        buildx create --name "$builder" --driver docker-container --bootstrap \
            --driver-opt "image=$image" --driver-opt network=host >"$work/create.log" 2>&1 ||
            die 'the builder did not start'
    else
        start "$builder" "$program" gateway --addr "unix://$work/$builder.sock" \
            --root "$work/$builder" --oci-worker-net host
        await 'the gateway listens' test -S "$work/$builder.sock" || die 'the gateway did not start'
        buildx create --name "$builder" --driver remote "unix://$work/$builder.sock" >/dev/null
    fi
}

remove_builder() {
    buildx rm --force "$builder" >/dev/null 2>&1
    if [ $container = no ]; then
        kill "${started[-1]}"
        wait "${started[-1]}" || true
        unset 'started[-1]'
    fi
    builder=''
}

# counter NAME: a counter of the service, summed over what concerns the cache itself.
counter() {
    curl --fail --silent "$url/metrics" |
        awk -v name="buildkit_gha_service_$1_total" \
            'index($0, name) == 1 && !/operation="other"/ { sum += $NF } END { print sum + 0 }'
}

# Of the steps of the Dockerfile in raw progress: how many there are, how many were cached.
steps() {
    jq --slurp --raw-output '[.[].vertexes // [] | .[] | select(.name | test("^\\[(?!internal\\])"))]
        | group_by(.digest) | map(any(.cached)) | "\(map(select(.)) | length) \(length)"' "$1"
}

# build NAME: one build on a new builder; sets NAME_… for the table.
build() {
    local name=$1 begin
    local -A before
    for what in requests received_bytes sent_bytes; do before[$what]=$(counter $what); done
    new_builder "gha-demo-$name-$$"
    begin=$(date +%s%N)
    buildx build --builder "$builder" --progress rawjson \
        --cache-to "type=gha,url_v2=$url/,version=2,token=$token,mode=max" \
        --cache-from "type=gha,url_v2=$url/,version=2,token=$token" \
        --output "type=tar,dest=$work/$name.tar" "$work/context" 2>"$work/$name.log" ||
        die "the $name build failed"
    table[$name.time]=$((($(date +%s%N) - begin) / 1000000))
    for what in requests received_bytes sent_bytes; do
        table[$name.$what]=$(($(counter $what) - before[$what]))
    done
    read -r "table[$name.cached]" "table[$name.steps]" < <(steps "$work/$name.log")
    remove_builder
    echo "done; the builder is gone, with all that it had"
}

seconds() { awk -v ms="$1" 'BEGIN { printf "%.1f s", ms / 1000 }'; }
megabytes() { awk -v bytes="$1" 'BEGIN { printf "%.2f MB", bytes / 1e6 }'; }
row() { printf '  %-26s %14s %14s\n' "$@"; }
both() { row "$1" "$($3 "${table[first.$2]}")" "$($3 "${table[second.$2]}")"; }

show() {
    row '' 'first build' 'second build'
    row 'steps CACHED' "${table[first.cached]} of ${table[first.steps]}" \
        "${table[second.cached]} of ${table[second.steps]}"
    both 'time' time seconds
    both 'uploaded to the cache' received_bytes megabytes
    both 'downloaded from the cache' sent_bytes megabytes
    both 'requests to the cache' requests echo
}

declare -A table
case $(uname -m) in
aarch64) program=$context/arm64/buildkit-gha ;;
*) program=$context/amd64/buildkit-gha ;;
esac
[ -x "$program" ] || die "$program is missing: run make demo"
cp LICENSE "$context/"
cp -r demo/context "$work/context"
cp "$(command -v busybox)" "$work/context/busybox"

say 'Starting'
start_service
find_engine
if [ $container = yes ]; then
    image/base.sh "$base"
    buildx build --quiet --file image/Dockerfile --build-arg BASE="$base" --tag "$image" \
        "$context" >/dev/null
    echo "Builder image: $image, with the gateway as its entry point"
fi
say 'First build: nothing is cached yet'
build first
say 'Second build, on a new builder'
build second

say 'What happened'
show
[ "${table[second.steps]}" -gt 0 ] && [ "${table[second.cached]}" = "${table[second.steps]}" ] ||
    die 'a step of the second build was not CACHED'
[ "$(tar -xOf "$work/first.tar" | sha256sum)" = "$(tar -xOf "$work/second.tar" | sha256sum)" ] ||
    die 'the two builds have different results'
printf '\nEvery step of the second build was CACHED, and its result has the same content.\n'
