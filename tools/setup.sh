#!/usr/bin/env bash
# Puts everything that the demo and the end-to-end suite run into place: Debian packages on the
# machine, BuildKit, buildx and what checks deploy/ in .tools/bin, zig and linters from PyPI in .tools/python, npm
# packages in e2e/npm and action. Running it again does only what is missing or has changed.
#
# With --matrix it also builds every older BuildKit that tools/buildkit-<version> pins, so that
# .tools/bin/<version> has buildkitd and buildctl of each version, the present one included. With --dist it
# only puts into place what `make dist` needs, and installs no Debian package.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$PWD/.tools/bin

say() { printf 'tools: %s\n' "$*"; }
die() {
    printf 'tools: %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# Daemons live in sbin, which is not on every user's path.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# Languages come from their own installers: a version from Debian may be too old.
check_languages() {
    have cargo || die 'cargo is missing: install Rust with rustup; rust-toolchain.toml picks the version'
    have go || die 'go is missing: install Go 1.26 or newer'
    { have node && have npm; } || die 'node or npm is missing: install Node.js 20 or newer'
    local major
    major=$(node --print 'process.versions.node.split(".")[0]')
    [ "$major" -ge 20 ] || die "Node.js $major is too old: the suite needs 20 or newer"
}

# The static busybox is what the images of the tests are made of: they start from scratch.
static_busybox() {
    have busybox || return 1
    case $(ldd "$(command -v busybox)" 2>&1 || true) in
    *'not a dynamic'* | *'statically linked'*) ;;
    *) return 1 ;;
    esac
}

missing_packages() {
    have cc || echo build-essential
    { have docker && have dockerd; } || echo docker.io
    have docker || echo docker-cli
    have runc || echo runc
    static_busybox || echo busybox-static
    have iptables || echo iptables
    have git || echo git
    have curl || echo curl
    have jq || echo jq
    have ssh-agent || echo openssh-client
    have openssl || echo openssl
    have tmux || echo tmux
    # What image/base.sh puts into the stand-in for upstream's image.
    have git || echo git
    have pigz || echo pigz
    have xz || echo xz-utils
    { have fusermount3 && have fuse-overlayfs; } || echo fuse3 fuse-overlayfs
    have newuidmap || echo uidmap
    have setcap || echo libcap2-bin
    have qemu-aarch64-static || echo qemu-user-static
    # The tests run a server of their own; its programs are on nobody's path.
    { have psql && [ -n "$(compgen -G '/usr/lib/postgresql/*/bin/initdb')" ]; } || echo postgresql
    { have prometheus && have promtool; } || echo prometheus
    # The load balancer of the tests, which Debian keeps off the path of users.
    have haproxy || [ -x /usr/sbin/haproxy ] || echo haproxy
    { have setpriv && have umount; } || echo util-linux mount
    [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
    python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    have systemd-analyze || echo systemd
    # The page of `serve` is tested in a browser.
    { have chromium || have google-chrome; } || echo chromium
}

install_packages() {
    local wanted
    wanted=$(missing_packages | tr '\n' ' ')
    [ -n "$wanted" ] || return 0
    have apt-get || die "missing, and there is no apt-get to install them with: $wanted"
    [ "$(id -u)" = 0 ] || die "missing; as root: apt-get install --no-install-recommends $wanted"
    say "installing Debian packages: $wanted"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # docker-cli is a package of its own only in newer releases.
    case " $wanted " in
    *" docker-cli "*) apt-cache show docker-cli >/dev/null 2>&1 || wanted=${wanted/docker-cli/} ;;
    esac
    # No daemon is started: the suite runs its own, and so does the demo if there is none.
    # shellcheck disable=SC2086 # a list of words
    RUNLEVEL=1 apt-get install -qq -y --no-install-recommends $wanted >/dev/null
    wanted=$(missing_packages | tr '\n' ' ')
    [ -z "$wanted" ] || die "still missing after the installation: $wanted"
}

