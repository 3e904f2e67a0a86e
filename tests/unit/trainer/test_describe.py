"""What a runtime says of itself."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest
from tftrainer import describe


@pytest.mark.parametrize(
    ("distributions", "tensorflow", "cuda"),
    [
        ([], None, None),
        ([("tensorflow", "2.21.0")], "2.21.0", None),
        ([("tensorflow_cpu", "2.15.1")], "2.15.1", None),
        ([("tensorflow", "2.21.0"), ("nvidia-cuda-runtime-cu12", "12.5.82")], "2.21.0", "12.5.82"),
        ([("tensorflow", "2.21.0"), ("nvidia-cuda-runtime-other", "1.0")], "2.21.0", None),
        ([("TensorFlow", "2.21.0"), ("tensorflow", "1.0")], "2.21.0", None),
    ],
)
def test_a_runtime_is_told_by_its_distributions(distributions: list[tuple[str, str]], tensorflow: str | None, cuda: str | None) -> None:
    said = describe.describe(distributions, "3.11.2", version_1_api=False)
    assert (said.python, said.tensorflow, said.cuda) == ("3.11.2", tensorflow, cuda)


def test_packages_that_are_no_companions_of_tensorflow_are_left_out() -> None:
    said = describe.describe([("scikit_learn", "1.7"), ("minio", "7.2")], "3.11.2", version_1_api=False)
    assert said.packages == {"scikit-learn": "1.7"}


def test_the_text_says_which_api_a_script_gets() -> None:
    said = describe.describe([("tensorflow", "2.15.1"), ("numpy", "1.26.4")], "3.11.2", version_1_api=True)
    assert "version-1 API" in describe.text(said)
    assert "cuda        not installed" in describe.text(said)


def test_the_command_prints_json_of_this_interpreter_without_importing_tensorflow() -> None:
    code = "import sys; from tftrainer.__main__ import main; main(['describe', '--json']); assert 'tensorflow' not in sys.modules"
    ran = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["python"] == platform.python_version()


def test_an_unknown_argument_is_refused_with_the_known_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert describe.main(["--yaml"]) == describe.USAGE_ERROR
    assert "--json" in capsys.readouterr().err
