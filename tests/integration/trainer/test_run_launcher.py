"""The launcher with real scripts, processes, signals and pipes, in folders of a test's own."""

from __future__ import annotations

import errno
import fcntl
import json
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from tftrainer.messages import contract, handover
from tftrainer.messages.contract import Plan, Reason, RunReport, Script
from tftrainer.run import stacks

from tests.integration.trainer.launched import STOPPED_EARLY
from tests.integration.trainer.launcher import DRIVER, INHERITED, Pod, launched, wait_for

HANDLED = """
import sys, traceback
try:
    open('/nonexistent')
except OSError:
    traceback.print_exc()
for step in range(3):
    print('step', step, file=sys.stderr)
sys.exit('final accuracy 0.51 is below 0.90')
"""

TEED = """
import sys
class Tee:
    terminal = sys.stdout
    def write(self, text): self.terminal.write(text)
sys.stdout = Tee()
print({}['missing'])
"""

LOGGED = """
import logging, sys
def main():
    raise ValueError('Exception encountered when calling layer "dense".\\n\\nInput 0 does not fit\\n\\nCall arguments received:\\n  x=1')
try:
    main()
except Exception:
    logging.exception('training failed')
    sys.exit(1)
"""

HOOKED = """
import sys, logging
def hook(*about):
    sys.__excepthook__(*about)
    logging.error('run failed')
sys.excepthook = hook
raise KeyError('x')
"""

HANDED_OVER = """
import sys
def load():
    try:
        int('x')
    except ValueError:
        sys.excepthook(*sys.exc_info())
load()
print('went on')
sys.exit({code})
"""

CHAINED = """
import sys
before = sys.excepthook
def hook(*about):
    print('sorry')
    before(*about)
sys.excepthook = hook
raise ValueError('own')
"""

ARGUMENTS = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument('--n', required=True)
parser.parse_args()
"""

TOLD = """
import signal, sys, time

def leave(*_):
    with open("../bucket/told", "w") as file:
        file.write("child")
    sys.exit()

signal.signal(signal.SIGTERM, leave)
print("up", flush=True)
time.sleep(60)
"""


pod = pytest.fixture(launched)


def test_a_script_runs_as_if_started_by_hand(pod: Pod) -> None:
    ran = pod.run(
        """
        import json, os, sys
        print(json.dumps({
            "argv": sys.argv, "file": __file__, "name": __name__, "path0": sys.path[0], "path": sys.path,
            "main": sys.modules["__main__"].__file__, "cwd": os.getcwd(), "stdin": sys.stdin.read(),
            "plan": "TFTRAINING_PLAN" in os.environ, "hook": [n for n in os.environ if n.startswith("TFTRAINING")],
            "alias": os.environ["SM_MODEL_DIR"], "orig": sys.orig_argv[1:], "own": os.environ.get("MINE"),
            "leader": os.getsid(0) == os.getpid(), "doc": __doc__, "spec": __spec__ is None,
        }))
        """,
        "--a",
        "b c",
        "*",
        environment={"MINE": "$x"},
    )
    assert ran.code == 0, ran.err
    seen = json.loads(ran.out)
    script = str(pod.workspace / "code" / "train.py")
    assert seen["argv"] == [script, "--a", "b c", "*"]
    assert seen["orig"] == [script, "--a", "b c", "*"]
    assert seen["file"] == seen["main"] == script
    assert (seen["name"], seen["path0"], seen["cwd"]) == ("__main__", str(pod.workspace / "code"), str(pod.workspace / "code"))
    assert (seen["plan"], seen["hook"], seen["stdin"], seen["own"], seen["alias"]) == (False, [], "", "$x", "/alias")
    assert seen["leader"]
    assert seen["spec"]
    assert not [entry for entry in seen["path"] if "tftrainer" in entry and "hook" in entry]
    assert ran.report.failure is None
    assert ran.report.finished_at >= ran.report.started_at > 0


def test_a_module_runs_as_if_started_by_hand_with_minus_m(pod: Pod) -> None:
    package = pod.workspace / "code" / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "values.py").write_text("X = 1\n")
    (package / "train.py").write_text(
        "import json, os, sys\nfrom .values import X\nprint(json.dumps([X, sys.argv, sys.path[0], os.getcwd(), __name__, __package__]))\n"
    )
    ran = pod.run("raise SystemExit('not this one')\n", "--a", "b c", module="package.train")
    assert ran.code == 0, ran.err
    code = str(pod.workspace / "code")
    assert json.loads(ran.out) == [1, [f"{code}/package/train.py", "--a", "b c"], code, code, "__main__", "package"]


def test_what_a_module_raises_is_told_with_its_line_and_what_it_hands_to_the_hook_itself_is_not(pod: Pod) -> None:
    hands_over = "import sys\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    sys.excepthook(*sys.exc_info())\n"
    pod.write(f"{hands_over}open('nothing')\n", "sub.py")
    ran = pod.run("", module="sub")
    assert ran.report.failure is not None
    assert (ran.reason, ran.report.failure.file, ran.report.failure.line) == (Reason.SCRIPT_RAISED, "sub.py", 6)
    pod.write(f"{hands_over}sys.exit('gave up')\n", "sub.py")
    assert pod.run("", module="sub").reason is Reason.SCRIPT_EXITED


def test_an_archive_follows_the_scripts_folder_and_leads_the_runtime(pod: Pod) -> None:
    archive = pod.workspace / "deps" / "archive.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("helper.py", "WHERE = __file__\n")
        content.writestr("json/__init__.py", "WHERE = 'archive'\n")
    ran = pod.run(
        "import subprocess, sys, helper, json\nprint(helper.WHERE, json.WHERE, sys.path[1], flush=True)\n"
        "subprocess.run([sys.executable, '-c', 'import helper; print(helper.WHERE)'], check=True)\n",
        path=(str(archive),),
    )
    assert ran.code == 0, ran.err
    assert ran.out.decode().split() == [f"{archive}/helper.py", "archive", str(archive), f"{archive}/helper.py"]


CUSTOMISED = """
import json, os, sys
os.makedirs(os.environ["MARKS"], exist_ok=True)
with open(os.path.join(os.environ["MARKS"], __name__), "a") as marks:
    print(os.path.basename(sys.orig_argv[-1]), [entry for entry in sys.path if "hook" in entry], file=marks)