# go_tools NAME DIR VERSION_PACKAGE MODULE PACKAGE...: builds what tools/NAME pins into DIR.
go_tools() {
    local name=$1 out=$2 version_package=$3 module=$4 stamp version pkg
    shift 4
    stamp=.tools/$name.stamp
    for pkg in "$@"; do
        [ -x "$out/${pkg##*/}" ] || rm -f "$stamp"
    done
    if cat "tools/$name/go.mod" "tools/$name/go.sum" "$0" | cmp -s - "$stamp"; then
        return 0
    fi
    version=$(cd "tools/$name" && go list -m -f '{{.Version}}' "$module")
    say "building $name $version (1 to 3 minutes the first time)"
    # buildx wants exactly four words from buildkitd --version, so a revision must be there.
    (cd "tools/$name" && CGO_ENABLED=0 go build -o "$out/" -ldflags \
        "-s -w -X $version_package.Version=$version -X $version_package.Revision=go-module" "$@")
    cat "tools/$name/go.mod" "tools/$name/go.sum" "$0" >"$stamp"
}

# buildkit NAME DIR: buildkitd and buildctl.
buildkit() {
    go_tools "$1" "$2" github.com/moby/buildkit/version github.com/moby/buildkit \
        github.com/moby/buildkit/cmd/buildkitd github.com/moby/buildkit/cmd/buildctl
}

# The buildkitd of the signing tests is stock but for what it takes for a genuine signature.
sealing_buildkitd() {
    local out=$bin/sealing work=$PWD/.tools/sealing stand_in=$PWD/e2e/signing/verifier.go
    local helpers=github.com/moby/policy-helpers
    local inputs=(tools/buildkit/go.mod tools/buildkit/go.sum "$stand_in" "$0")
    if [ -x "$out/buildkitd" ] && cat "${inputs[@]}" | cmp -s - "$work/stamp"; then
        return 0
    fi
    say 'building the buildkitd of the signing tests'
    rm -rf "$work"
    mkdir -p "$work"
    cp -r "$(cd tools/buildkit && go list -m -f '{{.Dir}}' "$helpers")" "$work/helpers"
    chmod -R u+w "$work/helpers"
    cp "$stand_in" "$work/helpers/verifier.go"
    cp tools/buildkit/go.mod tools/buildkit/go.sum "$work/"
    (cd "$work" && go mod edit -replace "$helpers=./helpers" &&
        CGO_ENABLED=0 go build -o "$out/" -ldflags '-s -w' github.com/moby/buildkit/cmd/buildkitd)
    cat "${inputs[@]}" >"$work/stamp"
}

# rootlesskit and the CNI plugins that are in upstream's image.
base_tools() {
    local plugins=github.com/containernetworking/plugins/plugins
    local rootlesskit=github.com/rootless-containers/rootlesskit/v3
    go_tools base "$bin/base" $rootlesskit/pkg/version $rootlesskit $rootlesskit/cmd/rootlesskit \
        $plugins/main/bridge $plugins/main/loopback $plugins/ipam/host-local $plugins/meta/firewall
}

# test_program NAME SOURCE [ARCHITECTURE]: a program of the tests' own, static, with BuildKit's modules at hand.
test_program() {
    local name=$1 source=$2 stamp=.tools/$1.stamp
    local -x GOARCH=${3:-}
    if [ -x "$bin/$name" ] && cat "$source" tools/buildkit/go.mod "$0" | cmp -s - "$stamp"; then
        return 0
    fi
    say "building $name, a program of the tests"
    (cd tools/buildkit && CGO_ENABLED=0 go build -o "$bin/$name" -ldflags '-s -w' "../../$source")
    cat "$source" tools/buildkit/go.mod "$0" >"$stamp"
}

matrix() {
    local module present
    for module in tools/buildkit-v*; do
        buildkit "${module##*/}" "$bin/${module##*buildkit-}"
    done
    present=$(cd tools/buildkit && go list -m -f '{{.Version}}' github.com/moby/buildkit)
    mkdir -p "$bin/$present"
    ln -sf ../buildkitd ../buildctl "$bin/$present/"
}

