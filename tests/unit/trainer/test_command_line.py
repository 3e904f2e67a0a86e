"""What the command line says to somebody who does not know it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from tftrainer import __main__ as trainer
from tftrainer.messages.contract import CONTRACT, CONTRACT_OPTION, USAGE_ERROR
from tftraining_operator import __main__ as operator

COMMANDS = ("fetch", "run", "publish", "local", "describe", "stacks")


@pytest.mark.parametrize("asked", ["-h", "--help", "help"])
def test_help_lists_every_command_and_is_no_error(asked: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert trainer.main([asked]) == 0
    told = capsys.readouterr()
    assert re.findall(r"^  ([a-z]+) ", told.out, re.MULTILINE) == ["local", "describe", "stacks", "fetch", "run", "publish"]
    assert set(COMMANDS) == {*trainer.PHASES, trainer.LOCAL, trainer.DESCRIBE, trainer.STACKS}
    assert told.err == ""


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        ([], "usage: python -m tftrainer COMMAND"),
        (["fetsh"], "tftrainer: there is no command 'fetsh'"),
        (["--version"], "tftrainer: there is no command '--version'"),
        (["stacks", "now"], "tftrainer: there is no command 'stacks now'"),
    ],
)
def test_without_a_command_that_exists_the_commands_are_listed_on_standard_error(
    arguments: list[str], first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trainer.main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[0] == first
    assert all(re.search(rf"^  {command} ", told.err, re.MULTILINE) for command in COMMANDS)


@pytest.mark.parametrize(("main", "word"), [(operator.main, "crd"), (lambda arguments: trainer.main(["local", *arguments]), "JOB.yaml")])
def test_the_operator_and_the_local_runner_have_help_too(main: object, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(main)
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert word in capsys.readouterr().out


def test_the_operator_without_a_command_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        operator.main([])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "run the operator" in told
    assert "print the CustomResourceDefinition" in told


@pytest.mark.parametrize("needs", [[], *([f"{CONTRACT_OPTION}{number}"] for number in range(1, CONTRACT + 1))], ids=str)
def test_what_the_image_knows_may_be_asked_of_it(needs: list[str]) -> None:
    assert said("fetch", *needs) == (USAGE_ERROR, "tftrainer: the environment variable TFTRAINING_PLAN is missing; the operator sets it")


@pytest.mark.parametrize("needs", [f"{CONTRACT_OPTION}{CONTRACT + 1}", CONTRACT_OPTION, f"{CONTRACT_OPTION}x"])
def test_what_a_newer_operator_asks_of_the_image_it_refuses(needs: str) -> None:
    assert said("fetch", needs) == (USAGE_ERROR, f"tftrainer: got {needs!r}, but this image knows no more than {CONTRACT_OPTION}{CONTRACT}")


@pytest.mark.parametrize(
    "arguments",
    [["fetch", "--later"], ["fetch", f"{CONTRACT_OPTION}1", f"{CONTRACT_OPTION}1"], ["run", f"{CONTRACT_OPTION}1"], ["publish", "x"]],
)
def test_a_phase_knows_no_other_option(arguments: list[str]) -> None:
    assert said(*arguments) == (2, f"tftrainer: there is no command {' '.join(arguments)!r}")


def said(*arguments: str) -> tuple[int, str]:
    """Return the exit code of a phase that has no plan, and the first line that it says."""
    command = [sys.executable, "-I", "-m", "tftrainer", *arguments]
    ended = subprocess.run(command, env={}, capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stderr.splitlines()[0]