"""


def test_a_sitecustomize_of_the_users_is_run_by_the_script_as_by_hand_and_by_nothing_else(pod: Pod) -> None:
    archive = pod.workspace / "deps" / "archive.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("sitecustomize.py", CUSTOMISED)
        content.writestr("usercustomize.py", CUSTOMISED)
        content.writestr("evil.pth", "import sitecustomize\n")
    script = "import sys\nprint(sys.modules['sitecustomize'].__file__)\nraise ValueError('seen')\n"
    by_hand = subprocess.run(
        [sys.executable, pod.write(script)],
        env={**INHERITED, "PYTHONPATH": str(archive), "MARKS": str(pod.root / "by-hand")},
        capture_output=True,
        check=False,
    )
    ran = pod.run(script, path=(str(archive),), environment={"MARKS": str(pod.root / "marks"), "PYTHONPATH": str(archive)})
    assert (ran.code, ran.reason, ran.out) == (1, Reason.SCRIPT_RAISED, by_hand.stdout)
    marks, expected = ({path.name: path.read_text() for path in (pod.root / name).iterdir()} for name in ("marks", "by-hand"))
    assert marks == expected
    assert marks["sitecustomize"] == "train.py []\n"


def test_a_sitecustomize_of_the_users_that_fails_is_told_as_by_hand(pod: Pod) -> None:
    folder = pod.workspace / "deps" / "archive"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import not_there_at_all\n")
    script = "print('ran')\n"
    by_hand = subprocess.run(
        [sys.executable, pod.write(script)], env={**INHERITED, "PYTHONPATH": str(folder)}, capture_output=True, check=False
    )
    ran = pod.run(script, path=(str(folder),))
    assert (ran.code, ran.out, ran.err) == (0, by_hand.stdout, by_hand.stderr)
    assert b"not_there_at_all" in ran.err


def test_pickle_and_spawned_workers_find_what_the_script_defines(pod: Pod) -> None:
    ran = pod.run(
        """
        import multiprocessing, pickle
        class Point:
            def __init__(self, x): self.x = x
        def double(point): return Point(point.x * 2)
        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            with context.Pool(2) as pool:
                print([p.x for p in pool.map(double, [Point(1), Point(2)])], pickle.loads(pickle.dumps(Point(3))).x)
        """
    )
    assert (ran.code, ran.out) == (0, b"[2, 4] 3\n"), ran.err


def test_both_streams_pass_through_unchanged_and_into_the_log_files(pod: Pod) -> None:
    ran = pod.run(r"import os; os.write(1, b'\xff\x00\r\nno end'); os.write(2, b'\x1b[31mred')")
    assert (ran.out, ran.err) == (b"\xff\x00\r\nno end", b"\x1b[31mred")
    assert (pod.workspace / "logs" / "stdout.log").read_bytes() == ran.out
    assert (pod.workspace / "logs" / "stderr.log").read_bytes() == ran.err


def test_an_exception_is_told_with_the_deepest_line_of_the_users_own(pod: Pod) -> None:
    pod.write("import json\ndef load(text):\n    return json.loads(text)\n", "data.py")
    script = "import data\n\ndef main():\n    data.load('{')\n\nmain()\n"
    ran = pod.run(script)
    failure = ran.report.failure
    assert failure is not None
    assert (ran.code, failure.reason, failure.file, failure.line) == (1, Reason.SCRIPT_RAISED, "data.py", 3)
    assert failure.exception.startswith("json.decoder.JSONDecodeError: Expecting property name")
    assert "Expecting property name" in failure.message
    assert failure.traceback.rstrip().endswith("(char 1)")
    by_hand = subprocess.run([sys.executable, str(pod.workspace / "code" / "train.py")], capture_output=True, check=False)
    assert ran.err.startswith(by_hand.stderr)
    assert (pod.workspace / "logs" / "stderr.log").read_bytes() == by_hand.stderr


@pytest.mark.parametrize(
    ("script", "reason", "file", "line", "told"),
    [
        ("x = 1\nif x\n    pass\n", Reason.SYNTAX_ERROR, "train.py", 2, "expected ':'"),
        ("def f():\n\tpass\n        pass\n", Reason.SYNTAX_ERROR, "train.py", 3, "train.py is not valid Python"),
        ("import broken\n", Reason.SYNTAX_ERROR, "broken.py", 1, "broken.py is not valid Python"),
        ("import numpyy.linalg\n", Reason.IMPORT_MISSING, "train.py", 1, "`numpyy`"),
        ("from json import nothing\n", Reason.SCRIPT_RAISED, "train.py", 1, "cannot import name"),
        ("eval('1 +')\n", Reason.SCRIPT_RAISED, "train.py", 1, "SyntaxError"),
        ("class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd\n", Reason.SCRIPT_RAISED, "train.py", 3, "Odd"),
        ("raise KeyError('a') from ValueError('b')\n", Reason.SCRIPT_RAISED, "train.py", 1, "KeyError: 'a'"),
        ("import sys\nsys.excepthook = lambda *a: sys.__excepthook__(*a)\n1 / 0\n", Reason.SCRIPT_RAISED, "train.py", 3, "division"),
        ("def f(): f()\nf()\n", Reason.SCRIPT_RAISED, "train.py", 1, "RecursionError"),
        ("raise KeyboardInterrupt('enough')\n", Reason.SCRIPT_RAISED, "train.py", 1, "KeyboardInterrupt: enough"),
        (CHAINED, Reason.SCRIPT_RAISED, "train.py", 8, "ValueError: own"),
        (TEED, Reason.SCRIPT_RAISED, "train.py", 7, "KeyError: 'missing'"),
        ("import atexit, os\natexit.register(os.abort)\nraise ValueError('bad data')\n", Reason.SCRIPT_RAISED, "train.py", 3, "bad data"),
        (LOGGED, Reason.SCRIPT_EXITED, "train.py", 4, "ValueError: Exception encountered when calling layer"),
        (HOOKED, Reason.SCRIPT_EXITED, "train.py", 7, "run failed; the last traceback that it printed: train.py, line 7: KeyError: 'x'"),
        (HANDLED, Reason.SCRIPT_EXITED, "train.py", 4, "with exit code 1. The last line of its standard error: final accuracy 0.51"),
        (HANDED_OVER.format(code=3), Reason.SCRIPT_EXITED, "", None, "exit code 3"),
        (HANDED_OVER.format(code="'no data'"), Reason.SCRIPT_EXITED, "train.py", 5, "standard error: no data"),
        ("import sys\nsys.exit(3)\n", Reason.SCRIPT_EXITED, "", None, "exit code 3"),
        ("raise SystemExit('no data')\n", Reason.SCRIPT_EXITED, "", None, "no data"),
        (ARGUMENTS, Reason.SCRIPT_EXITED, "", None, "--n"),
        ("import os\nos._exit(9)\n", Reason.SCRIPT_EXITED, "", None, "exit code 9"),
        ("import os\ndef f():\n    os.abort()\nf()\n", Reason.SCRIPT_CRASHED, "train.py", 3, "SIGABRT"),
        ("import ctypes\nctypes.string_at(0)\n", Reason.SCRIPT_CRASHED, "train.py", 2, "SIGSEGV"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", Reason.SCRIPT_KILLED, "", None, "SIGKILL"),
    ],
)  # fmt: skip
def test_the_way_a_script_ended_is_told(pod: Pod, script: str, reason: Reason, file: str, line: int | None, told: str) -> None:
    pod.write("def f(:\n", "broken.py")
    ran = pod.run(script)
    failure = ran.report.failure
    assert failure is not None
    assert failure.reason == reason, failure
    assert (failure.file, failure.line) == (file, line), failure
    assert told in failure.message
    by_hand = subprocess.run([sys.executable, str(pod.workspace / "code" / "train.py")], capture_output=True, check=False)
    assert ran.code == (by_hand.returncode if by_hand.returncode >= 0 else 128 - by_hand.returncode)


ODD = {
    "bytes that are no text, very long, and a second line": (
        'raise ValueError("bad value: gr\\udcf6\\udcdfe " + "x" * 20000 + "\\nsecond line: file <a&b>.csv")',
        "ValueError: bad value: gr\\udcf6\\udcdfe xxx",
    ),
    "bytes in a file's name": ("import os\nopen(os.fsdecode(b'/no/gr\\xf6\\xdfe'))", "FileNotFoundError: [Errno 2]"),
    "a string of its own class": (
        "class S(str):\n    def __getitem__(self, at): raise KeyError\nraise ValueError(S('text'))", "ValueError: text"),
    "a text that is of its own class": (
        "class S(str): __len__ = None\nclass E(Exception):\n    def __str__(self): return S('text')\nraise E",
        "E: text",
    ),
    "bytes": ("raise ValueError(b'\\xff')", "ValueError: b'\\xff'"),
    "a representation that raises": (
        "class R:\n    def __repr__(self): raise ValueError\nraise KeyError(R())", "KeyError: (the exception has no"),
    "a number that is a word": ("raise OSError('seven', 'words')", "OSError: [Errno seven] words"),
    "a number that is too large": ("raise OSError(10**30, 'words')", "OSError"),
    "a module's name that is none": ("raise ImportError('x', name=b'y')", "ImportError: x"),
    "a name that is a number": ("raise ModuleNotFoundError('x', name=7)", "ModuleNotFoundError: x"),
    "a syntax error of other types": ("e = SyntaxError('x'); e.filename = b'f'; e.lineno = 'two'\nraise e", "SyntaxError"),
    "attributes that raise": (
        "class E(OSError):\n    @property\n    def errno(self): raise RuntimeError\nraise E('text')",
        "E: text",
    ),
    "a group": (
        "raise ExceptionGroup('many', [ValueError('a'), ExceptionGroup('more', [KeyError('b')])])",
        "ExceptionGroup: many (2 sub-exceptions)"),
    "a cause": (
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('x' * 5000) from e", "KeyError: 'xxx"),
    "notes": ("e = ValueError('text')\ne.add_note('gr\\udcf6')\ne.add_note('n' * 9000)\nraise e", "ValueError: text"),
    "notes that are none": ("e = ValueError('text')\ne.__notes__ = 7\nraise e", "ValueError: text"),
    "a thousand causes": (
        "e = ValueError('0')\nfor n in range(1000):\n    f = ValueError(str(n)); f.__cause__ = e; e = f\nraise e", "ValueError: 999"),
    "groups in groups": (
        "e = ValueError('0')\nfor n in range(3000):\n    e = ExceptionGroup('g', [e])\nraise e", "ExceptionGroup: g"),
    "a loop of causes": ("e, f = ValueError('e'), ValueError('f')\ne.__cause__, f.__cause__ = f, e\nraise e", "ValueError: e"),
    "a long name": ("raise type('N' * 9000, (Exception,), {})('text')", "NNNNN"),
    "very deep": ("def f(n):\n    if not n: raise ValueError('deep')\n    f(n - 1)\nf(900)", "ValueError: deep"),
    "ten megabytes": ("raise ValueError('x' * 10_000_000)", "ValueError: xxx"),
    "colours": ("raise ValueError('\\x1b[1mbold\\x1b[0m')", "ValueError: bold"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_an_exception_of_any_kind_is_told_with_its_file_and_line(pod: Pod, name: str) -> None:
    script, told = ODD[name]
    last = len(script.splitlines()) if name != "very deep" else 2
    ran = pod.run(script)
    failure = ran.report.failure
    assert failure is not None
    assert failure.reason in (Reason.SCRIPT_RAISED, Reason.IMPORT_MISSING), failure
    assert (failure.file, failure.line) == ("train.py", last), failure
    assert told in failure.exception or failure.reason is Reason.IMPORT_MISSING, failure
    assert f'train.py", line {last}' in failure.traceback, failure.traceback
    assert "\x1b" not in failure.message + failure.exception + failure.traceback


def test_a_missing_module_is_told_with_the_three_ways_to_provide_it(pod: Pod) -> None:
    failure = pod.run("import helpers_of_mine\n").report.failure
    assert failure is not None
    for way in ("spec.dependencies.archive", "spec.dependencies.files", "spec.runtime"):
        assert way in failure.hint


@pytest.mark.parametrize("error", ["FileNotFoundError", "type('NotFoundError', (Exception,), {})"])
def test_a_file_that_was_not_fetched_from_the_bucket_is_told_by_the_name_that_the_user_knows(pod: Pod, error: str) -> None:
    path = pod.workspace / "bucket" / "data" / "nothere.csv"
    ran = pod.run(f"raise ({error})(\"[Errno 2] No such file or directory: '{path}'\")\n")
    assert ran.report.failure is not None
    for words in ("${bucket}/data/nothere.csv was not fetched", "${bucket} alone names nothing", "spec.inputs", "check the key"):
        assert words in ran.report.failure.hint
    elsewhere = pod.run("open('/nowhere/x.csv')\n")
    assert elsewhere.report.failure is not None
    assert elsewhere.report.failure.hint.startswith("Use an argument, ${bucket}/nowhere/x.csv, and read what it names")


@pytest.mark.parametrize("call", ["os.mkdir(path)", "raise AssertionError(f'Export directory already exists, and is not empty: {path}')"])
def test_a_folder_that_was_in_the_bucket_before_is_told_with_what_keeps_it_away(pod: Pod, call: str) -> None:
    path = pod.workspace / "bucket" / "export"
    path.mkdir(parents=True)
    ran = pod.run(f"import os\npath = {str(path)!r}\n{call}\n")
    assert ran.report.failure is not None
    for words in ("If ${bucket}/export was there", "leave the / out", "spec.outputs"):
        assert words in ran.report.failure.hint
    elsewhere = pod.run("import os\nos.mkdir('/')\n")
    assert elsewhere.report.failure is not None
    assert elsewhere.report.failure.hint == ""


def test_a_failing_child_process_does_not_speak_for_the_script(pod: Pod) -> None:
    ran = pod.run("import os, sys\nif os.fork() == 0:\n    raise ValueError('child')\nos.wait()\nsys.exit(4)\n")
    assert (ran.code, ran.reason) == (4, Reason.SCRIPT_EXITED)


def test_sigterm_reaches_the_whole_group(pod: Pod) -> None:
    pod.write(TOLD, "told.py")
    process = pod.start(
        """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, lambda *_: (child.wait(), sys.exit(1)))
        child = subprocess.Popen([sys.executable, "told.py"])
        time.sleep(60)
        """
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    ran = pod.finish(process)
    assert (ran.code, ran.reason) == (1, Reason.TERMINATED)
    assert (pod.workspace / "bucket" / "told").read_text() == "child"


FROM_WITHIN = {
    "the script itself": "import os, time\nos.kill(os.getppid(), {number})\ntime.sleep(60)\n",
    "a thread of it": (
        "import os, threading, time\nthreading.Thread(target=os.kill, args=(os.getppid(), {number})).start()\ntime.sleep(60)\n"
    ),
    "a child that lives on": (
        "import os, time\nparent = os.getppid()\nif os.fork() == 0:\n    os.kill(parent, {number})\n    time.sleep(60)\ntime.sleep(60)\n"
    ),
    "an orphan": (
        "import os, time\nparent = os.getppid()\nif os.fork() == 0:\n    if os.fork() == 0:\n        os.setsid()\n"
        "        os.kill(parent, {number})\n        time.sleep(60)\n    os._exit(0)\nos.wait()\ntime.sleep(60)\n"
    ),
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("sender", FROM_WITHIN)
def test_a_stop_that_the_script_sends_to_its_own_parent_is_its_own_doing(pod: Pod, sender: str, number: signal.Signals) -> None:
    ran = pod.run(FROM_WITHIN[sender].format(number=int(number)))
    assert (ran.code, ran.reason) == (128 + number, Reason.SCRIPT_EXITED), ran.err
    assert ran.report.failure is not None
    assert "The script stopped itself: its process " in ran.report.failure.message
    assert "train.py" in ran.report.failure.message


REFUSED = """
import errno, os, sys, threading
from pathlib import Path
from tftrainer.layout import Layout
from tftrainer.messages.contract import decode_plan
from tftrainer.run import launcher
root, plan, where, number = sys.argv[1:5]
error = OSError(int(number), os.strerror(int(number)), None if where != "log" else f"{root}/workspace/logs/stdout.log")
def refuse(*_, **__): raise error
if where == "log":
    real = os.open
    os.open = lambda path, *rest, **named: refuse() if str(path).endswith("stdout.log") else real(path, *rest, **named)
