"""`dependencies.requirements`, with the real pip, a real bucket and an index of wheels made on the spot."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tftrainer.fetch.packages import WHEELS
from tftrainer.messages import handover
from tftrainer.messages.contract import Failure, Plan, Reason, Script
from tftrainer.messages.handover import Baseline, Resolved

from tests.integration.trainer.package_index import PackageIndex, running_index, wheel
from tests.integration.trainer.pods import SECRET_KEY, Pod

UID = "11111111-2222-3333-4444-555555555555"
LOCK = f".tftraining/team-a/iris/{UID}/packages.json"


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    """Serve an empty index."""
    with running_index() as served:
        yield served


@pytest.fixture
def another(tmp_path: Path) -> Callable[[Pod], Pod]:
    """Return a maker of further pods that use the bucket of a first."""
    return lambda first: Pod(tmp_path / f"pod-{len(list(tmp_path.iterdir()))}", first.server, first.bucket, first.datasets)


def plan(pod: Pod, index: PackageIndex, *requirements: str, script: str = "import helper\n", **fields: Any) -> Plan:
    pod.put("train.py", script)
    whole = Plan(
        namespace="team-a",
        job="iris",
        uid=UID,
        runtime="tf2",
        script=Script(name="train.py", uri="${bucket}/train.py"),
        requirements=requirements,
        package_index=index.url,
    )
    return msgspec.structs.replace(whole, **fields)


def failure(pod: Pod, wanted: Plan) -> Failure:
    ended, report = pod.fetch(wanted)
    assert ended.code == 1, ended.output
    assert "Traceback" not in ended.output
    assert report.failure is not None
    return report.failure


def imported(pod: Pod, expression: str, module: str) -> str:
    """Return what a Python with the script's module path says."""
    resolved = handover.read(Resolved, pod.state / handover.RESOLVED_NAME)
    code = f"import sys; sys.path[:0] = {list(resolved.path)!r}; import {module}; print({expression})"
    return subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def run_and_publish(pod: Pod, wanted: Plan) -> str:
    """Return what the script printed."""
    ended = pod.end(pod.start("run", wanted))
    assert ended.code == 0, ended.output
    published, report = pod.publish(wanted)
    assert report.succeeded, published.output
    return ended.output


def lock(pod: Pod) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pod.server.get(pod.bucket, LOCK))
    return found


def test_a_package_and_what_it_depends_on_are_there_for_the_script_and_written_down(pod: Pod, index: PackageIndex) -> None:
    index.add("helper", "1.0")
    index.add("helper", "2.0", requires=("deeper>=1",))
    index.add("helper", "3.0")
    index.add("deeper", "1.5")
    ended, report = pod.fetch(plan(pod, index, "helper<3", script="import helper\nimport deeper\n"))
    assert report.failure is None, ended.output
    assert "fetch: packages: deeper 1.5, helper 2.0; 0 of 2 wheels from the bucket" in ended.output
    assert imported(pod, "helper.VERSION", "helper") == "2.0"
    packages = handover.read(Baseline, pod.state / handover.BASELINE_NAME).packages
    assert [(each.name, each.version) for each in packages] == [("deeper", "1.5"), ("helper", "2.0")]
    assert [each["sha256"] for each in lock(pod)["packages"]] == [each.sha256 for each in packages]
    assert not list(pod.workspace.glob(".fetch*"))


def test_what_the_image_has_is_not_installed_again(pod: Pod, index: PackageIndex) -> None:
    index.add("helper", "1.0", requires=("msgspec",))
    index.add("msgspec", "99.0")
    ended, report = pod.fetch(plan(pod, index, "helper"))
    assert report.failure is None, ended.output
    assert [each["name"] for each in lock(pod)["packages"]] == ["helper"]


def test_the_images_package_is_replaced_for_the_script_alone_where_a_requirement_names_it(pod: Pod, index: PackageIndex) -> None:
    index.add("msgspec", "99.0")
    wanted = plan(pod, index, "msgspec==99.0", script="import msgspec\nprint(msgspec.VERSION)\n")
    ended, report = pod.fetch(wanted)
    assert report.failure is None, ended.output
    assert f"msgspec 99.0 takes the place of the image's {importlib.metadata.version('msgspec')}" in ended.output
    assert run_and_publish(pod, wanted) == "99.0\n"


