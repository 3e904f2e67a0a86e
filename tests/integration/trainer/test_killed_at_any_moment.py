"""A script that writes at random and is killed at a random moment: nothing that was whole before is lost, nor what it has finished."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
import uuid
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings
from tftrainer.messages import contract
from tftrainer.messages.contract import Plan, PublishReport, Script

from tests.integration.trainer.launched import LAUNCH, with_script
from tests.integration.trainer.pods import Pod, StoreServer

KEYS = ("best.bin", "log.csv", "deep/er/state.json", "deep/weights.h5", "new.bin")
PIECE = 5_000

WRITER = '''
import json, os, signal, sys, time

root, steps, last, told = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
pieces = 0


def piece(file, number):
    """Write one piece of a file, and be killed after the last."""
    global pieces
    file.write(bytes([number % 256]) * PIECE)
    file.flush()
    pieces += 1
    if pieces == last:
        for each in WHO:
            os.kill(os.getppid() if each == "launcher" else os.getpid(), signal.SIGKILL)
        time.sleep(60)


for number, (key, how, count) in enumerate(steps):
    place = os.path.join(root, key)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    written = place + ".tmp" if how == "renamed" else place
    with open(written, "ab" if how == "appended" else "wb") as file:
        for _ in range(count):
            piece(file, number)
    if how == "renamed":
        os.replace(written, place)
    with open(told, "a") as file:
        file.write(json.dumps([key, number]) + "\\n")
'''


@dataclasses.dataclass(frozen=True)
class Write:
    """One file that the script writes: its key, by which way, and in how many pieces."""

    key: str
    how: str
    pieces: int


writes = st.lists(
    st.builds(Write, st.sampled_from(KEYS), st.sampled_from(("in place", "appended", "renamed")), st.integers(1, 4)), min_size=1, max_size=8
)


def contents(before: dict[str, bytes], steps: list[Write], finished: int) -> dict[str, list[bytes]]:
    """Return, for each key, what it held whole one after the other: before the run, and after each write that came to its end."""
    held = {key: [data] for key, data in before.items()}
    for number, step in enumerate(steps[:finished]):
        old = held.setdefault(step.key, [])
        new = bytes([number % 256]) * PIECE * step.pieces
        held[step.key] = [*old, (old[-1] if old and step.how == "appended" else b"") + new]
    return held


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    steps=writes,
    there=st.sets(st.sampled_from(KEYS[:-1])),
    moment=st.integers(1, 12),
    who=st.sampled_from((["script"], ["launcher", "script"])),
)
def test_whatever_was_whole_before_or_was_finished_can_still_be_read(
    tmp_path: Path, store_server: StoreServer, steps: list[Write], there: set[str], moment: int, who: list[str]
) -> None:
    pod = Pod(tmp_path / uuid.uuid4().hex, store_server, store_server.new_bucket(), "")
    before = {f"work/{key}": f"good {key} ".encode() * 1000 for key in there}
    for key, data in before.items():
        pod.put(key, data)
    named = [Write(f"work/{step.key}", step.how, step.pieces) for step in steps]
    told = pod.root / "told"
    plan = Plan(
        namespace="team",
        job="writes",
        uid=str(uuid.uuid4()),
        runtime="tf2",
        script=Script(name="train.py", uri="${bucket}/code/train.py"),
        args=("${bucket}/work/", json.dumps([dataclasses.astuple(step) for step in steps]), str(moment), str(told)),
    )
    with_script(pod, f"PIECE, WHO = {PIECE}, {who}\n{WRITER}")
    _, fetched = pod.fetch(plan)
    assert fetched.failure is None
    publisher = pod.start("publish", plan)
    subprocess.run(
        [sys.executable, "-I", "-c", LAUNCH, str(pod.root), contract.encode_plan(plan)], check=False, timeout=60, capture_output=True
    )
    ended = pod.end(publisher)
    report = ended.report(PublishReport)
    assert report.manifest_uri, ended.output

    finished = len(told.read_text().splitlines()) if told.exists() else 0
    whole = contents(before, named, finished)
    objects = {key: pod.server.get(pod.bucket, key) for key in pod.server.keys(pod.bucket)}
    under_way = named[finished].key if finished < len(named) else ""
    for key, versions in whole.items():
        if key in before:
            assert objects.get(key) in versions, f"{key} holds neither what it held before nor anything that was finished"
        # What the script itself has begun to overwrite in its folder, nobody has any more.
        overwritten = key == under_way and named[finished].how != "renamed"
        assert overwritten or versions[-1] in objects.values(), f"the last whole version of {key} is nowhere"
    manifest = json.loads(objects[report.manifest_uri.removeprefix(f"s3://{pod.bucket}/")])
    for each in [*manifest.get("objects", ()), *manifest.get("kept", ()), *manifest.get("logs", ())]:
        assert hashlib.sha256(objects[each["key"]]).hexdigest() == each["sha256"], each
