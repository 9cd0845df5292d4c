#!/usr/bin/env bash
# dist.sh: makes in target/dist what a release has, from this commit: static programs for amd64 and arm64 with
# manual, completions, licences and systemd unit, as archives and as Debian packages; a bill of materials for each;
# the Helm chart; the section of the changelog; and checksums of all.
#
# Two runs make the same bytes wherever they run: times are that of the commit (or SOURCE_DATE_EPOCH), names are
# sorted, owners are root, and no path of the machine gets in. Tools that write archives are the machine's, so
# runs are compared on machines with the same versions of tar, gzip, xz and dpkg.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH=$PWD/.tools/bin:$PATH

export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export LC_ALL=C TZ=UTC
umask 022

version=$(tools/release/version.sh)
architectures=(amd64 arm64)
cyclonedx=0.5.9
dist=$PWD/target/dist
work=$PWD/target/dist.work
built=target/image
rm -rf "$dist" "$work"
mkdir -p "$dist" "$work"

say() { printf 'dist: %s\n' "$*"; }
die() {
    printf 'dist: %s\n' "$*" >&2
    exit 1
}

# pack ARCHIVE DIR: DIR, by its own name, as a tar file of which only names, modes and contents matter.
pack() {
    tar --create --directory "$(dirname "$2")" --sort=name --owner=0 --group=0 --numeric-owner --format=gnu --mode=u=rwX,go=rX \
        --mtime="@$SOURCE_DATE_EPOCH" "$(basename "$2")" | gzip --no-name --best >"$1"
}

programs() {
    local arch
    for arch in "${architectures[@]}"; do
        say "the static program for $arch"
        image/program.sh "$arch"
        ! grep --quiet --fixed-strings --text -e "$PWD" -e "${CARGO_HOME:-$HOME/.cargo}" -e "$(rustc --print sysroot)" \
            "$built/$arch/buildkit-gha" ||
            die "$built/$arch/buildkit-gha has paths of this machine in it"
    done
    image/notices.sh
}

# What is the same for all architectures: share/, as below /usr.
share() {
    local host=$built/amd64/buildkit-gha share=$work/share
    [ "$(uname -m)" = x86_64 ] || host=$built/arm64/buildkit-gha
    mkdir -p "$share"/man/man1 "$share"/bash-completion/completions "$share"/zsh/vendor-completions \
        "$share"/fish/vendor_completions.d "$share"/doc/buildkit-gha
    "$host" man "$share/man/man1" >/dev/null
    "$host" completion bash >"$share/bash-completion/completions/buildkit-gha"
    "$host" completion zsh >"$share/zsh/vendor-completions/_buildkit-gha"
    "$host" completion fish >"$share/fish/vendor_completions.d/buildkit-gha.fish"
    install -m 644 CHANGELOG.md LICENSE "$built/THIRD-PARTY-NOTICES" "$share/doc/buildkit-gha/"
    [ -n "$(ls "$share/man/man1")" ] || die 'no manual pages were written'
}

archive() {
    local arch=$1 tree=$work/buildkit-gha-$version-linux-$1
    mkdir -p "$tree/systemd"
    install -m 755 "$built/$arch/buildkit-gha" "$tree/"
    install -m 644 LICENSE CHANGELOG.md "$built/THIRD-PARTY-NOTICES" "$tree/"
    install -m 644 deploy/systemd/* "$tree/systemd/"
    cp -r "$work/share/man" "$tree/man"
    mkdir "$tree/completions"
    cp "$work"/share/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}/* "$tree/completions/"
    pack "$dist/buildkit-gha-$version-linux-$arch.tar.gz" "$tree"
}

debian() {
    local arch=$1 tree=$work/debian-$1 size
    mkdir -p "$tree"/{DEBIAN,usr/bin,usr/lib/systemd/system,usr/lib/sysusers.d,etc/buildkit-gha}
    install -m 755 "$built/$arch/buildkit-gha" "$tree/usr/bin/"
    install -m 644 deploy/systemd/buildkit-gha-serve.service "$tree/usr/lib/systemd/system/"
    install -m 644 deploy/systemd/buildkit-gha.sysusers "$tree/usr/lib/sysusers.d/buildkit-gha.conf"
    install -m 644 deploy/systemd/serve.env "$tree/etc/buildkit-gha/"
    cp -r "$work/share" "$tree/usr/share"
    gzip --no-name --best "$tree"/usr/share/man/man1/*.1
    install -m 755 tools/release/debian/{postinst,prerm,postrm} "$tree/DEBIAN/"
    echo /etc/buildkit-gha/serve.env >"$tree/DEBIAN/conffiles"
    # In KiB. Folders count for nothing: their sizes are the file system's.
    size=$(find "$tree/usr" -type f -printf '%s\n' | awk '{ sum += int(($1 + 1023) / 1024) } END { print sum }')
    sed -e "s/@VERSION@/${version/-/\~}/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" \
        tools/release/debian/control >"$tree/DEBIAN/control"
    find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group --threads-max=1 -Zxz --build "$tree" \
        "$dist/buildkit-gha_${version}_$arch.deb" >/dev/null
}

# The bill of materials names no folder of this machine, and no time but the commit's.
materials() {
    local arch=$1 target=$2 file=buildkit-gha.materials
    cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --override-filename $file
    jq --sort-keys --arg root "$PWD" --arg time "$(date --utc --date="@$SOURCE_DATE_EPOCH" +%FT%TZ)" '
        del(.serialNumber) | .metadata.timestamp = $time
        | walk(if type == "string" then gsub("path\\+file://\($root)"; "path+file:///buildkit-gha") else . end)
    ' $file.json >"$dist/buildkit-gha-$version-linux-$arch.cdx.json"
    rm $file.json
    ! grep --quiet --fixed-strings "$PWD" "$dist/buildkit-gha-$version-linux-$arch.cdx.json" ||
        die 'the bill of materials has paths of this machine in it'
}

chart() {
    cp -r deploy/chart "$work/buildkit-gha"
    rm -r "$work/buildkit-gha/ci"
    pack "$dist/buildkit-gha-chart-$version.tgz" "$work/buildkit-gha"
    # It is a chart, and of this version.
    [ "$(helm show chart "$dist/buildkit-gha-chart-$version.tgz" | sed -n 's/^version: //p')" = "$version" ] ||
        die "deploy/chart/Chart.yaml is not of version $version"
}

notes() {
    # A commit between releases has what is unreleased.
    tools/release/changelog.sh "$version" 2>/dev/null || tools/release/changelog.sh Unreleased
}

programs
share
[ "$(cargo cyclonedx --version 2>/dev/null)" = "cargo-cyclonedx-cyclonedx $cyclonedx" ] ||
    cargo install --quiet --locked cargo-cyclonedx --version $cyclonedx
for arch in "${architectures[@]}"; do
    archive "$arch"
    debian "$arch"
done
materials amd64 x86_64-unknown-linux-musl
materials arm64 aarch64-unknown-linux-musl
chart
(cd "$dist" && sha256sum -- * >../SHA256SUMS && mv ../SHA256SUMS .)
# The release's own text, which is no file of it.
notes >"$dist/release-notes.md"
rm -rf "$work"
say "in $dist:"
ls -l "$dist"
