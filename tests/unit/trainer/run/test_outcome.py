"""What the user is told about the end of a script, from facts alone."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.messages.contract import Plan, Reason, RunReport, Script, decode_report, encode_report
from tftrainer.run import evidence, memory
from tftrainer.run.evidence import Evidence
from tftrainer.run.outcome import Ending, Stop, judge
from tftrainer.run.usage import used_bytes

PLAN = Plan(namespace="n", job="j", uid="u", runtime="tf1", script=Script(name="t.py"), active_deadline_seconds=9, workspace_bytes=3 << 30)
CODE, DEPS = Path("/workspace/code"), Path("/workspace/deps")

CRASH = """Fatal Python error: Segmentation fault

Current thread 0x00007f (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "/workspace/deps/archive.zip/ops.py", line 7 in inner
  File "/workspace/code/train.py", line 2 in <module>

Extension modules: numpy (total: 1)
"""

PRINTED = """noise
Traceback (most recent call last):
  File "/workspace/code/train.py", line 8, in <module>
    helpers.run()
  File "/workspace/code/lib/helpers.py", line 3, in run
    json.loads("{")
  File "/usr/lib/python3.11/json/__init__.py", line 346, in loads
    return _default_decoder.decode(s)
json.decoder.JSONDecodeError: Expecting property name
"""
WHAT = "json.decoder.JSONDecodeError: Expecting property name"


@pytest.mark.parametrize(
    ("ending", "code", "reason"),
    [
        (Ending(0), 0, None),
        (Ending(0, memory_kills=1), 0, None),
        (Ending(3), 3, Reason.SCRIPT_EXITED),
        (Ending(255), 255, Reason.SCRIPT_EXITED),
        (Ending(1, record=Evidence("ValueError", "x")), 1, Reason.SCRIPT_RAISED),
        (Ending(1, record=Evidence("SyntaxError", syntax=True, file="t.py", line=2)), 1, Reason.SYNTAX_ERROR),
        (Ending(1, record=Evidence("ModuleNotFoundError", missing="x")), 1, Reason.IMPORT_MISSING),
        (Ending(1, record=Evidence("OSError", errno=errno.EFBIG)), 1, Reason.WORKSPACE_FULL),
        (Ending(1, record=Evidence("OSError", errno=errno.ENOENT)), 1, Reason.SCRIPT_RAISED),
        (Ending(0, signal.SIGKILL), 137, Reason.SCRIPT_KILLED),
        (Ending(0, signal.SIGKILL, memory_kills=1), 137, Reason.OUT_OF_MEMORY),
        (Ending(1, memory_kills=1, record=Evidence("BrokenProcessPool")), 1, Reason.OUT_OF_MEMORY),
        (Ending(0, signal.SIGXFSZ), 153, Reason.WORKSPACE_FULL),
        (Ending(0, signal.SIGSEGV), 139, Reason.SCRIPT_CRASHED),
        (Ending(0, signal.SIGABRT), 134, Reason.SCRIPT_CRASHED),
        (Ending(0, 40), 168, Reason.SCRIPT_KILLED),
        (Ending(0, stop=Stop.ASKED), 143, Reason.TERMINATED),
        (Ending(7, stop=Stop.ASKED), 7, Reason.TERMINATED),
        (Ending(0, signal.SIGKILL, stop=Stop.DEADLINE, forced=True), 137, Reason.DEADLINE_EXCEEDED),
        (Ending(1, stop=Stop.WORKSPACE, record=Evidence("KeyboardInterrupt")), 1, Reason.WORKSPACE_FULL),
        (Ending(1, stderr=PRINTED), 1, Reason.SCRIPT_RAISED),
        (Ending(2, stderr=PRINTED), 2, Reason.SCRIPT_EXITED),
        (Ending(1, stderr=PRINTED + "step 1\naccuracy 0.51 is below 0.90\n"), 1, Reason.SCRIPT_EXITED),
        (Ending(3, record=Evidence("ValueError", "x")), 3, Reason.SCRIPT_EXITED),
        (Ending(120, record=Evidence("ValueError", "x")), 120, Reason.SCRIPT_RAISED),
        (Ending(120, stderr=PRINTED), 120, Reason.SCRIPT_EXITED),
        (Ending(0, signal.SIGABRT, record=Evidence("ValueError", "x")), 134, Reason.SCRIPT_RAISED),
        (Ending(0, signal.SIGSEGV, stderr=PRINTED), 139, Reason.SCRIPT_CRASHED),
        (Ending(0, signal.SIGKILL, record=Evidence("ValueError", "x")), 137, Reason.SCRIPT_KILLED),
        (Ending(0, signal.SIGINT), 130, Reason.SCRIPT_KILLED),
        (Ending(0, signal.SIGINT, stderr=PRINTED), 130, Reason.SCRIPT_KILLED),
        (Ending(0, signal.SIGINT, stderr=PRINTED.replace("json.decoder.JSONDecodeError", "KeyboardInterrupt")), 130, Reason.SCRIPT_RAISED),
    ],
)
def test_an_ending_has_one_exit_code_and_one_reason(ending: Ending, code: int, reason: Reason | None) -> None:
    exit_code, failure = judge(ending, PLAN, CODE, DEPS)
    assert (exit_code, failure.reason if failure else None) == (code, reason)


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (Ending(1, memory_kills=1, record=Evidence("ValueError", "later")), Reason.SCRIPT_RAISED),
        (Ending(1, memory_kills=1, since_kill=1.0, record=Evidence("ValueError", "x")), Reason.SCRIPT_RAISED),
        (Ending(1, memory_kills=1, record=Evidence("EOFError", "EOF when reading a line")), Reason.SCRIPT_RAISED),
        (Ending(1, memory_kills=1, record=Evidence("ConnectionResetError", "reset by the store")), Reason.SCRIPT_RAISED),
        (Ending(1, memory_kills=1, record=Evidence("EOFError", traceback='File "/usr/lib/multiprocessing/x.py"')), Reason.OUT_OF_MEMORY),
        (Ending(1, memory_kills=1, record=Evidence("x.BrokenProcessPool", "A child process terminated abruptly")), Reason.OUT_OF_MEMORY),
        (Ending(1, memory_kills=1, record=Evidence("joblib.externals.loky.process_executor.TerminatedWorkerError")), Reason.OUT_OF_MEMORY),
        (
            Ending(1, memory_kills=1, record=Evidence("RuntimeError", "DataLoader worker (pid(s) 7) exited unexpectedly")),
            Reason.OUT_OF_MEMORY,
        ),
        (Ending(1, memory_kills=1, record=Evidence("RuntimeError", "worker 3 is killed by signal: Killed.")), Reason.OUT_OF_MEMORY),
        (Ending(1, memory_kills=1, record=Evidence("x.CalledProcessError", "died with <Signals.SIGKILL: 9>.")), Reason.OUT_OF_MEMORY),
        (Ending(1, record=Evidence("x.BrokenProcessPool", "A child process terminated abruptly")), Reason.SCRIPT_RAISED),
        (Ending(3, memory_kills=1, since_kill=9000.0), Reason.SCRIPT_EXITED),
        (Ending(3, memory_kills=1, since_kill=0.5), Reason.OUT_OF_MEMORY),
        (Ending(247, memory_kills=1, since_kill=9000.0), Reason.OUT_OF_MEMORY),
        (Ending(0, signal.SIGSEGV, memory_kills=1, since_kill=9000.0), Reason.SCRIPT_CRASHED),
        (Ending(0, signal.SIGKILL, memory_kills=1, since_kill=9000.0), Reason.OUT_OF_MEMORY),
        (Ending(0, signal.SIGTERM, stop=Stop.MEMORY, memory_kills=1), Reason.OUT_OF_MEMORY),
        (Ending(0, signal.SIGTERM, stop=Stop.OWN, by="process 7 (sh)"), Reason.SCRIPT_EXITED),
    ],
)
def test_a_kill_for_want_of_memory_is_the_cause_of_what_plainly_follows_from_it(ending: Ending, reason: Reason) -> None:
    _, failure = judge(ending, PLAN, CODE, DEPS)
    assert failure is not None
    assert failure.reason is reason


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (memory.Memory(1, 512 << 20, 511 << 20), "the container's limit, spec.resources.memory, is 512Mi, and the peak was 511Mi"),
        (memory.Memory(1, 5 << 30), "spec.resources.memory, is 5Gi."),
        (memory.Memory(1), "the machine's memory was full"),
    ],
)
def test_limit_and_peak_are_told_where_the_kernel_has_them(seen: memory.Memory, told: str) -> None:
    _, failure = judge(Ending(0, signal.SIGKILL, memory_kills=1, memory=seen), PLAN, CODE, DEPS)
    assert failure is not None
    assert told in failure.message


def test_every_limit_names_its_field() -> None:
    for ending, field in (
        (Ending(0, signal.SIGKILL, memory_kills=1), "spec.resources.memory"),
        (Ending(0, stop=Stop.WORKSPACE), "spec.resources.workspace"),
        (Ending(0, stop=Stop.DEADLINE), "spec.activeDeadlineSeconds"),
    ):
        _, failure = judge(ending, PLAN, CODE, DEPS)
        assert failure is not None
        assert field in failure.hint
        if field == "spec.resources.workspace":
            assert "3Gi" in failure.message


def test_a_crash_is_told_with_the_deepest_line_of_the_users_own() -> None:
    _, failure = judge(Ending(0, signal.SIGSEGV, stderr="epoch 1\n" + CRASH), PLAN, CODE, DEPS)
    assert failure is not None
    assert (failure.file, failure.line, failure.exception) == ("deps/archive.zip/ops.py", 7, "SIGSEGV")
    assert failure.traceback.startswith("Fatal Python error")


def test_a_printed_traceback_serves_where_nothing_was_recorded() -> None:
    found = evidence.printed(PRINTED, CODE, DEPS)
    assert found is not None
    assert (found.type, found.message) == ("json.decoder.JSONDecodeError", "Expecting property name")
    assert (found.file, found.line, found.syntax) == ("lib/helpers.py", 3, False)
    assert evidence.printed("no traceback", CODE, DEPS) is None
    assert evidence.printed("Traceback (most recent call last):\n  cut", CODE, DEPS) is None


@pytest.mark.parametrize(
    ("after", "counts"),
    [
        ("\n\n", True),
        ("\t [[{{node MatMul}}]]\n  more\n", True),
        ("step 1\n", False),
        ("\nstep 1\n", False),
        ("  more\nno checkpoint, starting afresh", False),
    ],
)
def test_a_printed_traceback_counts_only_if_nothing_was_printed_after_its_message(after: str, counts: bool) -> None:
    assert (evidence.printed(PRINTED + after, CODE, DEPS) is not None) == counts


@pytest.mark.parametrize(
    ("after", "code", "place"),
    [
        ("step 1\n", 1, ("lib/helpers.py", 3, WHAT)),
        ('\nInput 0\n\n  File "/workspace/code/other.py", line 9, in f\n', 120, ("lib/helpers.py", 3, WHAT)),
        ("step 1\n" * 1000, 1, ("", None, "")),
        ("step 1\n", 2, ("", None, "")),
    ],
)
def test_a_script_that_ends_itself_soon_after_it_printed_a_traceback_is_told_with_its_place(
    after: str, code: int, place: tuple[str, int | None, str]
) -> None:
    _, failure = judge(Ending(code, stderr=PRINTED + after), PLAN, CODE, DEPS)
    assert failure is not None
    assert failure.reason is Reason.SCRIPT_EXITED
    assert (failure.file, failure.line, failure.exception) == place
    assert ("; the last traceback that it printed: lib/helpers.py, line 3: json" in failure.message) == bool(place[0])
    assert failure.traceback == (PRINTED + after)[-1024:]


@pytest.mark.parametrize("ending", [Ending(3), Ending(0, signal.SIGKILL), Ending(0, stop=Stop.DEADLINE)])
def test_the_end_of_a_log_is_told_without_the_noise_of_tensorflows_start(ending: Ending) -> None:
    noise = "I0000 00:00:1795929094.846224   16830 port.cc:153] oneDNN custom operations are on.\n"
    _, failure = judge(dataclasses.replace(ending, stderr=f"no data\n{noise * 20}"), PLAN, CODE, DEPS)
    assert failure is not None
    assert failure.traceback == "no data\n"
    assert "oneDNN" not in failure.message


def test_a_message_of_several_lines_belongs_to_its_traceback() -> None:
    text = PRINTED.replace("Expecting property name", "Graph execution error:") + "\nDetected at node 'MatMul' defined at:\n    train.py\n"
    found = evidence.printed(text, CODE, DEPS)
    assert found is not None
    assert found.message == "Graph execution error:"


def test_a_printed_missing_module_is_named() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "/workspace/code/t.py", line 1, in <module>\n'
        "    import a.b\n"
        "ModuleNotFoundError: No module named 'a'\n"
    )
    found = evidence.printed(text, CODE, DEPS)
    assert found is not None
    assert (found.missing, found.file, found.line) == ("a", "t.py", 1)


@given(
    st.builds(
        Evidence,
        type=st.text(max_size=5000),
        message=st.text(max_size=5000),
        missing=st.text(max_size=5000),
        file=st.text(max_size=5000),
        line=st.integers(-(2**63), 2**63 - 1),
        syntax=st.booleans(),
        traceback=st.text(max_size=5000),
    ),
    st.text(max_size=5000),
)
def test_whatever_user_code_recorded_becomes_a_report_that_the_operator_reads(found: Evidence, stderr: str) -> None:
    for ending in (Ending(1, record=found, stderr=stderr), Ending(2, stderr=stderr), Ending(0, signal.SIGSEGV, stderr=CRASH + stderr)):
        code, failure = judge(ending, PLAN, CODE, DEPS)
        encoded = encode_report(RunReport(exit_code=code, failure=failure))
        assert decode_report(encoded.decode(), RunReport).failure is not None


@given(st.binary(max_size=400))
def test_a_record_of_any_bytes_is_read_or_refused_without_an_error(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.mktemp("record") / "exception.json"
    path.write_bytes(raw)
    evidence.recorded(path)


@given(st.text(max_size=400))
def test_any_text_of_standard_error_is_read_without_an_error(text: str) -> None:
    evidence.printed("Traceback (most recent call last):" + text, CODE, DEPS)
    evidence.last_printed("Traceback (most recent call last):" + text, CODE, DEPS)


def test_a_record_that_is_a_link_or_a_pipe_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text('{"type": "X"}')
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert evidence.recorded(tmp_path / "link") is None
    os.mkfifo(tmp_path / "pipe")
    assert evidence.recorded(tmp_path / "pipe") is None
    assert evidence.recorded(tmp_path) is None
    assert evidence.recorded(tmp_path / "none") is None


def test_memory_kills_are_read_from_either_version_of_control_groups(tmp_path: Path) -> None:
    one, two = tmp_path / "memory.oom_control", tmp_path / "memory.events"
    one.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert memory.kills((two, one)) == 2
    two.write_text("low 0\nhigh 0\nmax 5\noom 1\noom_kill 3\noom_group_kill 0\n")
    assert memory.kills((two, one)) == 3
    assert memory.kills((tmp_path / "none",)) == 0


@pytest.mark.parametrize(
    ("names", "unlimited"),
    [(("memory.max", "memory.peak"), "max"), (("memory/memory.limit_in_bytes", "memory/memory.max_usage_in_bytes"), "9223372036854771712")],
)
def test_limit_and_peak_are_read_from_either_version_of_control_groups(tmp_path: Path, names: tuple[str, str], unlimited: str) -> None:
    assert memory.read(tmp_path) == memory.Memory()
    (tmp_path / "memory").mkdir()
    for name, value in zip(names, (4096, 2048), strict=True):
        (tmp_path / name).write_text(f"{value}\n")
    assert memory.read(tmp_path) == memory.Memory(0, 4096, 2048)
    (tmp_path / names[0]).write_text(f"{unlimited}\n")
    assert memory.read(tmp_path) == memory.Memory(0, None, 2048)


def test_used_bytes_count_what_lies_on_the_disk_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x" * (1 << 20))
    before = used_bytes(tmp_path)
    assert 1 << 20 <= before < (1 << 20) + (1 << 16)
    (tmp_path / "same").hardlink_to(tmp_path / "a" / "file")
    (tmp_path / "outside").symlink_to("/usr")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert used_bytes(tmp_path) == before


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (
            "tensorflow.python.framework.errors_impl.ResourceExhaustedError",
            "OOM when allocating tensor on device:GPU:0",
            "memory of the GPU",
        ),
        ("ResourceExhaustedError", "failed to allocate memory [Op:Mul]", "spec.resources.memory"),
        ("ResourceExhaustedError", "/workspace/bucket/model; No space left on device", "the node's disk"),
        ("numpy.core._exceptions._ArrayMemoryError", "Unable to allocate 8. TiB", "spec.resources.memory"),
        ("MemoryError", "", "spec.resources.memory"),
        ("KeyError", "'x'", ""),
        ("ConnectionError", "refused", ""),
    ],
)
def test_an_exception_has_a_hint_where_its_cause_is_known_and_none_elsewhere(kind: str, text: str, words: str) -> None:
    _, failure = judge(Ending(1, record=Evidence(kind, text)), PLAN, CODE, DEPS)
    assert failure is not None
    assert failure.reason is Reason.SCRIPT_RAISED
    assert words in failure.hint
    assert bool(words) == bool(failure.hint)


@pytest.mark.parametrize(
    ("since_kill", "exception", "hint"),
    [
        (0.0, "RuntimeError", "Raise spec.resources.memory, or use less: "),
        (59.0, "ValueError", "Raise spec.resources.memory, or use less: "),
        (9000.0, "RuntimeError", ""),
        (None, "RuntimeError", ""),
        (0.0, "MemoryError", "Memory was refused: "),
    ],
)
def test_an_exception_right_after_a_kill_is_its_own_cause_and_has_the_kill_for_a_hint(
    since_kill: float | None, exception: str, hint: str
) -> None:
    seen = memory.Memory(kills=2, limit=400 << 20, peak=399 << 20)
    ending = Ending(1, memory_kills=2, since_kill=since_kill, memory=seen, record=Evidence(exception, "the child did not end with 0"))
    _, failure = judge(ending, PLAN, CODE, DEPS)
    assert failure is not None
    assert failure.reason is Reason.SCRIPT_RAISED
    assert failure.hint.startswith(hint) if hint else failure.hint == ""
    killed = "the kernel killed 2 processes of the script for want of it: the container's limit, spec.resources.memory, is 400Mi"
    assert (killed in failure.hint) == hint.startswith("Raise")
