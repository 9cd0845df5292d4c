#!/usr/bin/env bash
# changelog.sh VERSION: prints the section of CHANGELOG.md with this name, without its heading: 1.2.3, or Unreleased.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=${1:?usage: changelog.sh VERSION}

section=$(awk -v heading="## [$version]" '
    index($0, heading) == 1 { inside = 1; next }
    /^## \[/ { inside = 0 }
    inside
' CHANGELOG.md)
[ -n "${section//[[:space:]]/}" ] || {
    echo "changelog.sh: CHANGELOG.md has nothing under [$version]" >&2
    exit 1
}
# Without the empty lines at both ends.
printf '%s\n' "$section" | sed -e '/./,$!d'
