"""How `make test` shares the tests out."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["pytester"]

TESTS = Path(__file__).parents[2]


@pytest.fixture
def shared(request: pytest.FixtureRequest) -> Any:
    """Return what holds for all tests."""
    return request.config.pluginmanager.get_plugin(str(TESTS / "conftest.py"))


def test_each_group_is_of_tests_that_there_are(shared: Any) -> None:
    for beginning in shared.GROUPS:
        assert (TESTS.parent / beginning).exists(), beginning


def test_what_needs_one_thing_is_in_one_group_and_everything_else_alone(shared: Any) -> None:
    group = functools.partial(shared.Groups._split_scope, None)
    assert group("tests/cluster/test_operator.py::test_a[1]") == group("tests/cluster/test_packages.py::test_b")
    assert len({group(f"tests/cluster/test_{name}.py::test_c[tf1/x.py]") for name in ("operator", "scripts", "failures")}) == 3
    assert group("tests/integration/operator/test_waiting.py::test_d[1]") == group("tests/integration/operator/test_waiting.py::test_e")
    assert group("tests/integration/operator/test_waiting.py::test_d") != group("tests/integration/operator/test_upgrade.py::test_d")
    for alone in ("tests/unit/a.py::test_f[1]", "tests/integration/operator/test_operator.py::test_g"):
        assert group(alone) == alone


@pytest.mark.thorough
def test_what_is_left_of_a_long_matrix_is_counted_and_says_how_to_run_it(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((TESTS / "conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers = long\naddopts = -ra -p no:cacheprovider")
    pytester.makepyfile(
        "import pytest\n@pytest.mark.parametrize('n', [1, pytest.param(2, marks=pytest.mark.long)])\ndef test_it(n): pass\n"
    )
    part = pytester.runpytest_subprocess()
    part.assert_outcomes(passed=1, skipped=1)
    part.stdout.fnmatch_lines(["SKIPPED [[]1] *one of a long matrix: `make test-all`*"])
    pytester.runpytest_subprocess("--whole").assert_outcomes(passed=2)


@pytest.mark.thorough
def test_the_tests_of_a_group_are_run_by_one_worker(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((TESTS / "conftest.py").read_text())
    folder = pytester.mkpydir("tests") / "cluster"
    folder.mkdir()
    text = "import os, pytest\n@pytest.mark.parametrize('n', range(6))\ndef test_it(n): print('by', os.environ['PYTEST_XDIST_WORKER'])\n"
    for name in ("test_operator", "test_packages"):
        (folder / f"{name}.py").write_text(text)
    run = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-n", "2", "--dist=loadgroup", "-rP", "--import-mode=importlib", "tests/cluster"
    )
    run.assert_outcomes(passed=12)
    assert len({line for line in run.outlines if line.startswith("by gw")}) == 1
