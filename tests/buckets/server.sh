#!/usr/bin/env bash
# A server of object storage of the tests' own: S3 (MinIO) if $1 is s3, Azure's (Azurite) if it is az, in the
# directory $2. Prints its URL when it has a bucket, `tests`. The end of the input, which comes however the test
# ends, stops it and removes the directory.
set -euo pipefail
trap '' INT
kind=$1 dir=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$dir/data"
: >"$dir/log"

# line PATTERN: the first line of the log that matches, when it is there.
line() {
    until grep --max-count=1 --only-matching --extended-regexp "$1" "$dir/log"; do
        kill -0 "$server" || { cat "$dir/log" >&2 && exit 1; }
        sleep 0.05
    done
}

case $kind in
s3)
    # A folder is a bucket.
    mkdir "$dir/data/tests"
    MINIO_PROMETHEUS_AUTH_TYPE=public MINIO_BROWSER=off MINIO_UPDATE=off "$root/.tools/bin/minio" server --address 127.0.0.1:0 \
        "$dir/data" >"$dir/log" 2>&1 </dev/null &
    server=$!
    url=$(line 'http://127.0.0.1:[0-9]+')
    ;;
az)
    "$root/e2e/npm/node_modules/.bin/azurite-blob" --blobHost 127.0.0.1 --blobPort 0 --location "$dir/data" \
        --skipApiVersionCheck --disableTelemetry >"$dir/log" 2>&1 </dev/null &
    server=$!
    url=$(line 'http://127.0.0.1:[0-9]+')
    (cd "$root/e2e/npm" && URL=$url/$AZURE_ACCOUNT node --input-type=module --eval '
        import { BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob";
        const { URL: url, AZURE_ACCOUNT: account, AZURE_KEY: key } = process.env;
        const service = new BlobServiceClient(url, new StorageSharedKeyCredential(account, key));
        await service.createContainer("tests");
    ' >&2 </dev/null)
    ;;
esac
echo "$url"
cat >"$dir/input"
kill "$server"
wait "$server" || true
rm -rf "$dir"
