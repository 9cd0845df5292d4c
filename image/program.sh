#!/usr/bin/env bash
# program.sh ARCH [DIR]: builds buildkit-gha as one static program for Linux on ARCH (amd64 or arm64) and
# puts it at DIR/ARCH/buildkit-gha (DIR: target/image). PROFILE=dev builds it as `cargo build` would, and
# FEATURES names features of Cargo.toml.
#
# It is linked with musl, and its C code (aws-lc, sqlite, zstd) is compiled by zig, which has a C library
# for both architectures (tools/setup.sh installs it). No path of this machine is in the program.
set -euo pipefail

usage='usage: program.sh amd64|arm64 [DIR]'
arch=${1:?$usage}
repository=$(cd "$(dirname "$0")/.." && pwd)
dir=$(realpath --canonicalize-missing "${2:-$repository/target/image}")
profile=${PROFILE:-release}
cd "$repository"

case $arch in
amd64) target=x86_64-unknown-linux-musl ;;
arm64) target=aarch64-unknown-linux-musl ;;
*)
    printf 'program.sh: %s is none of the architectures; %s\n' "$arch" "$usage" >&2
    exit 2
    ;;
esac

zig=$repository/.tools/python/bin
[ -x "$zig/cargo-zigbuild" ] || {
    echo 'program.sh: cargo-zigbuild is missing: run tools/setup.sh' >&2
    exit 1
}
export PATH=$zig:$PATH

# Messages of a panic and assertions of C code name source files.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
name=${target//-/_}
declare -x "CARGO_TARGET_${name^^}_RUSTFLAGS=--remap-path-prefix=$repository=/buildkit-gha --remap-path-prefix=$cargo_home=/cargo"
declare -x "CFLAGS_$name=-ffile-prefix-map=$repository=/buildkit-gha -ffile-prefix-map=$cargo_home=/cargo"

# Where rust-src is installed, panics in generic code of the standard library name its files there. Elsewhere they
# name what rustc was built from, so that must be their name here as well. Tests need not be built again for that.
if [ "$profile" = release ]; then
    commit=$(rustc --version --verbose | sed -n 's/^commit-hash: //p')
    sources=$(rustc --print sysroot)/lib/rustlib/src/rust
    declare -x "CARGO_TARGET_${name^^}_RUSTFLAGS+= --remap-path-prefix=$sources=/rustc/$commit"
fi

cargo zigbuild --locked --features "${FEATURES:-}" --profile "$profile" --target "$target" --bin buildkit-gha
# Cargo calls the folder of the profile dev by another name.
built=${CARGO_TARGET_DIR:-target}/$target/${profile/#dev/debug}/buildkit-gha

if readelf --program-headers "$built" | grep -q INTERP; then
    echo "program.sh: $built is not static" >&2
    exit 1
fi
install -D -m 755 "$built" "$dir/$arch/buildkit-gha"
