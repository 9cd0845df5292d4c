#!/usr/bin/env bash
# Builds the servers that ours is compared with into the folder $1: act's cache server from the Go module, and
# falcondev-oss/github-actions-cache-server from the checkout $2, which stays as it is, on the Node.js that it asks for.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
checkout=$(cd "$2" && pwd)

(cd "$here" && CGO_ENABLED=0 go build -trimpath -o "$out/act" .)

version=$(git -C "$checkout" describe --always)
if [ "$(cat "$out/falcondev.version" 2>/dev/null || true)" = "$version" ]; then
    exit 0
fi
rm -rf "$out/falcondev" "$out/source"
git clone --quiet --no-hardlinks "$checkout" "$out/source"
cd "$out/source"
npm install --no-audit --no-fund --no-save --prefix "$out/tools" node@25 pnpm@10
node=$(echo "$out"/tools/node_modules/node/node_modules/node-linux-*)
export PATH=$node/bin:$out/tools/node_modules/.bin:$PATH
pnpm install --frozen-lockfile
# pnpm has built it for the Node.js of the machine.
(
    cd node_modules/better-sqlite3
    npm_config_nodedir=$node npx --yes node-gyp rebuild --release
)
pnpm run build
cp -r .output "$out/falcondev"
ln -sf "$node/bin/node" "$out/node"
echo "$version" >"$out/falcondev.version"
