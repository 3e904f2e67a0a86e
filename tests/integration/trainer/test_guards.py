"""What guards the bytes of an object on their way: flipped, cut off or changed at their source, they never become one."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tftrainer.messages.contract import Reason
from tftrainer.phase_error import PhaseError
from tftrainer.storage import transfer, upload
from tftrainer.storage.condition import Absent, Condition, Unchanged
from tftrainer.storage.credentials import Credentials
from tftrainer.storage.errors import ConditionError
from tftrainer.storage.patience import Patience
from tftrainer.storage.store import Store
from tftrainer.storage.upload import Written

from tests.integration.trainer import faulty_proxy
from tests.integration.trainer.faulty_proxy import FaultyProxy, Rule, faulty
from tests.integration.trainer.interrupting_proxy import Answer, CutError, Request, interrupting
from tests.integration.trainer.pods import ACCESS_KEY, SECRET_KEY, StoreServer
from tests.integration.trainer.test_tls import authority
from tests.integration.trainer.tls import Authority, behind_tls

__all__ = ["authority"]
# A fixture is found by its name in the module that uses it.

MIB = 1024**2
PART = 5 * MIB
"""The smallest part that stores take."""
OLD = b"the last good object"
SMALL, LARGE = 3 * MIB, 2 * PART + MIB
"""Of one request, and of three parts."""
PATIENCE = 1.0
NOTICED_SECONDS = 1.0
"""For how long a store is watched that a client has left."""

pytestmark = pytest.mark.usefixtures("small_parts")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "SINGLE", PART)
    monkeypatch.setattr(upload, "PART", PART)


@pytest.fixture(params=["HTTP", "TLS"])
def reached(request: pytest.FixtureRequest, authority: Authority) -> Callable[[StoreServer, str], contextlib.AbstractContextManager[Store]]:
    """Return a way to a bucket of a server."""

    @contextlib.contextmanager
    def reach(server: StoreServer, bucket: str) -> Iterator[Store]:
        if request.param == "HTTP":
            yield store(server.endpoint, bucket)
            return
        with behind_tls(server, authority.sign("store", "127.0.0.1", 2)) as endpoint:
            yield store(endpoint, bucket, authority.certificate)

    return reach


Reach = Callable[[StoreServer, str], contextlib.AbstractContextManager[Store]]


def store(endpoint: str, bucket: str, authority: str = "") -> Store:
    scheme, _, host = endpoint.partition("://")
    keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "ca_certificate": authority or None}
    return Store(Credentials("storage Secret", scheme == "https", host, bucket, **keys), Patience(PATIENCE, PATIENCE))


def sent(to: Store, path: Path, progress: Callable[[int], None] = transfer.unheard, condition: Condition | None = None) -> Written:
    with path.open("rb") as file:
        return to.upload("model", file, os.fstat(file.fileno()).st_size, progress, condition=condition)


@pytest.fixture
def source(tmp_path: Path) -> Callable[[int], Path]:
    def make(size: int) -> Path:
        path = tmp_path / "source"
        path.write_bytes(os.urandom(size))
        return path

    return make


def parts_left(server: StoreServer, bucket: str) -> int:
    return len(server.client._list_multipart_uploads(bucket).uploads)


def through(proxy: FaultyProxy) -> StoreServer:
    return dataclasses.replace(proxy.server, endpoint=proxy.endpoint)


# On the way.


@pytest.mark.every_store
@pytest.mark.parametrize(("size", "path"), [(SMALL, "/model"), (LARGE, "partNumber=2")], ids=["one request", "a part"])
def test_a_bit_that_flips_on_the_way_is_refused_by_the_store_and_the_bytes_are_sent_again(
    store_server: StoreServer, reached: Reach, source: Callable[[int], Path], size: int, path: str
) -> None:
    bucket, file = store_server.new_bucket(), source(size)
    with faulty(store_server, Rule(faulty_proxy.flip(MIB - 1), "PUT", path, at={1})) as proxy, reached(through(proxy), bucket) as to:
        written = sent(to, file)
        assert len(proxy.asked("PUT", path)) == 2
    assert store_server.get(bucket, "model") == file.read_bytes()
    assert written.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_body_that_takes_longer_than_the_patience_is_sent_again_too(store_server: StoreServer, source: Callable[[int], Path]) -> None:
    bucket, file = store_server.new_bucket(), source(SMALL)
    slowly = faulty_proxy.flip(MIB) | faulty_proxy.trickle(SMALL / PATIENCE / 2)
    with faulty(store_server, Rule(slowly, "PUT", at={1})) as proxy:
        sent(store(proxy.endpoint, bucket), file)
        assert len(proxy.asked("PUT")) == 2
    assert store_server.get(bucket, "model") == file.read_bytes()


@pytest.mark.every_store
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["one request", "parts"])
def test_bits_that_always_flip_are_told_as_that_and_the_old_object_stays(
    store_server: StoreServer, reached: Reach, source: Callable[[int], Path], size: int
) -> None:
    bucket = store_server.new_bucket()
    store_server.put(bucket, "model", OLD)
    with faulty(store_server, Rule(faulty_proxy.flip(MIB - 1), "PUT")) as proxy, reached(through(proxy), bucket) as to:
        with pytest.raises(PhaseError) as caught:
            sent(to, source(size))
        assert len(proxy.asked("PUT")) > 1
    assert caught.value.failure.reason is Reason.STORAGE_UNAVAILABLE
    assert "gets other bytes of" in caught.value.failure.message
    assert store_server.get(bucket, "model") == OLD
    assert parts_left(store_server, bucket) == 0


DYING = """
import os, signal, sys
from pathlib import Path
import msgspec
from tftrainer.storage import upload
from tftrainer.storage.credentials import Credentials
from tftrainer.storage.store import Store

