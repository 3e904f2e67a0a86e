"""What holds for all tests."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# On a busy machine an example may take any time: how long something takes is a matter of the benchmarks.
# Chance looks for faults on a developer's machine; in CI a commit passes or fails, and does so again.
settings.register_profile("patient", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_ALONE, _MODULE = "", "{module}"
_CHANGED = "the operator is stopped, or the release or the node changed"
_FULL = "jobs that fill the node"
GROUPS = {
    "tests/cluster/test_examples.py": _FULL,
    "tests/cluster/test_preflight_while_waiting.py": _FULL,
    "tests/cluster/test_scripts.py": _FULL,
    "tests/cluster/test_inactivity.py": _CHANGED,
    "tests/cluster/test_operator.py": _CHANGED,
    "tests/cluster/test_packages.py": _CHANGED,
    "tests/cluster/test_project_folder.py": _CHANGED,
    "tests/cluster/test_quota_and_secrets.py": _CHANGED,
    "tests/cluster/test_security.py": _CHANGED,
    "tests/cluster/test_user_interface.py": _CHANGED,
    "tests/cluster/test_waiting.py": _CHANGED,
    "tests/cluster/": "jobs that come to their ends",
    "tests/integration/operator/test_operator.py": _ALONE,
    "tests/integration/operator/": _MODULE,
    "tests/integration/api/": "one definition of the resource",
    "tests/integration/trainer/test_faults_of_a_store.py": "few seconds of patience",
    "tests/integration/trainer/test_slow_store.py": "few seconds of patience",
    "tests/": _ALONE,
}
"""Where several tests run at once, those of a group run one after the other: the first of these beginnings that a test's name has.

What a test of the cluster has to have to itself decides on its group: the operator and the node as they are, a GPU that is or is not
there. A job comes to its end though the operator is away meanwhile, but an event that it was about to post when it was killed is lost, so
that tests of one-off events are among those that stop it. Each worker has a control plane of its own for the operator's tests.
"""


class Groups(LoadScopeScheduling):
    """Gives a worker one group, or one test, at a time, in the order of their names: first those of the cluster, which take longest."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        # How many tests a group has tells nothing of how long it takes.
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        group = next(group for beginning, group in GROUPS.items() if nodeid.startswith(beginning))
        return group.format(module=nodeid.partition("::")[0]) or nodeid


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
