#!/usr/bin/env bash
# runc for machines whose own bounding set lacks capabilities: privileged containers ask for all of
# them, and runc refuses those that it cannot give. This takes them out of what the engine asks
# for and runs runc. BUILDKIT_GHA_DROP_CAPS names them, as JSON.
set -euo pipefail

: "${BUILDKIT_GHA_DROP_CAPS:?a JSON list of capability names}"

# edit FILE PATH: PATH is where the process object stands in the document.
edit() {
    local changed
    changed=$(jq --argjson drop "$BUILDKIT_GHA_DROP_CAPS" \
        "if $2.capabilities then $2.capabilities |= map_values(. - \$drop) else . end" "$1")
    printf '%s\n' "$changed" >"$1"
}

previous=
for arg in "$@"; do
    case $previous in
    --bundle) edit "$arg/config.json" .process ;;
    --process) edit "$arg" '(.)' ;;
    esac
    previous=$arg
done
exec runc "$@"
