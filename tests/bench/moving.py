"""Objects into files, files into objects, archives into folders: each beside others' ways, with memory for a disk.

The server is VersityGW over files in memory, on the same two cores: what it takes, all ways take alike.
"""

from __future__ import annotations

import datetime
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from measures import NO_TARGET

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.integration.trainer.pods import ACCESS_KEY, SECRET_KEY, StoreServer, running_gateway
from tests.integration.trainer.tls import Authority

_MIB = 1024**2
_LARGE = 1024 * _MIB
_SMALL, _SMALL_BYTES = 1000, 100_000
_ROUNDS = 5
_ENTRIES = 20_000
_CHILD = Path(__file__).parent / "bytes_moved.py"
Job = dict[str, Any]
Figures = dict[str, float]


def measure() -> dict[str, Any]:
    """Measure all, and return the rows."""
    with tempfile.TemporaryDirectory(prefix="tftraining-bench-", dir="/dev/shm") as folder:
        root = Path(folder)
        for name in ("server", "behind", "authority"):
            (root / name).mkdir()
        authority = Authority.new(root / "authority")
        tls = (*authority.sign("store", "127.0.0.1", 2), authority.folder / "ca.crt")
        with running_gateway(root / "server") as server:
            common = _common(server)
            rows = [*_large(root, server, common), _small(root, server, common), *_publish(root, server, common)]
        with running_gateway(root / "behind", tls=tls) as server:
            rows += _publish(root, server, _common(server) | {"authority": str(tls[2])})
        return {"measures": [*rows, *_unpack(root)]}