# npm_packages DIR WHAT: what DIR/package-lock.json pins, into DIR/node_modules.
npm_packages() {
    local installed=$1/node_modules/.stamp
    cmp -s "$1/package-lock.json" "$installed" && return 0
    say "installing $2"
    npm ci --prefix "$1" --no-audit --no-fund --loglevel=error
    cp "$1/package-lock.json" "$installed"
}

# Programs from PyPI, in .tools/python/bin: zig, cargo-zigbuild, hadolint, check-jsonschema.
python_tools() {
    local wanted=tools/python/requirements.txt stamp=.tools/python/.stamp
    cmp -s "$wanted" "$stamp" && return 0
    say 'installing zig, cargo-zigbuild, hadolint and check-jsonschema'
    rm -rf .tools/python
    python3 -m venv .tools/python
    .tools/python/bin/pip install --quiet --disable-pip-version-check --require-hashes -r "$wanted"
    cp "$wanted" "$stamp"
}

# OpenDAL's client of an Actions cache, which is that of sccache (150 s of CPU time).
opendal_client() {
    local dir=e2e/opendal stamp=.tools/opendal-client.stamp
    if [ -x "$bin/opendal-client" ] && cat $dir/Cargo.lock $dir/src/main.rs "$0" | cmp -s - "$stamp"; then
        return 0
    fi
    say 'building opendal-client, a program of the tests (1 to 3 minutes)'
    cargo build --quiet --locked --manifest-path $dir/Cargo.toml --target-dir .tools/opendal
    cp .tools/opendal/debug/buildkit-gha-opendal "$bin/opendal-client"
    cat $dir/Cargo.lock $dir/src/main.rs "$0" >"$stamp"
}

# What static programs are built for; the host's toolchain may have neither.
musl_targets() {
    local said
    said=$(rustup target add x86_64-unknown-linux-musl aarch64-unknown-linux-musl 2>&1) ||
        die "rustup could not add the targets of static programs: $said"
}

helm() {
    go_tools helm "$bin" helm.sh/helm/v3/internal/version helm.sh/helm/v3 helm.sh/helm/v3/cmd/helm
}

# What else checks deploy/: Kubernetes' schemas, that of a ServiceMonitor, and the loader of docker compose.
deploy_checkers() {
    go_tools kubectl-validate "$bin" sigs.k8s.io/kubectl-validate sigs.k8s.io/kubectl-validate \
        sigs.k8s.io/kubectl-validate
    go_tools compose "$bin/compose-spec" none github.com/compose-spec/compose-go/v2 \
        github.com/compose-spec/compose-go/v2/cmd
    (cd tools/crds && go mod download github.com/prometheus-operator/prometheus-operator)
}

mkdir -p "$bin"
check_languages
if [ "${1:-}" = --dist ]; then
    python_tools
    musl_targets
    helm
    say 'ready for make dist'
    exit
fi
install_packages
buildkit buildkit "$bin"
base_tools
sealing_buildkitd
# A client that is neither buildctl nor buildx, a build step that attacks other builds, and a collector of
# traces.
test_program solve e2e/client/main.go
test_program eavesdropper e2e/eavesdropper/main.go
test_program collector e2e/collector/main.go
# A build step of another platform.
test_program platform e2e/platform/main.go arm64
[ "${1:-}" != --matrix ] || matrix
go_tools buildx "$bin" github.com/docker/buildx/version github.com/docker/buildx \
    github.com/docker/buildx/cmd/buildx
# Workflows are run by act and checked by actionlint.
go_tools act "$bin" main github.com/nektos/act github.com/nektos/act
go_tools actionlint "$bin" main github.com/rhysd/actionlint github.com/rhysd/actionlint/cmd/actionlint
# What object storage is to the tests: S3 and Azure.
go_tools minio "$bin" none github.com/minio/minio github.com/minio/minio
npm_packages e2e/npm 'the npm client @actions/cache, azurite, and what drives a browser'
opendal_client
npm_packages action 'what the action is made and tested with'
python_tools
musl_targets
helm
deploy_checkers
say 'ready'
