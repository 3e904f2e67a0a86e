"""What is run: found among the code, in packages or in the runtime, and refused only where it is surely nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from tftrainer.fetch.buckets import Buckets
from tftrainer.fetch.entry import find, place, with_project
from tftrainer.messages.contract import Plan, Reason, Reference, Script
from tftrainer.phase_error import PhaseError
from tftrainer.storage.folder import FolderStore


def plan(script: Script, *files: Reference) -> Plan:
    return Plan(namespace="n", job="j", uid="u", runtime="tf2", script=script, files=files)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    for name, text in {
        "code/a/__init__.py": "",
        "code/a/b.py": "",
        "code/space/c.py": "",
        "code/moves/__init__.py": "__path__.append('elsewhere')\n",
        "packages/lib/__init__.py": "",
        "packages/lib/run.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path / "code"


@pytest.mark.parametrize(
    ("module", "file", "package"),
    [
        ("a.b", "a/b.py", "a"),
        ("space.c", "space/c.py", "space"),
        ("lib.run", None, "lib"),
        ("json.tool", None, "json"),
        ("moves.away", None, ""),
    ],
)
def test_a_module_is_found_where_python_finds_it(code: Path, module: str, file: str | None, package: str) -> None:
    found = find(plan(Script(module=module)), code, (str(code.parent / "packages"),))
    assert (found.file, found.module, found.package) == (code / file if file else None, module, package)


@pytest.mark.parametrize("module", ["a.c", "nowhere", "nowhere.b", "a.b.c", "json.nothing", "lib", "__main__"])
def test_a_module_that_is_nowhere_is_refused(code: Path, module: str) -> None:
    with pytest.raises(PhaseError) as caught:
        find(plan(Script(module=module)), code, (str(code.parent / "packages"),))
    assert caught.value.failure.reason is Reason.IMPORT_MISSING


@pytest.mark.parametrize("name", ["b.py", "a", "x" * 400, "训" * 100, "a/b.py/c"])
def test_a_path_that_is_no_file_is_refused_whatever_it_is(code: Path, name: str) -> None:
    with pytest.raises(PhaseError) as caught:
        find(plan(Script(name=name, path=name)), code, ())
    assert caught.value.failure.reason is Reason.OBJECT_NOT_FOUND


@pytest.mark.parametrize("into", ["../x", "a/../../x", "/etc", "x" * 256, "训" * 100])
def test_a_folder_that_cannot_be_is_refused_with_its_field(into: str) -> None:
    with pytest.raises(PhaseError, match=r"spec\.dependencies\.files\[3\]\.into is"):
        place(Path("/workspace/code"), 3, into)


def test_a_project_is_found_in_a_bucket_that_two_secrets_are_for() -> None:
    twice = Buckets(FolderStore(Path("/b"), "models"), FolderStore(Path("/b"), "models"))
    found, facts = with_project(plan(Script(name="t.py", uri="${bucket}/p/t.py"), Reference(uri="${datasets}/p/")), twice)
    assert (found.files[0].into, found.script.name, len(facts)) == (".", "t.py", 1)


@pytest.mark.parametrize("folder", ["${datasets}/p/", "${bucket}/p/t/", "${bucket}/q/", "${bucket}/p/t.py"])
def test_a_folder_that_does_not_hold_the_script_is_no_project(folder: str) -> None:
    apart = Buckets(FolderStore(Path("/a"), "models"), FolderStore(Path("/b"), "library"))
    given = plan(Script(name="t.py", uri="${bucket}/p/t.py"), Reference(uri=folder))
    assert with_project(given, apart) == (given, ())
