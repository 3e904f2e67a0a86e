"""Puts the examples' code into the bucket, as a user would with any S3 client."""

from __future__ import annotations

import io
import zipfile
from urllib.parse import urlsplit

from minio import Minio

from demo.target import REPOSITORY, Bucket

EXAMPLES = REPOSITORY / "examples"


def client(bucket: Bucket) -> Minio:
    """Return an S3 client of the demo store."""
    parts = urlsplit(bucket.endpoint)
    return Minio(
        endpoint=parts.netloc,
        access_key=bucket.access_key,
        secret_key=bucket.secret_key,
        secure=parts.scheme == "https",
        region="us-east-1",
    )


def archive(folder: str, *names: str) -> bytes:
    """Return a zip of the named files of one example folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name in names:
            target.writestr(name, (EXAMPLES / folder / name).read_bytes())
    return buffer.getvalue()


def upload_examples(bucket: Bucket) -> list[str]:
    """Upload the code that the example jobs name and return the URIs of the objects."""
    objects = {
        "code/premade_estimator.py": (EXAMPLES / "iris" / "premade_estimator.py").read_bytes(),
        "code/iris.zip": archive("iris", "iris_data.py"),
    }
    store = client(bucket)
    for key, content in objects.items():
        store.put_object(bucket.bucket, key, io.BytesIO(content), len(content))
    return [f"s3://{bucket.bucket}/{key}" for key in objects]