elif where == "fork":
    os.fork = refuse
elif where == "pipe":
    os.pipe = refuse
elif where == "thread":
    def refuse(*_, **__): raise RuntimeError("can't start new thread")
    threading.Thread.start = refuse
sys.exit(launcher.main(decode_plan(plan), Layout(Path(root))))
"""


@pytest.mark.parametrize(
    ("where", "number", "reason", "told"),
    [
        ("log", errno.ENOSPC, Reason.WORKSPACE_FULL, "stdout.log: No space left on device"),
        ("log", errno.EDQUOT, Reason.WORKSPACE_FULL, "stdout.log: Disk quota exceeded"),
        ("log", errno.EIO, Reason.TRAINER_ERROR, "stdout.log: Input/output error"),
        ("fork", errno.EAGAIN, Reason.TRAINER_ERROR, "a process: Resource temporarily unavailable"),
        ("fork", errno.ENOMEM, Reason.OUT_OF_MEMORY, "a process: Cannot allocate memory"),
        ("pipe", errno.EMFILE, Reason.TRAINER_ERROR, "a process: Too many open files"),
        ("thread", 0, Reason.TRAINER_ERROR, "a process: can't start new thread"),
    ],
)
def test_what_the_machine_refuses_before_the_script_starts_is_a_report_and_no_traceback(
    pod: Pod, where: str, number: int, reason: Reason, told: str
) -> None:
    pod.start("import time\ntime.sleep(60)\n").kill()
    plan = contract.encode_plan(Plan(namespace="ns", job="j", uid="u", runtime="tf2", script=Script(name="train.py")))
    ran = subprocess.run(
        [sys.executable, "-I", "-c", REFUSED, str(pod.root), plan, where, str(number)], capture_output=True, check=False, timeout=30
    )
    report = contract.decode_report((pod.root / "dev/termination-log").read_text(), RunReport)
    assert ran.returncode == report.exit_code == 70
    assert report.failure is not None
    assert report.failure.reason is reason
    assert told in report.failure.message
    assert report.failure.hint
    assert b"Traceback" not in ran.stderr
    assert told.encode() in ran.stderr


def test_a_script_that_dies_of_sigterm_gives_143(pod: Pod) -> None:
    process = pod.start("import time\nprint('up', flush=True)\ntime.sleep(60)\n")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    ran = pod.finish(process)
    assert (ran.code, ran.reason) == (143, Reason.TERMINATED)


@pytest.mark.usefixtures("heard")
def test_a_script_that_is_interrupted_dies_of_it_as_by_hand(pod: Pod) -> None:
    script = "import time\nprint('up', flush=True)\ntime.sleep(60)\n"
    by_hand = subprocess.Popen([sys.executable, pod.write(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process = pod.start(script)
    for each in (by_hand, process):
        assert each.stdout is not None
        each.stdout.readline()
        each.send_signal(signal.SIGINT)
    by_hand.communicate(timeout=60)
    ran = pod.finish(process)
    assert (ran.code, ran.reason) == (128 - by_hand.returncode, Reason.TERMINATED)
    assert ran.code == 130


def test_a_script_that_cleans_up_at_sigterm_keeps_its_code_but_is_no_success(pod: Pod) -> None:
    for chosen, seen in ((5, 5), (0, 143)):
        process = pod.start(
            f"""
            import signal, sys, time
            signal.signal(signal.SIGTERM, lambda *_: sys.exit({chosen}))
            print("ready", flush=True)
            time.sleep(60)
            """
        )
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        ran = pod.finish(process)
        assert (ran.code, ran.reason) == (seen, Reason.TERMINATED)


def test_a_script_that_ignores_sigterm_is_killed_after_the_grace_with_its_stack_in_the_log(pod: Pod) -> None:
    process = pod.start(
        """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        def stubborn():
            print("ready", flush=True)
            time.sleep(60)
        stubborn()
        """,
        grace_seconds=1,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    ran = pod.finish(process)
    assert (ran.code, ran.reason) == (137, Reason.TERMINATED)
    assert ran.report.failure is not None
    assert "within 1 s" in ran.report.failure.message
    assert b"in stubborn" in ran.err


FAMILY = """
import os, signal, subprocess, sys, time
told = sys.argv[1]
pids = [os.getpid()]
pids.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid)
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
child.stdout.readline()
pids.append(child.pid)
forked = os.fork()
if forked == 0:
    time.sleep(600)
