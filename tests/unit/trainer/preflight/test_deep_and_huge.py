"""Programs of any depth and size: what Python compiles is examined or left alone, what it cannot compile is judged as Python does."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from unittest import mock

import pytest
from tftrainer.messages.contract import Reason
from tftrainer.preflight import check, inert
from tftrainer.preflight.check import examine
from tftrainer.preflight.finding import Findings
from tftrainer.preflight.image import Image

IMAGE = Image("tf2", lambda name: name in sys.stdlib_module_names or name == "tensorflow")
MEMORY = 64 * 1024**2

FOUND = "\nimport surely_missing\n"
DEEP = {
    "elif": lambda depth: "x = 1\nif x: pass\n" + "elif x: pass\n" * depth,
    "a sum": lambda depth: "x = " + "1 + " * depth + "1",
    "a sum as a condition": lambda depth: "if " + "1 + " * depth + "1: pass",
    "a ternary": lambda depth: "x = " + "1 if 2 else " * depth + "1",
    "not": lambda depth: "x = " + "not " * depth + "1",
    "calls in a row": lambda depth: "import time\nx = time.time" + "()" * depth,
    "attributes": lambda depth: "y = 1\nx = y" + ".a" * depth,
    "indices": lambda depth: "y = 1\nx = y" + "[0]" * depth,
    "powers": lambda depth: "x = " + "1 ** " * depth + "1",
    "lambdas": lambda depth: "x = " + "lambda: " * depth + "1",
    "lists": lambda depth: "x = " + "[" * depth + "]" * depth,
    "calls": lambda depth: "x = " + "int(" * depth + "1" + ")" * depth,
    "conditions": lambda depth: "x = 1" + " and 1 or 1" * depth,
    "blocks": lambda depth: "".join(" " * number + "if 1:\n" for number in range(depth)) + " " * depth + "pass",
    "functions": lambda depth: "".join(" " * number + "def f():\n" for number in range(depth)) + " " * depth + "pass",
    "an argument": lambda depth: (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--x', default=" + "1 + " * depth + "1)\np.parse_args()"
    ),
}


@pytest.mark.thorough
@pytest.mark.parametrize("depth", [90, 350, 900, 2500, 12000])
@pytest.mark.parametrize("name", DEEP)
def test_a_deep_program_ends_as_python_itself_ends_with_it(name: str, depth: int, tmp_path: Path) -> None:
    source = DEEP[name](depth) + FOUND
    found = examine("train.py", source.encode(), (str(tmp_path),), IMAGE, ("--y",))
    assert not any("fault of this check" in each for each in found.warnings), found.warnings
    file = tmp_path / "train.py"
    # That it compiles is told by an error of its own at the end, so that nothing of it need run.
    file.write_text("def everything():\n    raise SystemExit(7)\neverything()\n" + source)
    compiles = subprocess.run([sys.executable, file], capture_output=True, check=False).returncode == 7
    syntax = [each for each in found.errors if each.reason is Reason.SYNTAX_ERROR]
    assert not (compiles and syntax), syntax
    if not compiles:
        assert syntax or any("was not examined" in fact for fact in found.facts)


@pytest.mark.parametrize("name", sorted(DEEP.keys() - {"calls in a row", "an argument"}))
def test_behind_what_is_as_deep_as_people_write_the_ordinary_mistake_is_found(name: str, tmp_path: Path) -> None:
    found = examine("train.py", (DEEP[name](20) + FOUND).encode(), (str(tmp_path),), IMAGE, ("--y",))
    assert [each.reason for each in found.errors] == [Reason.IMPORT_MISSING]


def test_a_depth_whose_limit_something_may_have_raised_is_not_refused(tmp_path: Path) -> None:
    deep = "x = " + "1 + " * 9_000 + "1\n"
    assert [each.reason for each in examine("train.py", deep.encode(), (str(tmp_path),), IMAGE, ()).errors] == [Reason.SYNTAX_ERROR]
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "sitecustomize.py").write_text("import sys\nsys.setrecursionlimit(100000)\n")
    assert examine("train.py", deep.encode(), (str(tmp_path), str(tmp_path / "archive")), IMAGE, ()).errors == []
    (tmp_path / "deep.py").write_text(deep)
    source = "import sys\nsys.setrecursionlimit(100000)\nimport deep\n"
    assert examine("train.py", source.encode(), (str(tmp_path),), IMAGE, ()).errors == []


@pytest.mark.parametrize("failure", [RecursionError, MemoryError, KeyError("x"), AttributeError, AssertionError])
def test_whatever_fails_in_a_check_is_one_line_in_the_log_and_no_finding(failure: type[Exception], tmp_path: Path) -> None:
    with mock.patch.object(check, "_examine", side_effect=failure):
        found = examine("train.py", b"import surely_missing\n", (str(tmp_path),), IMAGE, ())
    assert found.errors == []
    [line] = [*found.warnings, *found.facts]
    assert line.startswith("train.py")
    assert "examined" in line


def test_what_was_certain_before_a_check_failed_is_still_said(tmp_path: Path) -> None:
    with mock.patch.object(inert.Inert, "is_inert", side_effect=KeyError):
        found = examine("train.py", b"import surely_missing\nx = 1\n", (str(tmp_path),), IMAGE, ())
    assert [each.reason for each in found.errors] == [Reason.IMPORT_MISSING]
    assert "fault of this check and not of the script" in found.warnings[0]


HUGE = {
    "rows of a table": "1,2,3,4,5.5,6\n" * 190_000,
    "statements": "x = 1\n" * 15_000,
    "statements, very many": "x = 1\n" * 700_000,
    "functions": "def f(x):\n    return x\n" * 5_000,
    "a chain of names": "".join(f"a{number} = a{number + 1}\n" for number in range(14_000)) + "def a14000():\n    pass\n",
    "a chain of classes": "class A0: pass\n" + "".join(f"class A{each}(A{each - 1}): pass\n" for each in range(1, 6_000)),
    "a long text": f"x = {'a' * 3_900_000!r}\n",
    "a long comment": "# a\n" * 900_000,
    "many arguments": "import argparse\np = argparse.ArgumentParser()\n"
    + "".join(f"p.add_argument('--a{number}')\n" for number in range(5_000))
    + "p.parse_args()\n",
}


def parsing() -> float:
    """Return the seconds of a processor that Python takes, on this machine and now, to parse 15,000 statements: a thirtieth or so."""
    started = time.process_time()
    ast.parse(HUGE["statements"])
    return time.process_time() - started


@pytest.mark.thorough
@pytest.mark.parametrize("name", HUGE)
def test_a_huge_program_takes_neither_more_than_64_mib_nor_sixty_times_a_parse_of_15_000_lines(name: str, tmp_path: Path) -> None:
    source = (HUGE[name] + FOUND).encode()
    before = parsing()
    started = time.process_time()
    found = examine("train.py", source, (str(tmp_path),), IMAGE, ())
    took = time.process_time() - started
    tracemalloc.start()
    examine("train.py", source, (str(tmp_path),), IMAGE, ())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took < 60 * max(before, parsing())
    assert peak < MEMORY
    assert any("was not examined" in fact or "is Python" in fact for fact in found.facts)


def test_over_four_mebibytes_nothing_is_examined_and_the_log_says_so(tmp_path: Path) -> None:
    source = (b"#" * 4 * 1024**2) + b"\nimport surely_missing\n"
    assert examine("train.py", source, (str(tmp_path),), IMAGE, ()) == Findings(
        facts=["train.py was not examined: it has 4.0 MiB, more than the 4 MiB that are read"]
    )
    just = b"#" * (4 * 1024**2 - 100) + b"\nimport surely_missing\n"
    assert len(examine("train.py", just, (str(tmp_path),), IMAGE, ()).errors) == 1


def test_modules_are_followed_until_they_are_too_much_together_and_the_log_says_where_it_ended(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"m{number}.py").write_text("x = 1\n" * 6_000)
    source = "".join(f"import m{number}\n" for number in range(10)) + "import surely_missing\n"
    before = parsing()
    started = time.process_time()
    found = examine("train.py", source.encode(), (str(tmp_path),), IMAGE, ())
    took = time.process_time() - started
    assert took < 120 * max(before, parsing())
    assert found.errors == []
    assert "m6.py was not examined: with 6 modules before it, it is more than this check follows" in found.facts
    assert any("not checked are the imports that follow" in fact for fact in found.facts)
