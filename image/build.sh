#!/usr/bin/env bash
# build.sh PROGRAM TAG: makes the builder image, in which PROGRAM (buildkit-gha) is the entry
# point, and hands it to the Docker engine of DOCKER_HOST. Everything in it comes from this
# machine, so that no registry is needed: BuildKit from .tools/bin (of BUILDKIT_VERSION, if that is
# set and `tools/setup.sh --matrix` has built it), runc and busybox from Debian.
set -euo pipefail

program=${1:?usage: build.sh PROGRAM TAG}
tag=${2:?usage: build.sh PROGRAM TAG}
tools=$(cd "$(dirname "$0")/.." && pwd)/.tools/bin/${BUILDKIT_VERSION:-}
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# put FILE NAME: copies a program with the libraries that it is linked to.
put() {
    local lib
    install -D -m 755 "$1" "$root$2"
    for lib in $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*'); do
        [ -e "$root$lib" ] || install -D -m 755 "$lib" "$root$lib"
    done
}

put "$program" /usr/bin/buildkit-gha
put "$tools/buildkitd" /usr/bin/buildkitd
put "$tools/buildctl" /usr/bin/buildctl
put "$(command -v runc)" /usr/bin/runc
put "$(command -v busybox)" /bin/busybox
for name in $("$root/bin/busybox" --list); do
    [ "$name" = busybox ] || ln -s busybox "$root/bin/$name"
done
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
mkdir -p "$root"/{root,run,tmp,var/lib/buildkit}
chmod 1777 "$root/tmp"
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\n' >"$root/etc/group"

tar --create --directory "$root" --owner 0 --group 0 --numeric-owner . | docker import \
    --change 'ENV PATH=/usr/bin:/bin' \
    --change 'VOLUME /var/lib/buildkit' \
    --change 'ENTRYPOINT ["buildkit-gha", "gateway"]' \
    - "$tag" >/dev/null
