"""What holds for all tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# On a busy machine an example may take any time: how long something takes is a matter of the benchmarks.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

GROUPS = {
    "tests/cluster/test_examples.py": "jobs that fill the node",
    "tests/cluster/test_scripts.py": "jobs that fill the node",
    "tests/cluster/": "the cluster: the operator is stopped, or the release changed",
    "tests/integration/operator/test_any_order.py": "any order of what can happen",
    "tests/integration/operator/test_faults.py": "faults between operator and API server",
    "tests/integration/operator/test_hand_over.py": "two processes of one operator",
    "tests/integration/operator/": "one control plane",
    "tests/integration/api/": "one definition of the resource",
    "tests/integration/trainer/test_faults_of_a_store.py": "few seconds of patience",
    "tests/integration/trainer/test_slow_store.py": "few seconds of patience",
}
"""Where several tests run at once, those of a group run one after the other: the first of these beginnings that a test's name has."""


class Groups(LoadScopeScheduling):
    """Gives a worker one group, or one test, at a time; the largest groups first."""

    def _split_scope(self, nodeid: str) -> str:
        return next((group for beginning, group in GROUPS.items() if nodeid.startswith(beginning)), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Groups | None:
    """Take the groups above where `--dist=loadgroup` asks for some."""
    return Groups(config, log) if config.getoption("dist") == "loadgroup" else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole", action="store_true", help="run the whole of the long matrices: what is marked `long` too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what is marked `long` out, visibly, unless it is asked for."""
    if not config.getoption("whole"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="one of a long matrix: `make test-all`, or pytest with --whole"))
