"""What a script raises or prints, however made, is judged at once: until then its pod holds a GPU."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tftrainer.messages.contract import Plan, Script
from tftrainer.run.evidence import Evidence
from tftrainer.run.hints import Setting
from tftrainer.run.outcome import Ending, judge
from tftrainer.withholding import Plain, arguments_without, is_credential, variable_without

pytestmark = pytest.mark.thorough
PLAN = Plan(namespace="n", job="j", uid="u", runtime="tf2", script=Script(name="t.py"), active_deadline_seconds=9)
CODE, DEPS = Path("/workspace/code"), Path("/workspace/deps")
SIZE = 16 * 1024
SECONDS = 0.6
"""Of the processor; what took seconds or minutes before takes a few hundredths."""

TRACEBACK = "Traceback (most recent call last):\n"
FRAME = '  File "/workspace/code/t.py", line 3, in <module>\n'
BEGINNINGS = [
    "",
    "'",
    '"',
    "x; ",
    "[Errno 2] No such file or directory: '",
    "Exception encountered when calling ",
    "Exception encountered when calling A\n",
    "in user code:\n  ",
    "Graph execution error:\n",
    "a_key=",
    "a://b:",
]
REPEATED = [
    *"a0 \n\t'\":/-_.=;{[(\\\x1b\x9b",
    *("a1", "aA", "a=", "a:", "a/", " /", "a ;", "'/", "x\n", "\n\n ", "\n \t", "[["),
    *("\x1b[", "\x1b]", "://", "a://b:", "a@b://c:", "s3://", "-eyJ", "sk-", "_1", "1_", "_b64", "x_key=", "password=", "Bearer "),
    *("open(", "open('", "save", "Writer", "DataLoader worker ", "workers ", "exit code ", "scheme a", "(1)", "name:", "[Op:a"),
    *("{{function_node ", "{{function_node", "aError", "A.", "\n aError: ", "\nTraceback", "\nArguments received by ", TRACEBACK, FRAME),
    *("-----BEGIN A PRIVATE KEY-----", "-----END ", "No module named a.", "2024-01-01 00:00:00.0: ", "found at ", "filepath="),
]
WAYS: dict[str, Callable[[str], object]] = {
    "raised": lambda text: judge(Ending(1, record=Evidence("OSError", text, traceback=text)), PLAN, CODE, DEPS),
    "printed": lambda text: judge(Ending(1, stderr=f"{TRACEBACK}{FRAME}{text}\nOSError: {text}"), PLAN, CODE, DEPS),
    "exited": lambda text: judge(Ending(3, stderr=text), PLAN, CODE, DEPS),
    "crashed": lambda text: judge(
        Ending(0, signal.SIGSEGV, stderr=f"Fatal Python error: x\n\nCurrent thread 0x1\n{text}"), PLAN, CODE, DEPS
    ),
    "withheld from a text": Plain().without,
    "withheld from a variable": lambda text: variable_without("x", text),
    "withheld from an argument": lambda text: arguments_without([text, f"--{text}"]),
    "the name of a variable": lambda text: is_credential(text, text),
}
JUDGED = list(WAYS)[:4]


@pytest.mark.parametrize(
    ("way", "beginning"),
    [(way, each) for way in WAYS for each in BEGINNINGS if way in JUDGED or each in ("", "x; ", "a_key=", "a://b:")],
)
def test_a_text_of_one_thing_repeated_is_done_with_at_once(way: str, beginning: str) -> None:
    for each in REPEATED:
        text = f"{(beginning + each * SIZE)[:SIZE]}!"
        since = time.process_time()
        WAYS[way](text)
        took = time.process_time() - since
        assert took < SECONDS, f"{way}: {beginning!r} and {each!r} took {took:.1f} s"


@pytest.mark.parametrize("name", [*(f"run_{number:05}.csv" for number in (1, 77)), "a" * 250, f"{'ab' * 5000}.csv"])
@pytest.mark.parametrize("same", ["number", "folder"])
def test_what_lies_nearest_is_found_at_once_among_very_many_files(name: str, same: str) -> None:
    files = tuple(f"code/f{number:05}/{name}" if same == "folder" else f"code/{name}{number:05}" for number in range(20_000))
    found = Evidence("FileNotFoundError", f"[Errno 2] No such file or directory: '{name}'", errno=2)
    since = time.process_time()
    judge(Ending(1, record=found), PLAN, CODE, DEPS, Setting(CODE.parent, PLAN, files=files))
    assert time.process_time() - since < SECONDS
