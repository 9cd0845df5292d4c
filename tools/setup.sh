#!/usr/bin/env bash
# Puts everything that the demo and the end-to-end suite run into place: Debian packages on the
# machine, BuildKit and buildx in .tools/bin, the npm client in e2e/npm/node_modules. Running it
# again does only what is missing or has changed.
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
    have curl || echo curl
    have jq || echo jq
    have ssh-agent || echo openssh-client
    have openssl || echo openssl
    { have setpriv && have umount; } || echo util-linux mount
    [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
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

# go_tools NAME VERSION_PACKAGE MODULE PACKAGE...: builds what tools/NAME pins.
go_tools() {
    local name=$1 version_package=$2 module=$3 stamp version pkg
    shift 3
    stamp=.tools/$name.stamp
    for pkg in "$@"; do
        [ -x "$bin/${pkg##*/}" ] || rm -f "$stamp"
    done
    if cat "tools/$name/go.mod" "tools/$name/go.sum" "$0" | cmp -s - "$stamp"; then
        return 0
    fi
    version=$(cd "tools/$name" && go list -m -f '{{.Version}}' "$module")
    say "building $name $version (1 to 3 minutes the first time)"
    # buildx wants exactly four words from buildkitd --version, so a revision must be there.
    (cd "tools/$name" && CGO_ENABLED=0 go build -o "$bin/" -ldflags \
        "-s -w -X $version_package.Version=$version -X $version_package.Revision=go-module" "$@")
    cat "tools/$name/go.mod" "tools/$name/go.sum" "$0" >"$stamp"
}

npm_client() {
    local installed=e2e/npm/node_modules/.stamp
    cmp -s e2e/npm/package-lock.json "$installed" && return 0
    say 'installing the npm client @actions/cache'
    npm ci --prefix e2e/npm --no-audit --no-fund --loglevel=error
    cp e2e/npm/package-lock.json "$installed"
}

mkdir -p "$bin"
check_languages
install_packages
go_tools buildkit github.com/moby/buildkit/version github.com/moby/buildkit \
    github.com/moby/buildkit/cmd/buildkitd github.com/moby/buildkit/cmd/buildctl
go_tools buildx github.com/docker/buildx/version github.com/docker/buildx \
    github.com/docker/buildx/cmd/buildx
npm_client
say 'ready'
