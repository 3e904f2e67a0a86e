"""By what the publisher knows that the trainer has run, whatever the script has made of the marks."""

from __future__ import annotations

import fcntl
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tftrainer.messages import contract
from tftrainer.publish.watch import Stop, has_begun, wait_for_end


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the launcher's folder as `fetch` leaves it, beside the lock."""
    (tmp_path / "lock").touch()
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def _emptied_but_for_the_result(run: Path) -> None:
    (run / contract.RESULT_NAME).touch()


def _removed(run: Path) -> None:
    run.rmdir()


def _a_file(run: Path) -> None:
    run.rmdir()
    run.touch()


def _a_link(run: Path) -> None:
    run.rename(run.with_name("moved"))
    run.symlink_to("moved")


def _a_link_to_nothing(run: Path) -> None:
    run.rmdir()
    run.symlink_to("nowhere")


def _another_mark(run: Path) -> None:
    (run / contract.OPEN_NAME).touch()


@pytest.mark.parametrize("made", [_emptied_but_for_the_result, _removed, _a_file, _a_link, _a_link_to_nothing, _another_mark])
def test_a_trainer_that_has_ended_is_not_waited_for_whatever_became_of_its_mark(folder: Path, made: Callable[[Path], None]) -> None:
    made(folder)
    stop = Stop()
    ended: list[bool] = []
    waiting = threading.Thread(
        target=lambda: ended.append(wait_for_end(folder.parent / "lock", folder / contract.STARTED_NAME, 1, stop)), daemon=True
    )
    waiting.start()
    waiting.join(10)
    stop.ask()
    assert ended == [True]


def test_a_trainer_that_has_not_started_is_waited_for_until_it_has_or_the_pod_is_ended(folder: Path) -> None:
    stop = Stop()
    found: list[bool] = []
    waiting = threading.Thread(
        target=lambda: found.append(wait_for_end(folder.parent / "lock", folder / contract.STARTED_NAME, 1, stop)), daemon=True
    )
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    stop.ask()
    waiting.join(10)
    assert found == [False]


def test_a_trainer_that_is_seen_alive_has_started_though_it_leaves_no_mark(folder: Path) -> None:
    with (folder.parent / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found: list[bool] = []
        waiting = threading.Thread(
            target=lambda: found.append(wait_for_end(folder.parent / "lock", folder / contract.STARTED_NAME, 1, Stop())), daemon=True
        )
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join(10)
    assert found == [True]


def test_a_folder_that_cannot_be_looked_at_for_want_of_descriptors_says_nothing(folder: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        assert not has_begun(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    shutil.rmtree(folder)
    assert has_begun(folder)
