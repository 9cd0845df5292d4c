#!/usr/bin/env bash
# notices.sh [DIR]: writes LICENSE and THIRD-PARTY-NOTICES, the licences of all that is in the static programs,
# into DIR (target/image). cargo-about reads those of the crates from their sources, with no other network than
# cargo's own; the C library and its like are added from where they come from.
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
dir=$(realpath --canonicalize-missing "${1:-$repository/target/image}")
cd "$repository"
version=0.9.3

title() { printf '=%.0s' {1..80}; printf '\n%s\n\n' "$1"; }

[ "$(cargo about --version 2>/dev/null)" = "cargo-about $version" ] ||
    cargo install --quiet --locked cargo-about --version $version --features cli
cargo fetch --quiet --locked
mkdir -p "$dir"
zig=$(.tools/python/bin/python -c 'import pathlib, ziglang; print(pathlib.Path(ziglang.__file__).parent)')
{
    cargo about generate --frozen --fail --config image/about.toml image/about.hbs
    title 'musl, the C library'
    cat "$zig/lib/libc/musl/COPYRIGHT"
    title 'zig: parts of the runtime of its C compiler'
    cat "$zig/LICENSE"
    title 'The standard library of Rust'
    echo 'Copyright (c) The Rust Project Contributors, under the MIT licence or the Apache License 2.0, which stand above.'
    title 'The CA certificates in the image of serve'
    echo "Mozilla's list, as the image of BuildKit has it: Mozilla Public License 2.0, https://www.mozilla.org/MPL/2.0/."
    echo 'Its source: https://hg.mozilla.org/projects/nss (certdata.txt).'
} >"$dir/THIRD-PARTY-NOTICES.new"
mv "$dir/THIRD-PARTY-NOTICES.new" "$dir/THIRD-PARTY-NOTICES"
install -m 644 LICENSE "$dir/LICENSE"
