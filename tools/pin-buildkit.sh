#!/usr/bin/env bash
# pin-buildkit.sh VERSION: makes VERSION the BuildKit of the demo, the tests and the benches. The one
# that it replaces stays in `make test-matrix`, as tools/buildkit-<its version>.
set -euo pipefail
cd "$(dirname "$0")"

new=${1:?usage: pin-buildkit.sh VERSION, such as v0.35.0}
old=$(awk '$1 == "github.com/moby/buildkit" { print $2 }' buildkit/go.mod)
[ "$new" != "$old" ] || {
    printf '%s is pinned already\n' "$old" >&2
    exit 1
}
cp -r buildkit "buildkit-$old"
sed -i "1s|\$|-$old|" "buildkit-$old/go.mod"
cd buildkit
go get -tool "github.com/moby/buildkit/cmd/buildkitd@$new" "github.com/moby/buildkit/cmd/buildctl@$new"
go mod tidy
# What names upstream's images; deploy/check.sh finds out if one stays behind.
cd ../..
sed -i "s|moby/buildkit:$old|moby/buildkit:$new|g" image/Dockerfile docs/IMAGE.md docs/recipes.md
sed -i "s|^  BUILDKIT: $old\$|  BUILDKIT: $new|" .github/workflows/release.yml
