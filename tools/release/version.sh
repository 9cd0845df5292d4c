#!/usr/bin/env bash
# version.sh: prints the version in Cargo.toml.
# version.sh --check [TAG]: fails unless everything that has a version has the same, and that of TAG (v1.2.3), for which
# the changelog must have a section.
# version.sh --set VERSION: writes it everywhere, and makes what is unreleased in CHANGELOG.md that version.
set -euo pipefail
cd "$(dirname "$0")/../.."

of_cargo() { sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1; }
of_lock() { awk '/^name = "buildkit-gha"$/ { getline; gsub(/"/, ""); print $3 }' "$1"; }
of_action() { jq -r .version action/package.json; }
of_action_lock() { jq -r '.version, .packages[""].version' action/package-lock.json | uniq; }
of_chart() { sed -n "s/^$1: *//p" deploy/chart/Chart.yaml; }

bad=0
# same WHAT FOUND WANTED
same() {
    [ "$2" = "$3" ] || {
        echo "version.sh: $1 has ${2:-no version}, and not $3" >&2
        bad=1
    }
}

check() {
    local tag=$1 version
    case $tag in v[0-9]* | '') ;; *) echo "version.sh: $tag is no tag like v1.2.3" >&2 && exit 2 ;; esac
    version=$(of_cargo)
    [ -z "$tag" ] || version=${tag#v}
    same Cargo.toml "$(of_cargo)" "$version"
    same Cargo.lock "$(of_lock Cargo.lock)" "$version"
    same action/package.json "$(of_action)" "$version"
    same action/package-lock.json "$(of_action_lock)" "$version"
    same 'deploy/chart/Chart.yaml (version)' "$(of_chart version)" "$version"
    same 'deploy/chart/Chart.yaml (appVersion)' "$(of_chart appVersion)" "$version"
    [ -z "$tag" ] || tools/release/changelog.sh "$version" >/dev/null || bad=1
    exit $bad
}

set_version() {
    local version=$1 old lock
    [[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || {
        echo "version.sh: $version is no version like 1.2.3" >&2
        exit 2
    }
    # An empty section is no release.
    tools/release/changelog.sh Unreleased >/dev/null
    old=$(of_cargo)
    sed -i "0,/^version = \"$old\"$/s//version = \"$version\"/" Cargo.toml
    for lock in Cargo.lock fuzz/Cargo.lock benches/micro/Cargo.lock; do
        sed -i "/^name = \"buildkit-gha\"$/{n;s/\".*\"/\"$version\"/}" $lock
    done
    sed -i -e "s/^version: .*/version: $version/" -e "s/^appVersion: .*/appVersion: $version/" deploy/chart/Chart.yaml
    npm version --prefix action --no-git-tag-version --allow-same-version "$version" >/dev/null
    sed -i "s/^## \[Unreleased\]$/## [Unreleased]\n\n## [$version] - $(date -u +%F)/" CHANGELOG.md
    echo "version.sh: $old is now $version; build the action again, and look at CHANGELOG.md"
}

case ${1:-} in
'') of_cargo ;;
--check) check "${2:-}" ;;
--set) set_version "${2:?usage: version.sh --set VERSION}" ;;
*) echo 'usage: version.sh [--check [TAG] | --set VERSION]' >&2 && exit 2 ;;
esac
