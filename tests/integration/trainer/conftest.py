"""A real S3 server for the session; pods and jobs that use it."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tftrainer.contract import Plan, Script

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.integration.trainer.pods import Pod, StoreServer, running_store


@pytest.fixture(scope="session")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    """SeaweedFS on loopback, ended with the session."""
    with running_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture
def pod(tmp_path: Path, store_server: StoreServer) -> Pod:
    """Return a new pod with buckets of its own."""
    return Pod(tmp_path / "pod", store_server, store_server.new_bucket(), store_server.new_bucket())


@pytest.fixture
def plan() -> Plan:
    """Return a job whose script is `code/train.py` of the bucket."""
    return Plan(
        namespace="team", job="iris", uid=str(uuid.uuid4()), runtime="tf2", script=Script(name="train.py", uri="${bucket}/code/train.py")
    )
