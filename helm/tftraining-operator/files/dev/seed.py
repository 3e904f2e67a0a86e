"""Fills the development store after each start of its pod: the kubelet probes until the buckets exist and hold the data sets."""

import http.server
import os
import pathlib

import urllib3
from minio import Minio
from minio.error import S3Error

PORT = 8334
FILES = pathlib.Path(__file__).parent
BUCKETS = {
    "tftraining": {},
    "datasets": {f"demo/other/{name}": FILES / name for name in ("iris_training.csv", "iris_test.csv")},
}


def ensure(store):
    """Create what is missing of buckets and objects."""
    for bucket, objects in BUCKETS.items():
        if not store.bucket_exists(bucket_name=bucket):
            store.make_bucket(bucket_name=bucket)
        for key, path in objects.items():
            try:
                store.stat_object(bucket_name=bucket, object_name=key)
            except S3Error as error:
                if error.code != "NoSuchKey":
                    raise
                store.fput_object(bucket_name=bucket, object_name=key, file_path=str(path))
                print(f"s3://{bucket}/{key} is there", flush=True)


class Probe(http.server.BaseHTTPRequestHandler):
    """Answers 200 once everything is there, 503 with the reason until then."""

    def do_GET(self):
        """Make everything be there, and say whether it is."""
        try:
            ensure(self.server.store)
            status, text = 200, "ok"
        except (S3Error, urllib3.exceptions.HTTPError, OSError) as error:
            status, text = 503, str(error)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        """Say nothing: a probe comes every few seconds."""


if __name__ == "__main__":
    server = http.server.HTTPServer(("", PORT), Probe)
    server.store = Minio(
        endpoint="127.0.0.1:8333",
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        secure=False,
        region="us-east-1",
        http_client=urllib3.PoolManager(retries=False, timeout=3),
    )
    server.serve_forever()
