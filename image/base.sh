#!/usr/bin/env bash
# base.sh [--rootless] TAG: hands the Docker engine of DOCKER_HOST a stand-in for moby/buildkit (with
# --rootless: for its -rootless variant), for tests where no registry can be reached. It is for this machine
# alone and never published.
#
# It has what upstream's image has, at upstream's paths and with upstream's environment: BuildKit, rootlesskit
# and the CNI plugins that tools/setup.sh has built (of BUILDKIT_VERSION, if that is set), upstream's own
# scripts from BuildKit's module, and the rest from the Debian packages of this machine, with the copyright
# files of each. Of the emulators it has the one for arm64; runc is Debian's.
set -euo pipefail

rootless=no
[ "${1:-}" != --rootless ] || { rootless=yes && shift; }
tag=${1:?usage: base.sh [--rootless] TAG}
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

tools=.tools/bin/${BUILDKIT_VERSION:-}
pins=tools/buildkit${BUILDKIT_VERSION:+-$BUILDKIT_VERSION}
[ -e "$pins" ] || pins=tools/buildkit # the present version by its name
upstream=$(cd "$pins" && go list -m -f '{{.Dir}}' github.com/moby/buildkit)

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
# Everybody may enter: a builder without root lives in it.
chmod 755 "$root"
mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root"/{etc/cdi,etc/buildkit/cdi,proc,root,run/cdi,sys,tmp,var/lib/buildkit}
for name in bin sbin lib lib64; do ln -s usr/$name "$root/$name"; done
ln -s ../run "$root/var/run"
chmod 1777 "$root/tmp"

# Files of packages whose folder is a link in the root (/bin) are listed there or where the link leads.
canonical() { sed -E 's,^/(bin|sbin|lib|lib64)/,/usr/\1/,'; }

copy() { canonical | sort -u | sed 's,^/,,' | tar -C / --create --no-recursion --files-from - | tar -C "$root" --extract; }

# Programs, their data and their copyright files; no manuals, translations and other documentation.
packages() {
    dpkg-query --listfiles "$@" | canonical |
        grep -Ev '^/(etc/(init|apparmor|systemd|cron|bash_completion)|usr/lib/(systemd|tmpfiles))' |
        grep -E '^/(etc|usr/(bin|sbin|lib|libexec))/|^/usr/share/(git-core|doc/[^/]*/copyright)' |
        while read -r file; do
            # Relative links keep their meaning; folders come with their files.
            if [ -L "$file" ] || [ -f "$file" ]; then echo "$file"; fi
        done | copy
}

# The libraries of all programs so far.
libraries() {
    # ldd complains of what is static or no program.
    { find "$root/usr" -type f \( -perm /111 -o -name '*.so*' \) -print0 | xargs -0 ldd 2>/dev/null || true; } |
        grep -oE '(=> |^\s)/[^ ]+' | grep -oE '/.*' | sort -u |
        while read -r file; do printf '%s\n%s\n' "$file" "$(readlink --canonicalize "$file")"; done | copy
}

put() { install -D -m 755 "$1" "$root/usr/bin/$2"; }

# Debian's busybox would run its own programs in place of others, as a shell.
common=(busybox-static ca-certificates dash fuse3 git openssl openssh-client pigz xz-utils)
if [ $rootless = yes ]; then
    packages "${common[@]}" fuse-overlayfs uidmap
    put .tools/bin/base/rootlesskit rootlesskit
    # Debian's, with the setuid bit, need CAP_SYS_ADMIN, which a container lacks; Alpine's do not.
    for name in uid gid; do
        chmod u-s "$root/usr/bin/new${name}map"
        setcap "cap_set$name=ep" "$root/usr/bin/new${name}map"
    done
else
    packages "${common[@]}" iptables
    for name in iptables ip6tables; do ln -s xtables-nft-multi "$root/usr/sbin/$name"; done
    for name in buildkitd-entrypoint with-cgroupfs-remount; do
        # BuildKit before 0.27 has neither.
        [ ! -e "$upstream/hack/$name" ] || put "$upstream/hack/$name" $name
    done
    put "$(command -v unshare)" unshare
fi
put "$tools/buildkitd" buildkitd
put "$tools/buildctl" buildctl
put "$(command -v runc)" buildkit-runc
put "$(command -v qemu-aarch64-static)" buildkit-qemu-aarch64
for name in bridge firewall host-local loopback; do put .tools/bin/base/$name buildkit-cni-$name; done
put "$upstream/examples/buildctl-daemonless/buildctl-daemonless.sh" buildctl-daemonless.sh
libraries
ln -sf dash "$root/usr/bin/sh"
for name in $(busybox --list); do
    [ -e "$root/usr/bin/$name" ] || [ -e "$root/usr/sbin/$name" ] || ln -s busybox "$root/usr/bin/$name"
done
# ca-certificates makes this one when it is installed.
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\n' >"$root/etc/group"

settings=('ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin')
if [ $rootless = yes ]; then
    printf 'user:x:1000:1000::/home/user:/bin/sh\n' >>"$root/etc/passwd"
    printf 'user:x:1000:\n' >>"$root/etc/group"
    echo user:100000:65536 | tee "$root/etc/subuid" >"$root/etc/subgid"
    mkdir -p "$root"/run/user/1000 "$root"/home/user/.local/{tmp,share/buildkit}
    chown -R 1000:1000 "$root/run/user/1000" "$root/home/user"
    settings+=('USER 1000:1000' 'ENV HOME=/home/user' 'ENV USER=user' 'ENV XDG_RUNTIME_DIR=/run/user/1000'
        'ENV TMPDIR=/home/user/.local/tmp' 'ENV BUILDKIT_HOST=unix:///run/user/1000/buildkit/buildkitd.sock'
        'VOLUME /home/user/.local/share/buildkit' 'ENTRYPOINT ["rootlesskit", "buildkitd"]')
else
    settings+=('ENV BUILDKIT_SETUP_CGROUPV2_ROOT=1' 'VOLUME /var/lib/buildkit')
    if [ -e "$root/usr/bin/buildkitd-entrypoint" ]; then
        settings+=('ENTRYPOINT ["/usr/bin/buildkitd-entrypoint"]')
    else
        settings+=('ENTRYPOINT ["buildkitd"]')
    fi
fi
changes=()
for setting in "${settings[@]}"; do changes+=(--change "$setting"); done
tar --create --directory "$root" --numeric-owner --xattrs --xattrs-include=security.capability . | docker import "${changes[@]}" - "$tag" >/dev/null
