"""A store that wants the bucket in the name of its host."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tftrainer.messages.contract import Reason
from tftrainer.phase_error import PhaseError
from tftrainer.storage import upload
from tftrainer.storage.credentials import Credentials
from tftrainer.storage.store import Store

from tests.integration.trainer.pods import ACCESS_KEY, SECRET_KEY, running_gateway

DOMAIN = "store.test"


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Have the names of that domain resolved to this machine, as a wildcard record of a real one would; return those asked for."""
    asked: set[str] = set()
    original: Callable[..., Any] = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        here = isinstance(host, str) and (host == DOMAIN or host.endswith(f".{DOMAIN}"))
        if here:
            asked.add(host)
        return original("127.0.0.1" if here else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def test_every_kind_of_request_reaches_a_bucket_by_the_name_of_its_host(
    tmp_path: Path, resolved: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server").mkdir()
    monkeypatch.setattr(upload, "SINGLE", 8 * 1024**2)
    with running_gateway(tmp_path / "server", DOMAIN) as server:
        bucket = server.new_bucket()
        host = server.endpoint.removeprefix("http://").replace("127.0.0.1", DOMAIN)

        def store(addressing: str | None) -> Store:
            credentials = Credentials(
                "the test's", False, host, bucket, addressing=addressing, access_key=ACCESS_KEY, secret_key=SECRET_KEY
            )
            return Store(credentials)

        virtual = store("virtual")
        large = b"x" * (9 * 1024**2)
        virtual.write("a/small", b"1")
        (tmp_path / "source").write_bytes(large)
        with (tmp_path / "source").open("rb") as source:
            virtual.upload("a/large", source, len(large))
        assert (virtual.write_if_absent("a/once", b"1"), virtual.write_if_absent("a/once", b"2")) == (True, False)
        virtual.copy("a/small", "a/copy")
        virtual.delete("a/small")
        assert [each.key for each in virtual.list("a/")] == ["a/copy", "a/large", "a/once"]
        found = virtual.find("a/large")
        assert found is not None
        virtual.download(found, tmp_path / "large")
        assert (tmp_path / "large").read_bytes() == large
        assert virtual.read("a/once", 10) == b"1"
        assert virtual.find("a/absent") is None
        # The same server under an address takes the bucket from the path.
        assert server.get(bucket, "a/copy") == b"1"
        assert resolved == {f"{bucket}.{DOMAIN}"}
        resolved.clear()
        store(None).find("a/copy")
        store("path").find("a/copy")
        assert resolved == {DOMAIN}


def test_another_way_of_addressing_is_refused_with_those_there_are() -> None:
    values = {"ENDPOINT": "http://store", "BUCKET": "bucket", "ACCESS_KEY": "a", "SECRET_KEY": "s", "ADDRESSING": "dns"}
    with pytest.raises(PhaseError, match=r"key addressing of the Secret .* expected path or virtual") as refused:
        Credentials.read(values, "", "Secret")
    assert refused.value.failure.reason is Reason.STORAGE_MISCONFIGURED