settings, path, after, upload.SINGLE = msgspec.json.decode(sys.argv[1])
upload.PART = upload.SINGLE
left = [after]

def moved(count):
    left[0] -= count
    if left[0] <= 0:
        os.kill(os.getpid(), signal.SIGKILL)

with open(path, "rb") as file:
    Store(Credentials(**settings)).upload("model", file, os.fstat(file.fileno()).st_size, moved)
"""


@pytest.mark.every_store
@pytest.mark.parametrize(("size", "after"), [(SMALL, 1), (SMALL, 2 * MIB), (LARGE, 1), (LARGE, LARGE - MIB)])
def test_a_body_that_a_dying_client_cuts_off_is_no_object_and_the_old_one_stays(
    store_server: StoreServer, reached: Reach, source: Callable[[int], Path], size: int, after: int
) -> None:
    bucket = store_server.new_bucket()
    store_server.put(bucket, "model", OLD)
    with reached(store_server, bucket) as to:
        settings = {field.name: getattr(to.credentials, field.name) for field in dataclasses.fields(to.credentials)}
        argument = msgspec.json.encode((settings, str(source(size)), after, PART)).decode()
        died = subprocess.run([sys.executable, "-I", "-c", DYING, argument], capture_output=True, text=True, timeout=60, check=False)
        assert died.returncode == -signal.SIGKILL, died.stderr
        deadline = time.monotonic() + NOTICED_SECONDS
        while time.monotonic() < deadline:
            assert store_server.get(bucket, "model") == OLD


# At the source.


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["one request", "parts"])
def test_a_file_that_becomes_shorter_meanwhile_is_told_as_that(
    store_server: StoreServer, reached: Reach, source: Callable[[int], Path], size: int
) -> None:
    bucket, file = store_server.new_bucket(), source(size)
    store_server.put(bucket, "model", OLD)
    with reached(store_server, bucket) as to, pytest.raises(PhaseError) as caught:
        sent(to, file, lambda _: os.truncate(file, MIB))
    assert caught.value.failure.reason is Reason.PUBLISH_FAILED
    assert caught.value.failure.message == f"s3://{bucket}/model is not uploaded: its file became shorter meanwhile"
    assert store_server.get(bucket, "model") == OLD
    assert parts_left(store_server, bucket) == 0


def changing(path: Path, times: int) -> Callable[[int], None]:
    """Change the file's last byte when bytes of it have been sent, so often."""
    changes = iter(range(times))

    def moved(_: int) -> None:
        if next(changes, None) is not None:
            with path.open("r+b") as file:
                file.seek(-1, os.SEEK_END)
                last = file.read(1)[0]
                file.seek(-1, os.SEEK_END)
                file.write(bytes([(last + 1) % 256]))

    return moved


@pytest.mark.every_store
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["one request", "parts"])
def test_a_file_that_changes_meanwhile_is_hashed_anew_and_the_digest_is_that_of_the_object(
    store_server: StoreServer, reached: Reach, source: Callable[[int], Path], size: int
) -> None:
    bucket, file = store_server.new_bucket(), source(size)
    with reached(store_server, bucket) as to:
        written = sent(to, file, changing(file, 1))
    assert store_server.get(bucket, "model") == file.read_bytes()
    assert written.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert parts_left(store_server, bucket) == 0


def test_a_file_that_never_rests_is_told_after_some_tries(
    store_server: StoreServer, reached: Reach, source: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, file = store_server.new_bucket(), source(SMALL)
    # All bytes but the last are sent once; what is told of them is told at each try here.
    monkeypatch.setattr(upload, "Reached", Always)
    with reached(store_server, bucket) as to, pytest.raises(PhaseError) as caught:
        sent(to, file, changing(file, 1000))
    assert caught.value.failure.message == f"s3://{bucket}/model is not uploaded: its file was written to meanwhile"


class Always(upload.Reached):
    """Tells of bytes however often they are sent."""

    def move(self, start: int, at: int) -> None:
        self._furthest.clear()
        super().move(start, at)


def test_the_first_bytes_of_a_file_that_grows_are_an_object(
    store_server: StoreServer, reached: Reach, source: Callable[[int], Path]
) -> None:
    bucket, file = store_server.new_bucket(), source(SMALL)

    def grow(_: int) -> None:
        with file.open("ab") as growing:
            growing.write(b"more")

    with reached(store_server, bucket) as to:
        written = sent(to, file, grow)
    assert store_server.get(bucket, "model") == file.read_bytes()[: written.size]
    assert written.size == SMALL


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["one request", "parts"])
def test_each_byte_is_told_once_however_often_it_is_sent(store_server: StoreServer, source: Callable[[int], Path], size: int) -> None:
    bucket, told = store_server.new_bucket(), list[int]()
    with faulty(store_server, Rule(faulty_proxy.reset(2 * MIB), "PUT", at={1, 2})) as proxy:
        sent(store(proxy.endpoint, bucket), source(size), told.append)
    assert sum(told) == size
    assert min(told) > 0


