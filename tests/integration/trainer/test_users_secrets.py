"""Credentials of users: one from a Secret reaches the script and nothing else; one that stands in the job is copied nowhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.trainer.test_local import Done, Here, here

__all__ = ["here"]
# A fixture is found by its name in the module that uses it.

CANARY = "canary-4f1e8a77d0b2"
SECRET = {"name": "WANDB_API_KEY", "valueFrom": {"secretKeyRef": {"name": "wandb", "key": "apiKey"}}}
SEES = """
import os, sys
print(len(os.environ["WANDB_API_KEY"]), len(sys.argv))
open(sys.argv[1], "w").write("done")
"""
RAISES = """
import os, sys
raise RuntimeError("401 Unauthorized, the user's own: " + os.environ["WANDB_API_KEY"])
"""


def everything(here: Here, done: Done) -> dict[str, str]:
    """Return all that a run has left and said, but for what the script itself has printed."""
    own = {"stdout.log", "stderr.log"}
    found = {str(path): path.read_text("utf-8", "replace") for path in here.bucket.rglob("*") if path.is_file() and path.name not in own}
    return found | {"standard error": done.err, "standard output": done.out}


def told(here: Here, done: Done) -> list[str]:
    return [name for name, text in everything(here, done).items() if CANARY in text]


def lock(here: Here) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((here.bucket / ".tftraining/default/iris/local/attempt-0/run.lock.json").read_text())
    return found


PLAIN = {
    "a variable": ({"env": [{"name": "WANDB_API_KEY", "value": CANARY}]}, "spec.env[WANDB_API_KEY].value"),
    "an address in an argument": (
        {"args": ["${bucket}/out", f"postgres://me:{CANARY}@db.example.com/runs"], "env": [SECRET]},
        "spec.args[1]",
    ),
    "an option": ({"args": ["${bucket}/out", f"--api-key={CANARY}"], "env": [SECRET]}, "spec.args[1]"),
    "an option in two words": ({"args": ["${bucket}/out", "--password", CANARY], "env": [SECRET]}, "spec.args[2]"),
    "an address in a variable": (
        {"env": [SECRET, {"name": "MLFLOW_TRACKING_URI", "value": f"https://me:{CANARY}@tracking.example.com"}]},
        "spec.env[MLFLOW_TRACKING_URI].value",
    ),
    "an address of a store in a variable": (
        {"env": [SECRET, {"name": "DATA", "value": f"s3://models-of-us/data?X-Amz-Signature={CANARY}"}]},
        "spec.env[DATA].value",
    ),
    "an address of a store in an argument": (
        {"args": ["${bucket}/out", f"--data=s3://someone:{CANARY}@bucket/data"], "env": [SECRET]},
        "spec.args[1]",
    ),
    "a placeholder that is behind a credential": (
        {"args": ["${bucket}/out", f"--token={CANARY}-${{job}}"], "env": [SECRET]},
        "spec.args[1]",
    ),
}


@pytest.mark.parametrize(("spec", "field"), PLAIN.values(), ids=PLAIN)
def test_a_credential_that_stands_in_the_job_is_copied_nowhere_and_told_with_the_remedy(
    here: Here, spec: dict[str, Any], field: str
) -> None:
    done = here.run(here.job(SEES, **{"args": ["${bucket}/out"], **spec}), "--json", WANDB_API_KEY="another")
    assert done.code == 0, done.err
    assert told(here, done) == []
    assert lock(here)["withheld"] == [field]
    assert f"are without {field}: " in done.err
    assert "spec.env[].valueFrom.secretKeyRef" in done.err


def test_a_value_from_a_secret_reaches_the_script_and_nothing_else(here: Here) -> None:
    done = here.run(here.job(SEES, args=["${bucket}/out"], env=[SECRET]), WANDB_API_KEY=CANARY)
    assert done.code == 0, done.err
    assert done.out == f"{len(CANARY)} 2\n"
    assert told(here, done) == []
    assert lock(here)["job"]["spec"]["env"] == [
        SECRET | {"valueFrom": {"secretKeyRef": {"name": "wandb", "key": "apiKey", "optional": False}}}
    ]
    assert "withheld" not in lock(here)


@pytest.mark.parametrize("variable", [SECRET, {"name": "WANDB_API_KEY", "value": CANARY}], ids=["from a Secret", "plain"])
def test_an_exception_that_quotes_a_credential_is_told_without_it(here: Here, variable: dict[str, Any]) -> None:
    done = here.run(here.job(RAISES, env=[variable]), "--result", here.root / "result.json", WANDB_API_KEY=CANARY)
    result = json.loads((here.root / "result.json").read_text())
    assert result["failure"]["exception"] == "RuntimeError: 401 Unauthorized, the user's own: ${withheld}"
    assert CANARY not in json.dumps(result)
    assert CANARY not in json.dumps(here.manifest(0))
    # The script's own words are the script's.
    assert [line for line in done.err.splitlines() if CANARY in line] == [f"RuntimeError: 401 Unauthorized, the user's own: {CANARY}"]


def test_a_secret_that_the_environment_lacks_is_named_with_its_variable_before_anything_runs(here: Here) -> None:
    optional = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token", "optional": True}}}
    done = here.run(here.job(SEES, args=["${bucket}/out"], env=[optional, SECRET]))
    assert done.code == 64
    assert done.err == (
        "tftrainer local: spec.env[1].valueFrom.secretKeyRef: without a cluster there is no Secret wandb: set the variable WANDB_API_KEY "
        "in the environment of this command to what its key apiKey holds\n"
    )


def test_the_record_of_a_run_can_be_run_again_and_says_which_variable_it_lacks(here: Here) -> None:
    first = here.run(here.job(SEES, args=["${bucket}/out"], env=[{"name": "WANDB_API_KEY", "value": CANARY}]))
    assert first.code == 0, first.err
    here.put("again.yaml", json.dumps(lock(here)["job"]))
    lacking = here.run(here.root / "again.yaml")
    assert lacking.code == 64
    assert "spec.env[0].valueFrom.secretKeyRef: " in lacking.err
    assert "set the variable WANDB_API_KEY in the environment" in lacking.err
    again = here.run(here.root / "again.yaml", WANDB_API_KEY="other")
    assert (again.code, again.out) == (0, "5 2\n")


def test_the_record_of_a_run_with_a_credential_in_an_argument_says_which_to_write_again(here: Here) -> None:
    first = here.run(here.job(SEES, args=["${bucket}/out", f"--token={CANARY}"], env=[SECRET]), WANDB_API_KEY="x")
    assert first.code == 0, first.err
    here.put("again.yaml", json.dumps(lock(here)["job"]))
    again = here.run(here.root / "again.yaml", WANDB_API_KEY="x")
    assert again.code == 65
    assert "spec.args[1] is '--token=${withheld}': it " in again.err
    assert "stands for a credential that the record of a run leaves out" in again.err