pids.append(forked)
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, lambda *_: (open(told, "w").close(), time.sleep(600)))
        os.write(writing, str(os.getpid()).encode())
        time.sleep(600)
    os._exit(0)
os.wait()
pids.append(int(os.read(reading, 20)))

def end(*_):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)

signal.signal(signal.SIGTERM, END)
print(*pids, flush=True)
while True:
    time.sleep(600)
"""


@pytest.mark.parametrize(("end", "code"), [("end", 143), ("signal.SIG_IGN", 137)])
def test_a_stop_reaches_children_forks_and_daemons_and_leaves_none_of_them(pod: Pod, end: str, code: int) -> None:
    told = pod.workspace / "bucket" / "told"
    process = pod.start(FAMILY.replace("END", end), str(told), grace_seconds=1)
    assert process.stdout is not None
    pids = [int(each) for each in process.stdout.readline().split()]
    assert len(pids) == 5
    process.send_signal(signal.SIGTERM)
    ran = pod.finish(process)
    assert (ran.code, ran.reason) == (code, Reason.TERMINATED)
    assert told.exists(), "the daemon was not asked to end"
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


SHIELDED = """
import signal, subprocess, sys, time
helper = subprocess.Popen(
    [sys.executable, "-c", "import sys; sys.stdin.readline(); open('../bucket/flushed', 'w').close()"],
    stdin=subprocess.PIPE,
    start_new_session=True,
)

