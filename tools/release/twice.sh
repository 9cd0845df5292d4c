#!/usr/bin/env bash
# twice.sh: runs dist.sh on this commit in two clones whose paths differ, each from nothing, and compares what it
# makes. What is not committed is not in it.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/target/twice
rm -rf "$work"
mkdir -p "$work/second/longer"

for clone in "$work/first" "$work/second/longer/checkout"; do
    git clone --quiet . "$clone"
    # The same tools, as two machines would have them.
    ln -s "$PWD/.tools" "$clone/.tools"
    (cd "$clone" && tools/release/dist.sh)
done
diff "$work/first/target/dist/SHA256SUMS" "$work/second/longer/checkout/target/dist/SHA256SUMS" || {
    echo 'twice.sh: the two runs made different bytes' >&2
    exit 1
}
(cd "$work/first/target/dist" && sha256sum --check SHA256SUMS)
echo 'twice.sh: both runs made the same bytes'