def test_a_later_attempt_installs_the_same_wheels_though_the_index_is_gone(pod: Pod, another: Callable[[Pod], Pod]) -> None:
    with running_index() as index:
        index.add("helper", "1.0")
        first = plan(pod, index, "helper")
        assert pod.fetch(first)[1].failure is None
    later = another(pod)
    ended, report = later.fetch(msgspec.structs.replace(first, attempt=1))
    assert report.failure is None, ended.output
    assert "1 of 1 wheels from the bucket" in ended.output
    assert imported(later, "helper.VERSION", "helper") == "1.0"


def test_a_later_attempt_keeps_the_version_when_the_index_has_a_newer_one(
    pod: Pod, another: Callable[[Pod], Pod], index: PackageIndex
) -> None:
    index.add("helper", "1.0")
    first = plan(pod, index, "helper")
    assert pod.fetch(first)[1].failure is None
    index.add("helper", "2.0")
    later = another(pod)
    assert later.fetch(msgspec.structs.replace(first, attempt=1))[1].failure is None
    assert imported(later, "helper.VERSION", "helper") == "1.0"


def test_another_job_takes_the_newest_version_and_no_wheel_crosses_the_network_twice(
    pod: Pod, another: Callable[[Pod], Pod], index: PackageIndex
) -> None:
    index.add("helper", "1.0")
    first = plan(pod, index, "helper")
    assert pod.fetch(first)[1].failure is None
    other = another(pod)
    ended, report = other.fetch(msgspec.structs.replace(first, uid="other"))
    assert report.failure is None, ended.output
    assert "1 of 1 wheels from the bucket" in ended.output
    index.add("helper", "2.0")
    third = another(pod)
    assert third.fetch(msgspec.structs.replace(first, uid="third"))[1].failure is None
    assert imported(third, "helper.VERSION", "helper") == "2.0"


def test_a_wheel_that_somebody_replaced_in_the_bucket_is_not_installed(
    pod: Pod, another: Callable[[Pod], Pod], index: PackageIndex
) -> None:
    index.add("helper", "1.0")
    first = plan(pod, index, "helper")
    assert pod.fetch(first)[1].failure is None
    (key,) = pod.server.keys(pod.bucket, WHEELS)
    pod.put(key, wheel("helper", "1.0", {"helper.py": "VERSION = 'forged'\n"}))
    later = another(pod)
    ended, report = later.fetch(msgspec.structs.replace(first, attempt=1))
    assert report.failure is None, ended.output
    assert imported(later, "helper.VERSION", "helper") == "1.0"


def test_a_wheel_that_was_replaced_on_the_index_is_refused(pod: Pod, another: Callable[[Pod], Pod], index: PackageIndex) -> None:
    index.add("helper", "1.0")
    first = plan(pod, index, "helper")
    assert pod.fetch(first)[1].failure is None
    (key,) = pod.server.keys(pod.bucket, WHEELS)
    pod.put(key, b"no wheel")
    index.add("helper", "1.0", {"helper.py": "VERSION = 'forged'\n"})
    found = failure(another(pod), msgspec.structs.replace(first, attempt=1))
    assert found.reason is Reason.DIGEST_MISMATCH, found
    assert index.url in found.message


def test_a_forged_list_of_packages_is_refused(pod: Pod, index: PackageIndex) -> None:
    for forged in ("no json", json.dumps({"version": 1, "requirements": ["helper"], "machine": "", "packages": [forged_package()]})):
        pod.put(LOCK, forged)
        found = failure(pod, plan(pod, index, "helper"))
        assert found.reason is Reason.CODE_CHANGED, found
        assert LOCK in found.message


def forged_package() -> dict[str, str]:
    return {"name": "helper", "version": "1 --index-url=http://evil", "file": "../../x.whl", "sha256": "0" * 64}


@dataclasses.dataclass(frozen=True)
class Unmet:
    """A requirement that cannot be met, and what is said of it."""

    requirement: str
    reason: Reason
    words: tuple[str, ...]


UNMET = {
    "a name that the index does not have": Unmet(
        "absent", Reason.REQUIREMENTS_UNSATISFIABLE, ("that satisfies the requirement absent", "from versions: none")
    ),
    "a version that it does not have": Unmet(
        "helper==9", Reason.REQUIREMENTS_UNSATISFIABLE, ("the requirement helper==9", "from versions: 1.0")
    ),
    "a package that needs another version of one of the image's": Unmet(
        "picky",
        Reason.REQUIREMENTS_UNSATISFIABLE,
        ("picky 1.0 depends on msgspec<0.1", f"the image has msgspec=={importlib.metadata.version('msgspec')}"),
    ),
    "a source distribution alone": Unmet("source", Reason.REQUIREMENTS_UNSATISFIABLE, ("the requirement source",)),
}