def stop(*_):
    helper.communicate(b"flush\\n")
    sys.exit(helper.returncode)

signal.signal(signal.SIGTERM, stop)
print("up", flush=True)
time.sleep(60)
"""


def test_a_helper_that_the_script_shields_from_signals_is_ended_by_the_script_as_by_hand(pod: Pod) -> None:
    process = pod.start(SHIELDED)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    ran = pod.finish(process)
    assert (ran.code, ran.reason) == (143, Reason.TERMINATED)
    assert (pod.workspace / "bucket" / "flushed").exists()


SLOW = """
import os, signal, time
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()

    def save(*_):
        time.sleep(2)
        open("../bucket/saved", "w").close()
        os._exit(0)

    signal.signal(signal.SIGTERM, save)
    os.write(writing, b"x")
    while True:
        time.sleep(60)
os.read(reading, 1)
print("up", flush=True)
time.sleep(60)
"""


def test_what_is_left_when_the_script_has_ended_is_asked_and_has_the_rest_of_the_grace_period_but_takes_no_more_than_it_needs(
    pod: Pod,
) -> None:
    process = pod.start(SLOW, grace_seconds=40)
    assert process.stdout is not None
    process.stdout.readline()
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    ran = pod.finish(process)
    assert (ran.code, ran.reason) == (143, Reason.TERMINATED)
    assert (pod.workspace / "bucket" / "saved").exists()
    assert time.monotonic() - begun < 30


WAITING = """
import threading
def worker():
    print("ready", flush=True)
    threading.Event().wait(timeout=60)
