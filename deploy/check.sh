#!/usr/bin/env bash
# Checks all that is deployed from this repository, offline, with the programs that tools/setup.sh has put into
# place: the Dockerfile, the workflows, the systemd unit, the chart, the compose files, and the blocks of
# docs/recipes.md and the README that no test runs. The end-to-end tests run the others.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.tools/bin:$PWD/.tools/python/bin:$PATH
work=target/deploy
rm -rf $work
mkdir -p $work

# The oldest that the chart allows, and the newest that kubectl-validate has schemas of.
kubernetes=(1.25 1.27 1.30)
# systemd rates a unit from 0 (confined) to 10.
exposure=1.5

say() { printf 'deploy: %s\n' "$*"; }
die() {
    printf 'deploy: %s\n' "$*" >&2
    exit 1
}

# Each fenced block of the recipes and the README with a second word is a file: NNN-WORD, NNN being its line.
recipes() {
    mkdir -p $work/recipes
    awk -v dir=$work/recipes '
        /^```/ && file { close(file); file = ""; next }
        /^```/ && $2 { file = sprintf("%s/%03d-%s", dir, NR, $2); next }
        file { print > file }
    ' README.md docs/recipes.md
    # A recipe is run, or says that it is not.
    awk '
        function check() { if (name && !ok) { print "docs/recipes.md: " name; bad = 1 } }
        /^## / { check(); name = substr($0, 4); ok = 0 }
        /^```sh run/ || /^Not run here: / { ok = 1 }
        END { check(); exit bad }
    ' docs/recipes.md || die 'these recipes have neither a block that is run nor a line "Not run here: …"'
}

dockerfiles() {
    local present others
    hadolint image/Dockerfile
    present=$(awk '$1 == "github.com/moby/buildkit" { print $2 }' tools/buildkit/go.mod)
    grep --quiet "^  BUILDKIT: $present$" .github/workflows/release.yml ||
        die "release.yml builds images on another BuildKit than $present"
    others=$(grep -n 'moby/buildkit:v' image/Dockerfile docs/IMAGE.md docs/recipes.md | grep -v "moby/buildkit:$present") || true
    [ -z "$others" ] || die "another BuildKit than $present: $others"
    say "hadolint: image/Dockerfile, on BuildKit $present"
}

workflows() {
    node tools/lint-workflows.mjs
    check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
    check-jsonschema --quiet --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
    check-jsonschema --quiet --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/{bug,feature}.yml
    say 'dependabot.yml and the issue forms: their schemas'
    # Every action is pinned by a commit.
    if grep -rnE '^\s*-? *uses:' .github/workflows | grep -vE '@[0-9a-f]{40} # v|uses: \./'; then
        die 'these actions are not pinned by a commit'
    fi
}

units() {
    local root=$work/root unit=buildkit-gha-serve.service
    # A machine as the package makes it, with the units that every machine has.
    mkdir -p $root/usr/bin $root/usr/lib/systemd $root/etc
    cp -r /usr/lib/systemd/system $root/usr/lib/systemd/
    install -m 755 "${BUILDKIT_GHA:-target/debug/buildkit-gha}" $root/usr/bin/buildkit-gha
    install -m 644 deploy/systemd/$unit $root/usr/lib/systemd/system/
    # Its messages go to standard error, those of units of the machine as well.
    if ! systemd-analyze verify --man=no --recursive-errors=no --root=$root $unit 2>$work/verify ||
        grep buildkit-gha $work/verify; then
        cat $work/verify >&2
        die "systemd-analyze verify: $unit"
    fi
    systemd-analyze security --offline=true --no-pager --threshold=${exposure/./} deploy/systemd/$unit >$work/security ||
        die "$(tail -1 $work/security) (more than $exposure)"
    say "systemd-analyze: $(tail -1 $work/security)"
}

# chart_with VALUES NAME: its manifests are what each Kubernetes takes.
chart_with() {
    local values=$1 name=$2 version crds
    crds=$(cd tools/crds && go mod download -json github.com/prometheus-operator/prometheus-operator | jq -r .Dir)
    helm lint --quiet --strict deploy/chart --values "$values"
    for version in "${kubernetes[@]}"; do
        helm template checked deploy/chart --namespace builds --kube-version "$version" --values "$values" \
            >"$work/chart-$name-$version.yaml"
        kubectl-validate "$work/chart-$name-$version.yaml" --version "$version" \
            --local-crds "$crds/example/prometheus-operator-crd" >"$work/validate" 2>&1 || {
            cat "$work/validate" >&2
            die "kubectl-validate: $values with Kubernetes $version"
        }
    done
    # NOTES.txt is shown after an installation alone, which needs a cluster: here it is a value of a manifest.
    helm template checked $work/notes --namespace builds --kube-version "$version" --values "$values" \
        --show-only templates/notes.yaml >"$work/notes-$name.yaml"
    grep --quiet 'svc:' "$work/notes-$name.yaml" || die "NOTES.txt says nothing with $values"
}

chart() {
    local values said
    cp -r deploy/chart $work/notes
    {
        echo '{{ define "notes" }}'
        cat deploy/chart/templates/NOTES.txt
        printf '{{ end }}\nnotes: {{ include "notes" . | toJson }}\n'
    } >$work/notes/templates/notes.yaml
    : >$work/defaults.yaml
    chart_with $work/defaults.yaml defaults
    for values in deploy/chart/ci/*.yaml "$work"/recipes/*-values; do
        chart_with "$values" "$(basename "$values" .yaml)"
    done
    # What must be refused, for the reason that its first line names.
    for values in deploy/chart/ci/refused/*.yaml; do
        if said=$(helm template checked deploy/chart --kube-version 1.30 --values "$values" 2>&1); then
            die "the chart takes $values"
        fi
        grep --quiet --fixed-strings "$(sed -n '1s/^# //p' "$values")" <<<"$said" || die "$values: $said"
    done
    # The checker checks.
    sed 's/replicas: 1/replicas: "x"/' "$work/chart-defaults-1.30.yaml" >$work/wrong.yaml
    if kubectl-validate $work/wrong.yaml >/dev/null 2>&1; then die 'kubectl-validate takes what is wrong'; fi
    for values in "$work"/recipes/*-manifest; do
        cp "$values" "$values.yaml"
        kubectl-validate "$values.yaml" >/dev/null
    done
    say "chart: helm lint, helm template and kubectl-validate for Kubernetes ${kubernetes[*]}"
}

compose() {
    local file
    for file in deploy/compose*.yaml; do
        check-jsonschema --quiet --builtin-schema vendor.compose-spec "$file"
        # The loader alone reads no environment: passwords that must be set get a value.
        sed -E 's/\$\{?CACHE_PASSWORD(:\?[^}]*\})?/checked/' "$file" >"$work/$(basename "$file")"
        .tools/bin/compose-spec/cmd "$work/$(basename "$file")" >"$work/loaded.yaml"
    done
    say 'compose files: the schema, and the loader of docker compose'
}

tools/release/version.sh --check
recipes
dockerfiles
workflows
units
chart
compose
say 'all is well'
