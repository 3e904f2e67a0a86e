"""The demonstration: the iris job from apply to a served prediction, beside its bare run on the same machine."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass

from demo.bare import run_bare
from demo.code import EXAMPLES, client, upload_examples
from demo.console import CommandError, Console
from demo.target import Bucket, Target, find_bucket

WAIT = "--timeout=5m"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds from apply to the end of the job, and of the same program without Kubernetes."""

    job: float
    bare: float


def show(console: Console, target: Target) -> Timing:
    """Run the demonstration and return what it measured.

    Raises:
        CommandError: a step failed, or a job did not succeed.

    """
    bucket = find_bucket(target)
    with console.step("the code goes into the bucket"):
        for uri in upload_examples(bucket):
            console.line(f"           {uri}")
    with console.step("training job"):
        target.kubectl("delete", "tftj", "iris", "iris-predict", "--ignore-not-found", "--wait")
        seconds = run_job(console, target, "iris-job.yaml", "iris")
        console.shown(["kubectl", "logs", "iris-chief-0", "--tail=9"], target.environment)
        console.shown(["kubectl", "get", "tftj"], target.environment)
    with console.step("the model in the bucket"):
        console.line(f"           {_model(target)}")
        for key in _model_objects(target, bucket):
            console.line(f"             {key}")
    with console.step("prediction by a second job, from the model in the bucket"):
        run_job(console, target, "iris-predict-job.yaml", "iris-predict")
        console.shown(["kubectl", "logs", "iris-predict-chief-0", "--tail=2"], target.environment)
    with console.step("the same program without Kubernetes, same interpreter"):
        bare = run_bare()
    console.line(f"\nfrom apply to Succeeded {seconds:.1f} s; bare run {bare:.1f} s; difference {seconds - bare:+.1f} s")
    console.line("\nThe cluster stays up. To use it:\n")
    console.line(f"  {target.export}")
    console.line('  eval "$(make -s env)"      # kubectl, helm, and the S3 address and keys of the demo store')
    console.line("  kubectl describe tftj iris")
    console.line("  make down                  # ends it")
    return Timing(seconds, bare)


def run_job(console: Console, target: Target, file: str, name: str) -> float:
    """Apply an example, wait for its end, and return the seconds from apply to the end.

    Raises:
        CommandError: the job ended, but not as Succeeded; its status message is in the text.

    """
    begin = time.monotonic()
    console.shown(["kubectl", "apply", "-f", os.path.relpath(EXAMPLES / file)], target.environment)
    console.shown(["kubectl", "wait", "--for=condition=Finished", f"tftj/{name}", WAIT], target.environment)
    seconds = time.monotonic() - begin
    status = json.loads(target.kubectl("get", "tftj", name, "-o", "json"))["status"]
    if status["phase"] != "Succeeded":
        console.shown(["kubectl", "describe", "tftj", name], target.environment)
        raise CommandError(f"job {name} ended as {status['phase']}: {status.get('message', '')}")
    return seconds


def _model(target: Target) -> str:
    return target.kubectl("get", "tftj", "iris", "-o", "jsonpath={.status.model.uri}")


def _model_objects(target: Target, bucket: Bucket) -> list[str]:
    prefix = _model(target).removeprefix(f"s3://{bucket.bucket}/")
    found = client(bucket).list_objects(bucket.bucket, prefix, recursive=True)
    return [f"{item.object_name} ({item.size} bytes)" for item in found]