threading.Thread(target=worker, daemon=True).start()
threading.Event().wait(timeout=60)
"""


def _phase(pod: Pod, script: Path, command: list[str]) -> subprocess.Popen[bytes]:
    places = {name: pod.root / getattr(contract, name).lstrip("/") for name in ("STATE", "CODE", "BUCKET", "DEPENDENCIES")}
    for folder in places.values():
        folder.mkdir(parents=True, exist_ok=True)
    (places["STATE"] / "trainer.lock").touch()
    handover.write(handover.Resolved(script=str(script), cwd=str(script.parent)), pod.root / contract.RESOLVED_FILE.lstrip("/"))
    text = contract.encode_plan(Plan(namespace="ns", job="j", uid="u", runtime="tf2", script=Script(name="train.py")))
    return subprocess.Popen(
        [sys.executable, "-I", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**INHERITED, contract.PLAN_VARIABLE: text, "TFTRAINING_ROOT": str(pod.root)},
    )


def test_the_command_for_stacks_brings_those_of_all_threads_into_the_log(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = pod.write(WAITING)
    process = _phase(pod, file, ["-m", "tftrainer", "run"])
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    log = pod.root / contract.LOGS.lstrip("/") / "stderr.log"

    def both_seen() -> bool:
        # The main thread may not have come to its last line yet.
        assert stacks.main(process.pid) == 0
        assert "in its log" in capsys.readouterr().out
        return "in worker" in log.read_text() and f'File "{file}", line 7 in <module>' in log.read_text()

    wait_for(both_seen)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def test_the_command_for_stacks_says_where_to_call_it_if_no_script_runs_there() -> None:
    asked = subprocess.run([sys.executable, "-I", "-m", "tftrainer", "stacks"], capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert asked.stderr.startswith("tftrainer: no script runs in this container; expected: kubectl exec POD -c trainer --")
    assert asked.stderr.count("\n") == 1


def test_the_stacks_of_all_threads_come_on_request_and_the_script_runs_on(pod: Pod) -> None:
    process = pod.start(
        """
        import sys, threading
        def worker():
            print("ready", flush=True)
            threading.Event().wait(timeout=60)
        threading.Thread(target=worker, daemon=True).start()
        threading.Event().wait(timeout=1.5)
        print("done", flush=True)
        """
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGUSR1)
    ran = pod.finish(process)
    assert (ran.code, ran.out) == (0, b"done\n")
    assert b"in worker" in ran.err


def test_a_program_that_would_die_of_the_request_for_stacks_is_not_asked(pod: Pod) -> None:
    process = pod.start("import os, sys\nos.execvp('sh', ['sh', '-c', 'echo ready; read x; sleep 1; echo done'])\n")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGUSR1)
    ran = pod.finish(process)
    assert (ran.code, ran.out) == (0, b"done\n")


def test_a_deadline_ends_the_script_even_if_it_then_exits_with_0(pod: Pod) -> None:
    ran = pod.run("import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(0))\ntime.sleep(60)\n", active_deadline_seconds=1)
    assert (ran.code, ran.reason) == (143, Reason.DEADLINE_EXCEEDED)
    assert ran.report.failure is not None
    assert "spec.activeDeadlineSeconds" in ran.report.failure.hint


def test_a_full_workspace_ends_the_script_and_loses_nothing(pod: Pod) -> None:
    ran = pod.run(
        """
        import time
        for number in range(8):
            with open(f"../bucket/part-{number}", "wb") as file:
                file.write(bytes(1 << 20))
        time.sleep(60)
        """,
        workspace_bytes=4 << 20,
    )
    assert (ran.code, ran.reason) == (143, Reason.WORKSPACE_FULL)
    assert ran.report.failure is not None
    assert "4Mi" in ran.report.failure.message
    assert "spec.resources.workspace" in ran.report.failure.hint
    assert sum(path.stat().st_size for path in (pod.workspace / "bucket").iterdir()) == 8 << 20


SMALL = {"workspace_bytes": 4 << 20, "shared_memory_bytes": 1 << 20}
SHARED = """
from multiprocessing import shared_memory
shared = shared_memory.SharedMemory(create=True, size=8 << 20)
shared.buf[-1] = 1
shared.close()
shared.unlink()
print("ok")
"""


def test_shared_memory_that_is_larger_than_the_workspace_can_be_used(pod: Pod) -> None:
    ran = pod.run(SHARED, workspace_bytes=4 << 20, shared_memory_bytes=16 << 20)
    assert (ran.code, ran.out) == (0, b"ok\n"), ran.err
    assert pod.run(SHARED, **SMALL).reason == Reason.WORKSPACE_FULL


def test_a_single_file_cannot_grow_beyond_the_workspace(pod: Pod) -> None:
    ran = pod.run("with open('../bucket/one', 'wb') as f:\n    for _ in range(64): f.write(bytes(1 << 20))\n", **SMALL)
    assert ran.reason == Reason.WORKSPACE_FULL
    assert ran.report.failure is not None
    assert (
        "than 4Mi: no file may be larger than spec.resources.workspace (4Mi), or spec.resources.sharedMemory (1Mi)"
        in ran.report.failure.message
    )
    for field in ("spec.resources.workspace", "spec.resources.sharedMemory"):
        assert field in ran.report.failure.hint
    assert (pod.workspace / "bucket" / "one").stat().st_size <= 4 << 20


def test_nothing_that_the_script_started_outlives_it(pod: Pod) -> None:
    ran = pod.run(
        """
        import os, sys, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                print(os.getpid(), flush=True)
                time.sleep(600)
            os._exit(0)
        os.wait()
        time.sleep(0.3)
        """
    )
    assert ran.code == 0
    assert not Path(f"/proc/{int(ran.out)}").exists()


def test_a_quarter_of_a_gigabyte_of_output_takes_bounded_memory(pod: Pod) -> None:
    process = pod.start(
        """
        import os
        block = bytes(1 << 20)
        for _ in range(256):
            sent = 0
            while sent < len(block):
                sent += os.write(1, block[sent:])
        """
    )
    assert process.stdout is not None
    total = peak = 0
    while chunk := process.stdout.read(1 << 20):
        total += len(chunk)
        if total % (32 << 20) == 0:
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = max(peak, int(status.partition("VmHWM:")[2].split()[0]))
    assert pod.finish(process).code == 0
    assert total == 256 << 20
    assert (pod.workspace / "logs" / "stdout.log").stat().st_size == total
    assert 0 < peak < 64 * 1024


def test_a_reader_that_goes_away_neither_hangs_nor_fails_the_run(pod: Pod) -> None:
    process = pod.start("import os\nfor _ in range(64): os.write(1, bytes(1 << 16))\n")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert (pod.workspace / "logs" / "stdout.log").stat().st_size == 64 << 16


def test_a_reader_that_does_not_read_does_not_keep_a_stop_from_coming_through(pod: Pod) -> None:
    process = pod.start("import os\nprint('ready', flush=True)\nwhile True: os.write(1, bytes(1 << 16))\n", grace_seconds=1)
    wait_for(lambda: (pod.workspace / "logs" / "stdout.log").exists() and (pod.workspace / "logs" / "stdout.log").stat().st_size > 1 << 16)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143


def test_the_lock_is_held_while_the_script_runs_and_not_inherited_by_it(pod: Pod) -> None:
    process = pod.start(
        """
        import os, time
        print([os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2)], os.listdir("/proc/self/fd"), flush=True)
        time.sleep(60)
        """
    )
    assert process.stdout is not None
    inherited = process.stdout.readline().decode()
    assert "/dev/null" in inherited
    assert "lock" not in inherited
    assert (pod.workspace / ".tftraining" / "started").exists()
    with (pod.root / "run/tftraining" / "trainer.lock").open() as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process.kill()
        wait_for(lambda: _free(lock.fileno()))
    process.communicate(timeout=60)


def _free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_before_the_script_started_gives_128_and_the_signal_and_the_script_never_runs(
    pod: Pod, number: signal.Signals, code: int
) -> None:
    with (pod.root / "run/tftraining" / "trainer.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = pod.start("open('../bucket/ran', 'w')\n")
        wait_for(lambda: "trainer.lock" in " ".join(_links(process.pid)))
        process.send_signal(number)
        ran = pod.finish(process)
    assert (ran.code, ran.reason) == (code, Reason.TERMINATED)
    assert not (pod.workspace / "bucket" / "ran").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_during_the_launchers_own_imports_is_not_lost(pod: Pod, number: signal.Signals, code: int) -> None:
    file = pod.write("open('../bucket/ran', 'w')\n")
    process = _phase(pod, file, [*STOPPED_EARLY, str(int(number)), "run"])
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    report = contract.decode_report((pod.root / "dev" / "termination-log").read_text(), RunReport)
    assert report.failure is not None
    assert (report.exit_code, report.failure.reason) == (code, Reason.TERMINATED)
    assert not (pod.root / contract.BUCKET.lstrip("/") / "ran").exists()


def test_the_script_starts_with_no_signal_held_back(pod: Pod) -> None:
    file = pod.write("import signal\nprint(signal.pthread_sigmask(signal.SIG_BLOCK, ()))\n")
    out, err = _phase(pod, file, ["-m", "tftrainer", "run"]).communicate(timeout=60)
    assert out == b"set()\n", err


def _links(pid: int) -> list[str]:
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(str(entry.readlink()))
        except OSError:
            continue
    return found


def test_a_missing_handover_is_the_trainers_error_and_not_the_users(pod: Pod) -> None:
    (pod.root / "run/tftraining" / "trainer.lock").unlink()
    ran = pod.run("print('never')\n")
    assert (ran.code, ran.reason, ran.out) == (70, Reason.TRAINER_ERROR, b"")


def test_an_attempt_that_was_published_before_does_not_run_again(pod: Pod) -> None:
    process = pod.start("open('../bucket/ran', 'w')\n")
    pod.finish(process)
    (pod.workspace / "bucket" / "ran").unlink()
    done = handover.Resolved(script="/none", cwd="/", already_done=True)
    handover.write(done, pod.root / "run/tftraining" / "resolved.json")
    text = contract.encode_plan(Plan(namespace="ns", job="j", uid="u", runtime="tf2", script=Script(name="train.py")))
    again = subprocess.run([sys.executable, "-I", "-c", DRIVER, str(pod.root), text], capture_output=True, check=False)
    assert again.returncode == 0
    assert not (pod.workspace / "bucket" / "ran").exists()


def test_traps_in_the_folder_of_marks_stop_neither_the_end_nor_the_report(pod: Pod) -> None:
    ran = pod.run(
        """
        import os, sys
        os.mkfifo("../.tftraining/result.json.new")
        os.mkdir("../.tftraining/exception.json")
        raise RuntimeError("told by what was printed")
        """
    )
    assert (ran.code, ran.reason) == (1, Reason.SCRIPT_RAISED)
    assert ran.report.failure is not None
    assert (ran.report.failure.file, ran.report.failure.line) == ("train.py", 5)


def test_until_the_first_line_of_the_user_nothing_is_loaded_that_takes_long(pod: Pod) -> None:
    # How long it takes is a benchmark's (B12); that it is neither TensorFlow nor a client of the store, a test's.
    slow = "('tensorflow', 'numpy', 'minio', 'urllib3', 'requests', 'asyncio', 'ssl')"
    loaded = f"import sys; print([name for name in {slow} if name in sys.modules])\n"
    assert pod.run(loaded).out == b"[]\n"
    launcher = subprocess.run([sys.executable, "-I", "-c", f"import tftrainer.run.launcher; {loaded}"], capture_output=True, check=True)
    assert launcher.stdout == b"[]\n"


def test_a_launcher_that_was_halted_for_a_while_goes_on_with_its_script(pod: Pod) -> None:
    script = "import os, time\nprint('up', flush=True)\nwhile not os.path.exists('go'):\n    time.sleep(0.1)\nprint('done')\n"
    process = pod.start(script)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    # As a frozen container: longer than the launcher listens at a time.
    process.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    process.send_signal(signal.SIGCONT)
    time.sleep(1.5)
    (pod.workspace / "code" / "go").touch()
    ran = pod.finish(process)
    assert (ran.code, ran.report.failure) == (0, None), ran.err