def _common(server: StoreServer) -> Job:
    return {"endpoint": server.endpoint, "bucket": server.new_bucket(), "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}


def _large(root: Path, server: StoreServer, common: Job) -> Iterator[dict[str, Any]]:
    bucket = common["bucket"]
    server.client.put_object(bucket, "large/object", cast("BinaryIO", _Noise()), _LARGE, part_size=16 * _MIB)
    address = server.client.presigned_get_object(bucket, "large/object", datetime.timedelta(hours=1))
    job = common | {"prefix": "large/", "address": address, "size": _LARGE}
    took = _in_turns(root, dict.fromkeys(("fetch_ours", "fetch_boto3", "fetch_loop"), job))
    server.client.remove_object(bucket, "large/object")
    speeds = {name: [_LARGE / _MIB / each["seconds"] for each in rounds] for name, rounds in took.items()}
    ours, boto3, loop = (statistics.median(speeds[name]) for name in ("fetch_ours", "fetch_boto3", "fetch_loop"))
    yield {
        "number": "B9",
        "title": f"1 GiB object into memory, median of {_ROUNDS}",
        "unit": "MiB/s",
        "ours": ours,
        "target": "≥ 2 x boto3 and ≥ 1.0 x the loop",
        "met": ours >= 2 * boto3 and ours >= loop,
        "baselines": {"boto3's defaults": boto3, "ranges by hand": loop},
        "raw": speeds,
    }
    cpu = {name: [each["cpu"] for each in rounds] for name, rounds in took.items()}
    ours, boto3, loop = (statistics.median(cpu[name]) for name in ("fetch_ours", "fetch_boto3", "fetch_loop"))
    yield {
        "number": "B9",
        "title": f"CPU that it takes, median of {_ROUNDS}",
        "unit": "s",
        "ours": ours,
        "target": "≤ 0.85 x the loop",
        "met": ours <= 0.85 * loop,
        "baselines": {"boto3's defaults": boto3, "ranges by hand": loop},
        "raw": cpu,
    }
    memory = {name: [each["memory"] / _MIB for each in rounds] for name, rounds in took.items()}
    peak = max(memory["fetch_ours"])
    yield {
        "number": "B9",
        "title": "memory that it takes, the most of all rounds",
        "unit": "MiB",
        "ours": peak,
        "target": "≤ 64",
        "met": peak <= 64,
        "baselines": {"boto3's defaults": max(memory["fetch_boto3"]), "ranges by hand": max(memory["fetch_loop"])},
        "raw": memory,
    }


def _small(root: Path, server: StoreServer, common: Job) -> dict[str, Any]:
    for number in range(_SMALL):
        server.put(common["bucket"], f"small/{number:04d}", os.urandom(_SMALL_BYTES))
    job = common | {"prefix": "small/"}
    took = _in_turns(root, {"fetch_ours": job, "fetch_boto3": job})
    rates = {name: [_SMALL / each["seconds"] for each in rounds] for name, rounds in took.items()}
    ours, boto3 = statistics.median(rates["fetch_ours"]), statistics.median(rates["fetch_boto3"])
    return {
        "number": "B9",
        "title": f"{_SMALL} objects of 100 kB, median of {_ROUNDS}",
        "unit": "objects/s",
        "ours": ours,
        "target": "≥ 3 x boto3",
        "met": ours >= 3 * boto3,
        "baselines": {"boto3, one by one": boto3},
        "raw": rates,
    }


def _publish(root: Path, server: StoreServer, common: Job) -> Iterator[dict[str, Any]]:
    tls = "authority" in common
    way = "over TLS" if tls else "over HTTP"
    # Over TLS the server does not take what boto3 sends.
    names = {"publish_ours": "", "publish_least": "hashing and sending"} | ({} if tls else {"publish_boto3": "boto3, 8 files at once"})
    whole: dict[str, list[float]] = {name: [0.0] * _ROUNDS for name in names}
    for title, files, size, most in (
        ("1 GiB", 1, _LARGE, 1.3 if tls else 1.15),
        ("a SavedModel of 200 files, 64 MiB", 200, 64 * _MIB, 1.4 if tls else 1.25),
    ):
        source = root / "source"
        source.mkdir()
        for number in range(files):
            (source / f"{number:03d}").write_bytes(os.urandom(size // files))
        client, bucket = server.client, common["bucket"]
        addresses = {
            str(each): client.presigned_put_object(bucket, f"least/{each.name}", datetime.timedelta(hours=1)) for each in source.iterdir()
        }
        took = _in_turns(root, dict.fromkeys(names, common | {"source": str(source), "addresses": addresses}))
        shutil.rmtree(source)
        cpu = {name: [each["cpu"] for each in rounds] for name, rounds in took.items()}
        ours, others = _medians(cpu, names)
        yield {
            "number": "B10",
            "title": f"CPU to publish {title}, {way}, median of {_ROUNDS}",
            "unit": "s",
            "ours": ours,
            "target": f"≤ {most} x hashing and sending",
            "met": ours <= most * others["hashing and sending"],
            "baselines": others,
            "raw": cpu,
        }
        whole = {name: [a + each["seconds"] for a, each in zip(whole[name], rounds, strict=True)] for name, rounds in took.items()}
        if files == 1:
            memory = {name: [each["memory"] / _MIB for each in rounds] for name, rounds in took.items()}
            peak = max(memory["publish_ours"])
            yield {
                "number": "B10",
                "title": f"memory that it takes, {way}, the most of all rounds",
                "unit": "MiB",
                "ours": peak,
                "target": "≤ 8",
                "met": peak <= 8,
                "baselines": {title: max(memory[name]) for name, title in names.items() if title},
                "raw": memory,
            }
    ours, others = _medians(whole, names)
    boto3 = others.get("boto3, 8 files at once")
    yield {
        "number": "B10",
        "title": f"time to publish both, {way}, median of {_ROUNDS}",
        "unit": "s",
        "ours": ours,
        "target": "≤ 0.5 x boto3" if boto3 else NO_TARGET,
        "met": boto3 is None or ours <= 0.5 * boto3,
        "baselines": others,
        "raw": whole,
    }


def _medians(figures: dict[str, list[float]], names: dict[str, str]) -> tuple[float, dict[str, float]]:
    """Return our median, and those of the others by their titles."""
    return statistics.median(figures["publish_ours"]), {title: statistics.median(figures[name]) for name, title in names.items() if title}


def _unpack(root: Path) -> Iterator[dict[str, Any]]:
    ordinary = root / "ordinary.zip"
    with zipfile.ZipFile(ordinary, "w", zipfile.ZIP_DEFLATED) as file:
        for number in range(_ENTRIES):
            file.writestr(f"package/d{number // 200}/m{number}.txt", f"x = {number}\n" * 20)
    job = {"archive": str(ordinary)}
    took = _in_turns(root, {"unpack_ours": job, "unpack_least": job})
    rates = {name: [_ENTRIES / each["seconds"] for each in rounds] for name, rounds in took.items()}
    ours, least = statistics.median(rates["unpack_ours"]), statistics.median(rates["unpack_least"])
    yield {
        "number": "B11",
        "title": f"{_ENTRIES} small files out of a zip, all checks on, median of {_ROUNDS}",
        "unit": "files/s",
        "ours": ours,
        "target": "≥ 1.0 x the standard library",
        "met": ours >= least,
        "baselines": {"zipfile.extractall": least},
        "raw": rates,
    }
    bomb = root / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb.bin", bytes(512 * _MIB))
    figures = _in_turns(root, {"unpack_ours": {"archive": str(bomb), "refused": True}})["unpack_ours"]
    slowest = 1000 * max(each["seconds"] for each in figures)
    memory = max(each["memory"] for each in figures) / _MIB
    yield {
        "number": "B11",
        "title": f"a bomb of 512 MiB refused, in {memory:.0f} MiB of memory, slowest of {_ROUNDS}",
        "unit": "ms",
        "ours": slowest,
        "target": "≤ 100, in less than 32 MiB",
        "met": slowest <= 100 and memory < 32,
        "raw": {"ms": [1000 * each["seconds"] for each in figures]},
    }


def _in_turns(root: Path, jobs: dict[str, Job]) -> dict[str, list[Figures]]:
    """Do each of the jobs so many times, in turns, each time in a new process and an empty folder."""
    took: dict[str, list[Figures]] = {name: [] for name in jobs}
    for _ in range(_ROUNDS):
        for name, job in jobs.items():
            with _empty(root) as target:
                took[name].append(_alone(name, job | {"target": str(target)}))
    return took


def _alone(name: str, job: Job) -> Figures:
    ran = subprocess.run([sys.executable, "-P", str(_CHILD), name, json.dumps(job)], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{name} failed: {ran.stderr.strip()[-800:]}")
    figures: Figures = json.loads(ran.stdout)
    return figures


@contextmanager
def _empty(root: Path) -> Iterator[Path]:
    target = root / "target"
    target.mkdir()
    try:
        yield target
    finally:
        shutil.rmtree(target)


class _Noise(io.RawIOBase):
    """Bytes without end that no compression makes less of."""

    def __init__(self) -> None:
        self._block = os.urandom(_MIB)

    def read(self, size: int = -1) -> bytes:
        return self._block[:size] if size >= 0 else self._block
