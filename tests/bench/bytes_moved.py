"""One way to move bytes, alone in a process: `python bytes_moved.py WAY JSON` prints seconds, CPU seconds and memory.

Ours is the code that the containers run. Beside it stand boto3 with its defaults, and the least that such work can be: ranges read
by hand, a file hashed and sent, a zip unpacked by the standard library without a check. Where the endpoint has TLS, all use it.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import ssl
import sys
import time
import urllib.parse
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from tftrainer import archive
from tftrainer.fetch.download import fetch_all
from tftrainer.fetch.pins import Inputs
from tftrainer.fetch.selection import Selection
from tftrainer.fetch.wanted import Batch, Wanted
from tftrainer.messages import handover
from tftrainer.messages.handover import Baseline, FetchedFile
from tftrainer.outputs import tree, upload
from tftrainer.outputs.tree import LocalFile
from tftrainer.progress import Progress
from tftrainer.storage.credentials import Credentials
from tftrainer.storage.store import Store

_RANGE = 16 * 1024**2
_BLOCK = 1024**2
_FILES_AT_ONCE = 8
Job = dict[str, Any]


def _store(job: Job) -> Store:
    parts = urllib.parse.urlsplit(job["endpoint"])
    keys = {"access_key": job["accessKey"], "secret_key": job["secretKey"]}
    authority = Path(job["authority"]).read_text() if job.get("authority") else None
    return Store(Credentials("bench", parts.scheme == "https", parts.netloc, job["bucket"], ca_certificate=authority, **keys))


def _boto3(job: Job) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=job["endpoint"],
        region_name="us-east-1",
        aws_access_key_id=job["accessKey"],
        aws_secret_access_key=job["secretKey"],
        verify=job.get("authority"),
        config=Config(max_pool_connections=_FILES_AT_ONCE * 10),
    )


def _connection(job: Job, host: str) -> http.client.HTTPConnection:
    if not job.get("authority"):
        return http.client.HTTPConnection(host)
    return http.client.HTTPSConnection(host, context=ssl.create_default_context(cafile=job["authority"]))


def fetch_ours(job: Job) -> Callable[[], None]:
    """Fetch all objects below the prefix, as the container `fetch` does it."""
    store, target = _store(job), Path(job["target"])
    list(store.list("nothing/"))

    def go() -> None:
        wanted = [Wanted(store, each, target / each.key, "data", "bench") for each in store.list(job["prefix"])]
        fetch_all(wanted, target / "staging", Progress(len(wanted), 1, lambda _: None))

    return go


def fetch_many(job: Job) -> Callable[[], None]:
    """List and plan all objects below the prefix, fetch some, and tell the publisher of all, as the container `fetch` does it."""
    store, target = _store(job), Path(job["target"])
    list(store.list("nothing/"))

    def go() -> None:
        selection = Selection([Batch(store, job["prefix"], target / "bucket", "bench", store.list(job["prefix"]))])
        fetch_all(islice(selection, job["sample"]), target / "staging", Progress(job["sample"], 1, lambda _: None))
        inputs = Inputs()
        files = (FetchedFile(path=str(each.target), size=0, mtime_ns=0, inode=0, etag=each.info.etag) for each in inputs.counted(selection))
        handover.write_files(files, target / handover.FILES_NAME)
        handover.write(Baseline(inputs=tuple(inputs.listed), more_inputs=inputs.more), target / handover.BASELINE_NAME)

    return go


def fetch_boto3(job: Job) -> Callable[[], None]:
    """Fetch the same objects with boto3's `download_file`, one after the other, with its defaults."""
    client = _boto3(job)
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
        sent = upload.upload_all(store, root, "published/", files, lambda _: None)
        if sent.failures:
            raise RuntimeError(sent.failures[0].message)

    return go


def publish_least(job: Job) -> Callable[[], None]:
    """Hash each file and send it in one request to a signed address: nothing else."""

    def go() -> None:
        connection = _connection(job, urllib.parse.urlsplit(job["endpoint"]).netloc)
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


def publish_boto3(job: Job) -> Callable[[], None]:
    """Upload the same files with boto3's `upload_file`, several at once, with its own checksums."""
    client, root = _boto3(job), Path(job["source"])
    client.list_objects_v2(Bucket=job["bucket"], Prefix="nothing/")

    def go() -> None:
        with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            list(pool.map(lambda each: client.upload_file(str(each), job["bucket"], f"boto3/{each.name}"), sorted(root.iterdir())))

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


WAYS = {
    each.__name__: each
    for each in (fetch_ours, fetch_many, fetch_boto3, fetch_loop, publish_ours, publish_least, publish_boto3, unpack_ours, unpack_least)
}


def _peak() -> int:
    """Return the most memory since the last reset; not `getrusage`, which counts from before the process ran this program."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def main() -> None:
    """Do it and print the figures; imports and a first connection are not part of them."""
    go = WAYS[sys.argv[1]](json.loads(sys.argv[2]))
    Path("/proc/self/clear_refs").write_text("5")
    base, cpu, begun = _peak(), time.process_time(), time.monotonic()
    go()
    took = {"seconds": time.monotonic() - begun, "cpu": time.process_time() - cpu, "memory": _peak() - base}
    took["peak"] = _peak()
    print(json.dumps(took))


if __name__ == "__main__":
    main()
