"""What a script leaves where it is not looked for: files elsewhere, processes, and traps in the place of ours."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import msgspec
import pytest
from tftrainer.messages import contract
from tftrainer.messages.contract import Elsewhere, FileElsewhere, Reason, RunReport

from tests.integration.trainer.launcher import Pod, launched

pod = pytest.fixture(launched)


def test_files_in_the_folder_for_temporary_files_are_told_with_name_and_size(pod: Pod) -> None:
    temporary = pod.root / "tmp"
    temporary.mkdir()
    (temporary / "from-before").write_text("somebody else's")
    script = "import tempfile\nopen(f'{tempfile.gettempdir()}/model.h5', 'w').write('x' * 300)\nopen('../bucket/own', 'w').write('x')\n"
    assert pod.finish(pod.start(script, environment={"TMPDIR": str(temporary)})).code == 0
    found = msgspec.json.decode((pod.workspace / ".tftraining" / contract.ELSEWHERE_NAME).read_bytes(), type=Elsewhere)
    assert found == Elsewhere(files=(FileElsewhere(path=f"{temporary}/model.h5", size=300),), count=1, bytes=300)


DOUBLE_FORK = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(writing, b"x")
        time.sleep(600)
    os._exit(0)
os.wait()
"""
FORK = "if os.fork() == 0:\n    os.write(writing, b'x')\n    time.sleep(600)\n"
PROGRAM = """
subprocess.Popen([sys.executable, "-c", "import os, time; os.write(1, b'x'); time.sleep(600)", "a\\nb"], stdout=writing)
"""


def _leaving(*ways: str, end: str = "") -> str:
    head = "import os, subprocess, sys, time\nreading, writing = os.pipe()\nleft = 0\n"
    return head + "".join(f"{way}\nleft += 1\n" for way in ways) + f"for _ in range(left): os.read(reading, 1)\n{end}\n"


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise ValueError('own')", "os._exit(0)"])
@pytest.mark.parametrize("way", [FORK, DOUBLE_FORK, PROGRAM])
def test_a_process_that_is_left_running_is_named_and_counted_however_it_was_started_and_the_script_ended(
    pod: Pod, way: str, end: str
) -> None:
    ran = pod.run(_leaving(way, end=end))
    assert ran.report.left_running == 1
    program = Path(sys.executable).name
    command = (
        f"{program} -c import os, time; os.write(1, b'x'); time.sleep(600) a b"
        if way is PROGRAM
        else f"{program} {pod.root}/workspace/code/train.py"
    )
    assert f"tftrainer: 1 process was still running when the script had ended and was killed: {command}\n" in ran.err.decode()


def test_several_processes_that_are_left_running_are_told_together(pod: Pod) -> None:
    ran = pod.run(_leaving(FORK, DOUBLE_FORK, PROGRAM))
    assert (ran.code, ran.report.left_running) == (0, 3)
    assert "tftrainer: 3 processes were still running when the script had ended and were killed: " in ran.err.decode()
    assert "train.py (2 times)" in ran.err.decode()


def test_helpers_that_end_with_the_script_are_not_told_as_left_running(pod: Pod) -> None:
    ran = pod.run(
        """
        import multiprocessing, subprocess, sys
        from multiprocessing import shared_memory
        def double(x): return 2 * x
        if __name__ == "__main__":
            shared = shared_memory.SharedMemory(create=True, size=100)
            subprocess.Popen(["sleep", "0.2"])
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(double, [1]))
            shared.unlink()
        """
    )
    assert (ran.code, ran.out, ran.err, ran.report.left_running) == (0, b"[2]\n", b"", 0)


REMOVED = {
    "the folder is removed": "shutil.rmtree('../logs')",
    "a file is removed": "os.unlink('../logs/stdout.log')",
    "both are moved away": "os.rename('../logs', '../elsewhere')",
    "a link stands for the folder": "os.rename('../logs', '../elsewhere'); os.symlink('elsewhere', '../logs')",
    "a file stands for the folder": "shutil.rmtree('../logs'); open('../logs', 'w').write('mine')",
    "another file stands for it": "os.unlink('../logs/stdout.log'); open('../logs/stdout.log', 'w').write('mine')",
    "a link stands for it": "os.unlink('../logs/stdout.log'); os.symlink('/dev/null', '../logs/stdout.log')",
    "a folder stands for it": "os.unlink('../logs/stdout.log'); os.makedirs('../logs/stdout.log/mine')",
    "it cannot be read": "os.chmod('../logs/stdout.log', 0); os.chmod('../logs', 0)",
}


