"""What is left to read of an attempt that failed, on the real cluster: beside its manifest, or in the status alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cluster_client import Jobs, Object
from demo.target import Bucket
from minio import Minio

SECRET = "canary-5d21c07e99"
RAISES = f"""
for number in range(100):
    print("line", number)
print("the password is {SECRET}")
raise KeyError("x")
"""


@pytest.fixture(scope="module")
def failed(jobs: Jobs) -> Object:
    jobs.submit("raises", RAISES, args=[f"--password={SECRET}"])
    return jobs.wait("raises")


def test_a_failed_attempt_leaves_its_post_mortem_where_the_status_says(failed: Object, store: Minio, bucket: Bucket) -> None:
    found = failed["postMortem"]
    data = store.get_object(bucket.bucket, found["uri"].removeprefix(f"s3://{bucket.bucket}/")).read()
    written: dict[str, Any] = json.loads(data)
    assert (written["failure"]["reason"], written["failure"]["line"], written["exitCode"]) == ("ScriptRaised", 5, 1)
    assert len(written["stdout"]) == 50
    assert written["stderr"][-1] == "KeyError: 'x'"
    assert written["usage"]["memory"] > 0
    assert written["usage"]["memoryLimit"] == 512 * 1024**2
    assert {"python", "tensorflow-cpu", "numpy"} <= set(written["versions"])
    assert SECRET not in json.dumps(written)
    assert any(each.startswith("container trainer ended with exit code 1") for each in found["evidence"]), json.dumps(failed, indent=1)


def test_a_job_of_which_nothing_ran_has_the_evidence_in_its_status_alone(jobs: Jobs) -> None:
    jobs.submit("nothing", script={"uri": "${bucket}/test-post-mortem/none.py"})
    found = jobs.wait("nothing")["postMortem"]
    assert "uri" not in found
    assert any(each.startswith("container fetch ended with exit code") for each in found["evidence"])
