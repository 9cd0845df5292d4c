#!/usr/bin/env bash
# A server of object storage of the tests' own: S3 (MinIO) if $1 is s3, Azure's (Azurite) if it is az, and if it is gs a
# stand-in for Google's, in the directory $2. Prints its URL when it has a bucket, `tests`. The end of the input, which comes however the test
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

# Google's XML API has the calls of S3, also those of multipart uploads, which Google's usual stand-in lacks. What differs
# is who may, here anybody, and the header of a create.
open_to_all() {
    local policy='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},
        "Action":["s3:*"],"Resource":["arn:aws:s3:::tests","arn:aws:s3:::tests/*"]}]}'
    curl --silent --show-error --fail --retry 5 --retry-connrefused --max-time 30 \
        --aws-sigv4 aws:amz:us-east-1:s3 --user "$MINIO_ROOT_USER:$MINIO_ROOT_PASSWORD" \
        --header "x-amz-content-sha256: $(printf %s "$policy" | sha256sum | cut -d' ' -f1)" \
        --request PUT "$1/tests?policy=" --data "$policy" >&2
}

translate() {
    MINIO=$1 node --input-type=module --eval '
        import http from "node:http";
        const agent = new http.Agent({ keepAlive: true });
        const { hostname, port } = new URL(process.env.MINIO);
        const server = http.createServer((request, response) => {
            const { authorization, ...headers } = request.headers;
            if (headers["x-goog-if-generation-match"] === "0") headers["if-none-match"] = "*";
            const { method, url: path } = request;
            const sent = http.request({ agent, hostname, port, method, path, headers }, (answer) => {
                response.writeHead(answer.statusCode, answer.headers);
                answer.pipe(response);
            });
            sent.on("error", () => response.destroy());
            response.on("close", () => sent.destroy());
            request.pipe(sent);
        });
        server.listen(0, "127.0.0.1", () => console.log(`google: http://127.0.0.1:${server.address().port}`));
    ' >>"$dir/log" 2>&1 </dev/null &
    translator=$!
}

case $kind in
s3 | gs)
    # A folder is a bucket.
    mkdir "$dir/data/tests"
    MINIO_PROMETHEUS_AUTH_TYPE=public MINIO_BROWSER=off MINIO_UPDATE=off "$root/.tools/bin/minio" server --address 127.0.0.1:0 \
        "$dir/data" >"$dir/log" 2>&1 </dev/null &
    server=$!
    url=$(line 'http://127.0.0.1:[0-9]+')
    if [ "$kind" = gs ]; then
        open_to_all "$url"
        translate "$url"
        url=$(line 'google: http://127.0.0.1:[0-9]+')
        url=${url#google: }
    fi
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
kill "$server" ${translator:+"$translator"}
wait || true
rm -rf "$dir"
