"""Outputs with modes that keep their own owner from reading them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tftrainer.messages.contract import Failure, Plan, Reason, RunReport

from tests.integration.trainer.launched import Trainer, fetched
from tests.integration.trainer.pods import Pod

MODES_BIND = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for capability in (1, 2{more}):
    libc.prctl(24, capability, 0, 0, 0)

os.execv(sys.executable, [sys.executable, "-I", "-m", "tftrainer", "publish"])
"""
"""A publisher for whom modes count even if root runs these tests: it gives up CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, as in a pod."""
AS_THE_OWNER = MODES_BIND.format(more="")


def file_of_no_mode(root: Path) -> None:
    (root / "model.txt").write_text("the model")
    (root / "model.txt").chmod(0)


def folder_without_reading(root: Path) -> None:
    folder(root, 0o300)


def folder_without_entering(root: Path) -> None:
    folder(root, 0o400)


def folder_of_no_mode(root: Path) -> None:
    folder(root, 0)


def folder(root: Path, mode: int) -> None:
    (root / "sub/deeper").mkdir(parents=True)
    (root / "sub/deeper/model.txt").write_text("the model")
    (root / "sub/deeper").chmod(mode)
    (root / "sub").chmod(mode)


def umask_of_all(root: Path) -> None:
    before = os.umask(0o777)
    try:
        (root / "model.txt").write_text("the model")
        (root / "empty").mkdir()
    finally:
        os.umask(before)


def link_into_a_folder_of_no_mode(root: Path) -> None:
    (root / "best.txt").symlink_to("sub/deeper/model.txt")
    folder(root, 0)


def the_root_itself(root: Path) -> None:
    folder(root, 0)
    root.chmod(0o300)


ALL = [
    file_of_no_mode,
    folder_without_reading,
    folder_without_entering,
    folder_of_no_mode,
    umask_of_all,
    link_into_a_folder_of_no_mode,
    the_root_itself,
]
FAILED = RunReport(exit_code=1, failure=Failure(reason=Reason.SCRIPT_RAISED, message="RuntimeError: evaluation failed"))


@pytest.mark.parametrize("write", ALL)
@pytest.mark.parametrize("report", [None, FAILED], ids=["succeeded", "failed"])
def test_what_its_owner_may_not_read_is_read_and_published(pod: Pod, plan: Plan, write: object, report: RunReport | None) -> None:
    assert callable(write)
    fetched(pod, plan)
    trainer = Trainer(pod)
    write(pod.local_bucket)
    trainer.end(report)
    ended, published = pod.publish(plan, AS_THE_OWNER)
    assert published.failure == (None if report is None else report.failure) or published.failure is None, ended.output
    keys = pod.server.keys(pod.bucket)
    [model] = [each for each in keys if each.endswith("model.txt")]
    assert pod.server.get(pod.bucket, model) == b"the model", ended.output
    assert published.skipped == 0
    assert any(each.endswith("manifest.json") for each in keys)


@pytest.mark.parametrize("report", [None, FAILED], ids=["succeeded", "failed"])
def test_what_cannot_be_made_readable_fails_the_run_with_its_name_and_the_rest_is_uploaded(
    pod: Pod, plan: Plan, report: RunReport | None
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can leave a file to somebody else")
    fetched(pod, plan)
    trainer = Trainer(pod)
    folder(pod.local_bucket, 0o300)
    os.chown(pod.local_bucket / "sub", 65534, 65534)
    trainer.write("beside.txt", "read")
    trainer.end(report)
    # Without CAP_FOWNER too: a pod's container is not root.
    ended, published = pod.publish(plan, MODES_BIND.format(more=", 3"))
    assert published.failure is not None, ended.output
    assert published.failure.reason is Reason.PUBLISH_FAILED
    assert "output 'sub' cannot be read: Operation not permitted" in published.failure.message
    assert "1 of 4 outputs could not be uploaded" in published.failure.message
    assert pod.server.get(pod.bucket, "beside.txt") == b"read"
    assert not any(each.endswith("manifest.json") for each in pod.server.keys(pod.bucket))
