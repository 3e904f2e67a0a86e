"""When an attempt may write no more, on a folder as the bucket."""

from __future__ import annotations

from pathlib import Path

import pytest
from tftrainer.messages import contract, manifest
from tftrainer.messages.contract import Plan, Reason, Script
from tftrainer.outputs.succession import ensure_last
from tftrainer.phase_error import PhaseError
from tftrainer.storage.errors import StorageError
from tftrainer.storage.folder import FolderStore

PLAN = Plan(namespace="n", job="j", uid="u", runtime="tf2", script=Script(name="t.py"), attempt=1)


class Unlisted(FolderStore):
    """A bucket to whose key the look at a missing object is refused, as it asks for the bucket."""

    def find(self, key: str) -> None:
        raise StorageError(Reason.STORAGE_DENIED, key)


def begun(root: Path, *attempts: int, uid: str = "u") -> FolderStore:
    store = Unlisted(root, "b")
    for each in attempts:
        store.write(contract.run_prefix("n", "j", uid, each) + manifest.ATTEMPT_NAME, b"{}")
    return store


@pytest.mark.parametrize("attempts", [(), (0,), (0, 1), (5,)], ids=str)
def test_the_last_attempt_that_has_begun_may_write_without_a_right_to_list(tmp_path: Path, attempts: tuple[int, ...]) -> None:
    ensure_last(PLAN, begun(tmp_path, *attempts))


@pytest.mark.parametrize("attempt", [2, 3, 4])
def test_one_that_has_a_successor_may_not_also_where_the_next_has_left_no_note(tmp_path: Path, attempt: int) -> None:
    with pytest.raises(PhaseError, match=f"attempt {attempt} of the job has begun: nothing of attempt 1") as refused:
        ensure_last(PLAN, begun(tmp_path, 1, attempt))
    assert refused.value.failure.reason is Reason.PUBLISH_FAILED


def test_attempts_of_another_job_of_that_name_are_no_successors(tmp_path: Path) -> None:
    ensure_last(PLAN, begun(tmp_path, 2, uid="another"))
