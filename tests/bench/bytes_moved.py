"""One way to move bytes, alone in a process: `python bytes_moved.py WAY JSON` prints seconds, CPU seconds, memory and bytes read.

Ours is the code that the containers run. Beside it stand boto3 with its defaults, and the least that such work can be: ranges read
by hand, a file hashed and sent, a zip unpacked by the standard library without a check.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import sys
import time
import urllib.parse
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tftrainer import archive
from tftrainer.fetch.download import fetch_all
from tftrainer.fetch.wanted import Wanted
from tftrainer.progress import Progress
from tftrainer.publish import tree, upload
from tftrainer.publish.tree import LocalFile
from tftrainer.storage.credentials import Credentials
from tftrainer.storage.store import Store

_RANGE = 16 * 1024**2
_BLOCK = 1024**2
Job = dict[str, Any]


def _store(job: Job) -> Store:
    parts = urllib.parse.urlsplit(job["endpoint"])
    return Store(Credentials("bench", False, parts.netloc, job["bucket"], access_key=job["accessKey"], secret_key=job["secretKey"]))


def fetch_ours(job: Job) -> Callable[[], None]:
    """Fetch all objects below the prefix, as the container `fetch` does it."""
    store, target = _store(job), Path(job["target"])
    list(store.list("nothing/"))

    def go() -> None:
        wanted = [Wanted(store, each, target / each.key, "data", "bench") for each in store.list(job["prefix"])]
        fetch_all(wanted, target / "staging", Progress(len(wanted), 1, lambda _: None))

    return go


def fetch_boto3(job: Job) -> Callable[[], None]:
    """Fetch the same objects with boto3's `download_file`, one after the other, with its defaults."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=job["endpoint"],
        region_name="us-east-1",
        aws_access_key_id=job["accessKey"],
        aws_secret_access_key=job["secretKey"],
    )
    client.list_objects_v2(Bucket=job["bucket"], Prefix="nothing/")

    def go() -> None:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=job["bucket"], Prefix=job["prefix"]):
            for each in page["Contents"]:
                path = Path(job["target"]) / each["Key"]
                path.parent.mkdir(parents=True, exist_ok=True)
                client.download_file(job["bucket"], each["Key"], str(path))

    return go


def fetch_loop(job: Job) -> Callable[[], None]:
    """Fetch one object by ranges from signed addresses, four at a time, from the socket into a buffer and from there to its place."""
    parts = urllib.parse.urlsplit(job["address"])

    def go() -> None:
        descriptor = os.open(Path(job["target"]) / "loop", os.O_WRONLY | os.O_CREAT, 0o644)
        os.posix_fallocate(descriptor, 0, job["size"])

        def fetch(start: int) -> None:
            end = min(start + _RANGE, job["size"])
            connection = http.client.HTTPConnection(parts.netloc)
            connection.request("GET", f"{parts.path}?{parts.query}", headers={"Range": f"bytes={start}-{end - 1}"})
            response = connection.getresponse()
            buffer = memoryview(bytearray(_BLOCK))
            while start < end:
                count = response.readinto(buffer)
                os.pwrite(descriptor, buffer[:count], start)
                start += count
            connection.close()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(fetch, range(0, job["size"], _RANGE)))
        os.close(descriptor)

    return go


def publish_ours(job: Job) -> Callable[[], None]:
    """Publish all files below the folder, as the container `publisher` does it."""
    store, root = _store(job), Path(job["source"])
    list(store.list("nothing/"))

    def go() -> None:
        files = [each for each in tree.walk(root, "") if isinstance(each, LocalFile)]
        _, failures = upload.upload_all(store, root, "published/", files, lambda _: None)
        if failures:
            raise RuntimeError(failures[0].message)

    return go


def publish_least(job: Job) -> Callable[[], None]:
    """Hash each file and send it in one request to a signed address: nothing else."""

    def go() -> None:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(job["endpoint"]).netloc)
        for path, address in job["addresses"].items():
            parts = urllib.parse.urlsplit(address)
            digest = hashlib.sha256()
            with Path(path).open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                connection.putrequest("PUT", f"{parts.path}?{parts.query}")
                connection.putheader("Content-Length", str(size))
                connection.endheaders()
                while block := file.read(_BLOCK):
                    digest.update(block)
                    connection.send(block)
            answer = connection.getresponse()
            if answer.status != http.HTTPStatus.OK:
                raise RuntimeError(f"{answer.status} for {path}")
            answer.read()

    return go


def unpack_ours(job: Job) -> Callable[[], None]:
    """Unpack an archive with all checks; one that is refused counts as done."""

    def go() -> None:
        try:
            archive.extract(Path(job["archive"]), Path(job["target"]) / "out", archive.Limits(entries=50_000))
        except archive.InvalidArchiveError:
            if not job.get("refused"):
                raise

    return go


def unpack_least(job: Job) -> Callable[[], None]:
    """Unpack the same archive with the standard library, which checks little."""

    def go() -> None:
        with zipfile.ZipFile(job["archive"]) as file:
            file.extractall(Path(job["target"]) / "out")

    return go


WAYS = {each.__name__: each for each in (fetch_ours, fetch_boto3, fetch_loop, publish_ours, publish_least, unpack_ours, unpack_least)}


def _peak() -> int:
    """Return the most memory since the last reset; not `getrusage`, which counts from before the process ran this program."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def _bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


def main() -> None:
    """Do it and print the figures; imports and a first connection are not part of them."""
    go = WAYS[sys.argv[1]](json.loads(sys.argv[2]))
    Path("/proc/self/clear_refs").write_text("5")
    base, read, cpu, begun = _peak(), _bytes_read(), time.process_time(), time.monotonic()
    go()
    took = {"seconds": time.monotonic() - begun, "cpu": time.process_time() - cpu, "memory": _peak() - base, "read": _bytes_read() - read}
    print(json.dumps(took))


if __name__ == "__main__":
    main()