@pytest.mark.parametrize("way", REMOVED)
def test_logs_that_the_script_removes_or_replaces_are_in_their_place_in_the_end(pod: Pod, way: str) -> None:
    ran = pod.run(f"import os, shutil, sys\nprint('before', flush=True)\n{REMOVED[way]}\nprint('after')\nprint('bad', file=sys.stderr)\n")
    logs = pod.workspace / "logs"
    assert (ran.code, ran.out, ran.report.logs_lost) == (0, b"before\nafter\n", False)
    assert not logs.is_symlink()
    assert logs.stat().st_mode & 0o700 == 0o700
    for name, text in (("stdout.log", "before\nafter\n"), ("stderr.log", "bad\n")):
        assert (logs / name).read_text() == text
        assert not (logs / name).is_symlink()
        assert (logs / name).stat().st_mode & 0o600 == 0o600
    assert ("tftrainer: the script had removed or replaced logs/stdout.log: it was written anew\n" in ran.err.decode()) is (
        way != "it cannot be read"
    )


def test_what_the_script_has_put_in_the_place_of_a_log_is_kept_beside(pod: Pod) -> None:
    pod.run("import os\nopen('../replaced-1-stdout.log', 'w').close()\n" + REMOVED["another file stands for it"])
    assert (pod.workspace / "replaced-2-stdout.log").read_text() == "mine"


def test_a_log_that_the_script_cuts_off_is_told_as_lost_and_goes_on(pod: Pod) -> None:
    ran = pod.run(
        """
        import os, time
        print("before", flush=True)
        while os.path.getsize("../logs/stdout.log") < 7: time.sleep(0.01)
        os.truncate("../logs/stdout.log", 0)
        print("after")
        """
    )
    assert (ran.code, ran.report.logs_lost) == (0, True)
    assert (pod.workspace / "logs" / "stdout.log").read_text() == "after\n"
    assert b"tftrainer: logs/stdout.log is not complete: the script has overwritten it\n" in ran.err


TRAPS = {
    "it is removed": "shutil.rmtree(marks)",
    "it is emptied": "[os.unlink(f'{marks}/{name}') for name in os.listdir(marks)]",
    "a file stands for it": "shutil.rmtree(marks); open(marks, 'w').write('mine')",
    "a link stands for it": "os.rename(marks, '../elsewhere'); os.symlink('elsewhere', marks)",
    "a link to nothing stands for it": "shutil.rmtree(marks); os.symlink('nowhere', marks)",
    "a pipe stands for it": "shutil.rmtree(marks); os.mkfifo(marks)",
    "folders stand for its files": "[os.makedirs(f'{marks}/{name}/full') for name in ('result.json', 'result.json.new', 'open.json.new')]",
    "it cannot be written": "os.chmod(marks, 0)",
}


@pytest.mark.parametrize("way", TRAPS)
def test_whatever_the_script_makes_of_the_folder_of_marks_the_result_lies_in_it_in_the_end(pod: Pod, way: str) -> None:
    ran = pod.run(f"import os, shutil\nmarks = '../.tftraining'\n{TRAPS[way]}\n")
    folder = pod.workspace / ".tftraining"
    assert (ran.code, ran.report.failure) == (0, None)
    assert not folder.is_symlink()
    assert folder.stat().st_mode & 0o700 == 0o700
    assert contract.decode_report((folder / contract.RESULT_NAME).read_text(), RunReport).exit_code == 0


def test_a_reader_of_errors_that_went_away_keeps_neither_the_report_nor_the_code_from_coming(pod: Pod) -> None:
    process = pod.start("import time\nprint('up', flush=True)\ntime.sleep(60)\n")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stderr.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    report = contract.decode_report((pod.workspace / ".tftraining" / contract.RESULT_NAME).read_text(), RunReport)
    assert report.failure is not None
    assert report.failure.reason == Reason.TERMINATED
