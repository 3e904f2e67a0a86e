"""Files that look as before and are not: the bucket has what the script wrote last."""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tftrainer.messages import manifest
from tftrainer.messages.contract import Plan, WantedCheckpoints
from tftrainer.outputs.settled import SETTLED_SECONDS, notes_mapped_writes

from tests.integration.trainer.launched import QUICK, Trainer, until, with_script
from tests.integration.trainer.pods import Pod, StoreServer

NAME = "reports/state.bin"
SIZE = 3 * mmap.PAGESIZE


@pytest.fixture(params=["on disk", "in memory"])
def placed(request: pytest.FixtureRequest, tmp_path: Path, store_server: StoreServer) -> Iterator[Pod]:
    """Return a pod whose workspace lies on a disk, and one whose workspace lies in memory, where mapped writes never show."""
    shared = Path("/dev/shm")
    if request.param == "in memory" and (not os.access(shared, os.W_OK) or notes_mapped_writes(shared.stat().st_dev)):
        pytest.skip("no file system in memory here")
    with tempfile.TemporaryDirectory(dir=shared if request.param == "in memory" else tmp_path) as folder:
        yield Pod(Path(folder) / "pod", store_server, store_server.new_bucket(), store_server.new_bucket())


def mapped_after_a_look(path: Path) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        assert mapped[0] == ord("A")
        mapped[0] = ord("B")


def copied_with_its_time(path: Path) -> None:
    other = path.parent.parent / "other"
    other.write_bytes(b"B" + path.read_bytes()[1:])
    shutil.copystat(path, other)
    shutil.copy2(other, path)
    other.unlink()


def in_place_with_its_time(path: Path) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"B")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def touched_like_another(path: Path) -> None:
    reference = path.with_name("reference")
    subprocess.run(["touch", "-r", path, reference], check=True)
    with path.open("r+b") as file:
        file.write(b"B")
    subprocess.run(["touch", "-r", reference, path], check=True)
    reference.unlink()


@pytest.mark.parametrize("change", [mapped_after_a_look, copied_with_its_time, in_place_with_its_time, touched_like_another])
def test_a_fetched_file_that_was_changed_and_looks_untouched_is_published(placed: Pod, plan: Plan, change: Callable[[Path], None]) -> None:
    with_script(placed)
    placed.put(NAME, b"A" * SIZE)
    placed.put("reports/untouched.bin", b"A" * SIZE)
    plan = msgspec.structs.replace(plan, args=("${bucket}/reports/",))
    ended, report = placed.fetch(plan)
    assert report.failure is None, ended.output
    change(placed.local_bucket / NAME)
    Trainer(placed).end()
    ended, published = placed.publish(plan)
    assert published.failure is None, ended.output
    assert placed.server.get(placed.bucket, NAME) == b"B" + b"A" * (SIZE - 1)
    assert published.objects == 1
    assert digests(placed, plan) == {NAME: hashlib.sha256(b"B" + b"A" * (SIZE - 1)).hexdigest()}


def digests(pod: Pod, plan: Plan) -> dict[str, str]:
    """Return what the manifest vouches for."""
    found = manifest.decode(pod.server.get(pod.bucket, manifest.folder(plan) + "manifest.json"))
    assert found is not None
    return {each.key: each.sha256 for each in found.objects}


WRITER = """
import mmap, os, sys
path = sys.argv[1]
with open(path, "wb") as file:
    file.write(b"-" * 3 * mmap.PAGESIZE)
with open(path, "r+b") as file:
    mapped = mmap.mmap(file.fileno(), 0)
for line in sys.stdin:
    mapped[: len(line)] = line.encode()
    print("written", flush=True)
"""


@pytest.mark.parametrize("path", ["ckpt/weights.mmap", "events/run.tfevents.1"])
def test_what_is_written_to_a_mapped_file_after_its_upload_is_published(placed: Pod, plan: Plan, path: str) -> None:
    plan = msgspec.structs.replace(plan, checkpoints=WantedCheckpoints(path="${bucket}/ckpt", interval_seconds=1))
    with_script(placed)
    ended, report = placed.fetch(plan)
    assert report.failure is None, ended.output
    trainer = Trainer(placed)
    target = placed.local_bucket / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", WRITER, target], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as script:

        def write(data: bytes) -> None:
            assert script.stdin is not None
            assert script.stdout is not None
            script.stdin.write(data)
            script.stdin.flush()
            assert script.stdout.readline() == b"written\n"

        write(b"FIRST\n")
        # Only of a file that has been left alone for a while an upload is relied on at the end.
        until(lambda: time.time() - target.stat().st_ctime > SETTLED_SECONDS, "the file is settled")
        publisher = placed.start("publish", plan, QUICK)
        try:
            until(lambda: path in placed.server.keys(placed.bucket), "the file is uploaded while the script runs")
            write(b"FINAL\n")
        except BaseException:
            publisher.kill()
            publisher.communicate()
            raise
    trainer.end()
    done = placed.end(publisher)
    expected = b"FINAL\n".ljust(SIZE, b"-")
    assert placed.server.get(placed.bucket, path) == expected, done.output
    assert digests(placed, plan)[path] == hashlib.sha256(expected).hexdigest()