def test_what_the_progress_raises_ends_an_upload_and_leaves_no_parts(
    store_server: StoreServer, reached: Reach, source: Callable[[int], Path]
) -> None:
    def stop(_: int) -> None:
        raise transfer.GivenUpError

    bucket = store_server.new_bucket()
    with reached(store_server, bucket) as to:
        for size in (SMALL, LARGE):
            with pytest.raises(transfer.GivenUpError):
                sent(to, source(size), stop)
    assert store_server.keys(bucket) == []
    assert parts_left(store_server, bucket) == 0


# On a condition.


@pytest.mark.every_store
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["one request", "parts"])
def test_an_upload_on_a_condition_takes_place_only_if_it_holds(store_server: StoreServer, source: Callable[[int], Path], size: int) -> None:
    bucket, file = store_server.new_bucket(), source(size)
    to = store(store_server.endpoint, bucket)
    with pytest.raises(ConditionError):
        sent(to, file, condition=Unchanged("0" * 32))
    assert store_server.keys(bucket) == []
    first = sent(to, file, condition=Absent())
    known = to.find("model")
    assert known is not None
    assert known.etag == first.etag
    file = source(size)
    for refused in (Absent(), Unchanged("0" * 32)):
        with pytest.raises(ConditionError) as caught:
            sent(to, file, condition=refused)
        assert f"s3://{bucket}/model" in caught.value.failure.message
        assert hashlib.sha256(store_server.get(bucket, "model")).hexdigest() == first.sha256
    second = sent(to, file, condition=Unchanged(first.etag))
    assert hashlib.sha256(store_server.get(bucket, "model")).hexdigest() == second.sha256 != first.sha256
    assert parts_left(store_server, bucket) == 0


@pytest.mark.every_store
@pytest.mark.parametrize("condition", [Absent(), Unchanged("")])
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["one request", "parts"])
def test_a_conditional_upload_whose_answer_was_lost_is_not_refused_for_its_own_sake(
    store_server: StoreServer, source: Callable[[int], Path], size: int, condition: Condition
) -> None:
    bucket, file = store_server.new_bucket(), source(size)
    if isinstance(condition, Unchanged):
        condition = Unchanged(store(store_server.endpoint, bucket).write("model", OLD).etag)
    lost: list[str] = []

    def after(_number: int, request: Request, answer: Answer) -> Answer:
        if not lost and (request.method, "uploadId=" in request.path) in (("PUT", False), ("POST", True)):
            lost.append(request.method)
            raise CutError
        return answer

    with interrupting(store_server.endpoint) as proxy:
        proxy.after = after
        written = sent(store(proxy.endpoint, bucket), file, condition=condition)
    assert lost
    assert store_server.get(bucket, "model") == file.read_bytes()
    assert written.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.every_store
def test_of_many_who_replace_the_same_version_one_wins(store_server: StoreServer, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    bucket = store_server.new_bucket()
    to = store(store_server.endpoint, bucket)
    etag = to.write("model", OLD).etag

    def replace(number: int) -> bool:
        path = tmp_path / f"{number}"
        path.write_bytes(b"%d" % number * 1000)
        try:
            sent(to, path, condition=Unchanged(etag))
        except ConditionError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(replace, range(8)))
    assert won.count(True) == 1
    assert store_server.get(bucket, "model") == b"%d" % won.index(True) * 1000


# What is read.


@pytest.mark.every_store
def test_an_object_that_is_stored_compressed_is_fetched_and_read_as_it_is(
    store_server: StoreServer, reached: Reach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    bucket, packed = store_server.new_bucket(), gzip.compress(os.urandom(2 * MIB))
    store_server.client.put_object(bucket, "table.csv.gz", io.BytesIO(packed), len(packed), metadata={"Content-Encoding": "gzip"})
    with reached(store_server, bucket) as to:
        assert to.read("table.csv.gz", len(packed)) == packed
        info = to.find("table.csv.gz")
        assert info is not None
        assert info.size == len(packed)
        for name, length in (("whole", len(packed)), ("ranges", MIB // 2)):
            monkeypatch.setattr(transfer, "RANGE", length)
            to.download(info, tmp_path / name)
            assert (tmp_path / name).read_bytes() == packed