@pytest.mark.parametrize("unmet", UNMET.values(), ids=UNMET.keys())
def test_what_cannot_be_met_is_told_in_words(unmet: Unmet, pod: Pod, index: PackageIndex) -> None:
    index.add("helper", "1.0")
    index.add("picky", "1.0", requires=("msgspec<0.1",))
    index.files["source-1.0.tar.gz"] = b"not even one"
    found = failure(pod, plan(pod, index, unmet.requirement, script="pass\n"))
    assert found.reason is unmet.reason, found
    assert found.message.startswith("spec.dependencies.requirements: ")
    for words in unmet.words:
        assert words in found.message
    assert found.hint
    assert LOCK not in pod.server.keys(pod.bucket)


def test_a_requirement_that_cannot_be_met_and_other_mistakes_are_told_at_once(pod: Pod, index: PackageIndex) -> None:
    wanted = plan(pod, index, "absent", script="import absent\nx = (\n", args=("${bucket}/gone",))
    ended, report = pod.fetch(wanted)
    assert report.failure is not None
    assert "RequirementsUnsatisfiable" in ended.output
    assert "ScriptSyntaxError" in ended.output
    assert "ImportMissing" not in ended.output


@pytest.mark.parametrize("status", [503, 401, 403])
def test_an_index_that_refuses_is_told_apart_from_a_missing_package(status: int, pod: Pod, index: PackageIndex) -> None:
    index.status = status
    found = failure(pod, plan(pod, index, "helper"))
    assert found.reason is Reason.PACKAGE_INDEX_UNAVAILABLE, found
    assert index.url in found.message
    assert str(status) in found.message


def test_an_index_that_is_not_there_is_told_as_such(pod: Pod) -> None:
    with running_index() as index:
        wanted = plan(pod, index, "helper")
    found = failure(pod, wanted)
    assert found.reason is Reason.PACKAGE_INDEX_UNAVAILABLE, found
    assert "refused" in found.message


def test_an_index_without_digests_is_used_all_the_same(pod: Pod, index: PackageIndex) -> None:
    index.digests = False
    index.add("helper", "1.0")
    ended, report = pod.fetch(plan(pod, index, "helper"))
    assert report.failure is None, ended.output
    assert len(lock(pod)["packages"][0]["sha256"]) == 64


def test_pip_has_none_of_the_jobs_credentials(pod: Pod, index: PackageIndex) -> None:
    index.add("helper", "1.0")
    seen: list[str] = []

    def look() -> None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if index.url.encode() in (folder / "cmdline").read_bytes():
                    seen.append((folder / "environ").read_text())
            except OSError:
                continue

    index.upon = look
    assert pod.fetch(plan(pod, index, "helper"))[1].failure is None
    assert seen
    assert not any(SECRET_KEY in environment or "TFTRAINING" in environment for environment in seen)
    assert not any("authorization" in headers.lower() for headers in index.headers)


def test_nothing_of_a_package_runs_before_the_script(pod: Pod, index: PackageIndex) -> None:
    witness = pod.root / "ran"
    run = f"open({str(witness)!r}, 'w').close()\n"
    files = {"helper.py": run, "helper.pth": f"import os; {run}", "sitecustomize.py": run, "usercustomize.py": run, "msgspec.py": run}
    index.add("helper", "1.0", files)
    wanted = plan(pod, index, "helper", script="print('over')\n")
    ended, report = pod.fetch(wanted)
    assert report.failure is None, ended.output
    assert run_and_publish(pod, wanted) == "over\n"
    assert not witness.exists()


def test_a_stop_ends_pip_too(pod: Pod, index: PackageIndex) -> None:
    asked, over = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        over.wait(60)

    index.upon = hang
    process = pod.start("fetch", plan(pod, index, "helper"))
    try:
        assert asked.wait(60)
        (child,) = [int(each) for each in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        process.send_signal(signal.SIGTERM)
        assert pod.end(process).code == 143
        deadline = time.monotonic() + 10
        while _is_alive(child):
            assert time.monotonic() < deadline, "pip still runs"
            time.sleep(0.05)
    finally:
        over.set()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
