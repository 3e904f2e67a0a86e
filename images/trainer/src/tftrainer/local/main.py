"""`python -m tftrainer local JOB.yaml [--bucket DIR]`: runs a job file through fetch, run and publish on this machine."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from tftrainer.describe import alias_is_on
from tftrainer.local import locations
from tftrainer.local import plan as plans
from tftrainer.local.job_file import JobFileError, read
from tftrainer.local.outlet import Outlet
from tftrainer.local.processes import Processes, StartError
from tftrainer.local.result import NOT_FETCHED, Result, judge, text
from tftrainer.local.spec import JobFile, Scheduling
from tftrainer.local.workspace import WorkspaceError, workspace
from tftrainer.messages import contract, manifest
from tftrainer.messages.contract import STORAGE_PREFIX, USAGE_ERROR
from tftrainer.phase_error import PhaseError, sentence
from tftrainer.storage.opening import open_store

BAD_JOB_FILE: Final = 65
NOT_STARTED: Final = 70
INTERRUPTED: Final = 130
OUT, ERROR = Outlet(1), Outlet(2)
_ATTEMPT: Final = re.compile(r"attempt-([0-9]{1,9})/")
_EPILOG: Final = f"""\
The bucket is a folder (--bucket), or an S3 bucket that the environment names: TFTRAINING_S3_ENDPOINT, TFTRAINING_S3_BUCKET,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY; if needed TFTRAINING_S3_PREFIX, AWS_REGION, AWS_CA_BUNDLE, TFTRAINING_S3_DATASETS_BUCKET.

A variable with valueFrom.secretKeyRef has the value that the variable of the same name has in the environment.

exit code: the script's own (128 + n for signal n); {USAGE_ERROR} wrong use; {BAD_JOB_FILE} the job file is wrong;
{NOT_FETCHED} the script could not start, because something that the job names is missing or wrong;
74 the script succeeded, but its outputs could not be published or are not what the job demands.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SystemExit(_refuse(USAGE_ERROR, f"{message}; see python -m tftrainer local --help"))


def main(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Run a job file and return the script's exit code, or one that says why the script did not run or its outputs are not there."""
    options = _parser().parse_args(arguments)
    if sys.platform != "linux":
        return _refuse(USAGE_ERROR, f"this system is {sys.platform}, expected linux, as in a pod: use a virtual machine, or WSL on Windows")
    try:
        job = read(options.job)
        plans.check_placeholders(job)
    except JobFileError as error:
        return _refuse(BAD_JOB_FILE, str(error))
    if job.spec.suspend or job.spec.stop:
        field = "stop" if job.spec.stop else "suspend"
        return _refuse(BAD_JOB_FILE, f"{options.job}: spec.{field} is true, so that the job does not run: set it to false")
    if (replicas := job.spec.replicas.count) > 1:
        why = f"spec.replicas asks for {replicas} replicas, and here one process runs: leave it out, or run the job on a cluster"
        return _refuse(BAD_JOB_FILE, f"{options.job}: {why}")
    if job.spec.dependencies.requirements and not options.package_index:
        why = "spec.dependencies.requirements names packages, but no index is given: name its URL with --package-index"
        return _refuse(USAGE_ERROR, f"{why} URL, such as https://packages.example.com/simple")
    try:
        plans.check_secrets(job, environment)
        buckets = locations.variables(job, options.bucket, options.datasets, environment)
    except (plans.SecretError, locations.LocationError) as error:
        return _refuse(USAGE_ERROR, str(error))
    try:
        attempt = _next_attempt(job, buckets)
        plan = msgspec.structs.replace(plans.plan(job, attempt), package_index=options.package_index)
        return _tell(*_run(job, plan, buckets, environment, as_json=options.json), options)
    except PhaseError as error:
        why = sentence(error.failure)
        return _refuse(NOT_FETCHED, why if options.bucket else f"{why}\n{locations.stand_ins(why)}")
    except (WorkspaceError, StartError) as error:
        return _refuse(NOT_STARTED, str(error))
    except KeyboardInterrupt:
        return _refuse(INTERRUPTED, "interrupted")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m tftrainer local",
        description="Run a TFTrainingJob file on this machine, without a cluster, through the same phases.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("job", type=Path, metavar="JOB.yaml", help="a file with one TFTrainingJob")
    parser.add_argument("--bucket", type=Path, metavar="DIR", help="folder in the place of the bucket: ${bucket}/x is DIR/x")
    parser.add_argument("--datasets", type=Path, metavar="DIR", help="folder in the place of the dataset library: ${datasets}/x is DIR/x")
    parser.add_argument("--package-index", default="", metavar="URL", help="where spec.dependencies.requirements are installed from")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on standard output, all else on standard error")
    parser.add_argument("--result", type=Path, metavar="FILE", help="write the result as JSON into FILE")
    return parser


def _refuse(code: int, message: str) -> int:
    for line in message.splitlines():
        ERROR.line(f"tftrainer local: {line}")
    return code


def _say(line: str) -> None:
    ERROR.line(f"local: {line}")


def _next_attempt(job: JobFile, buckets: Mapping[str, str]) -> int:
    """Return the number of this run: one more than the last that the bucket has of this job."""
    store = open_store(buckets, STORAGE_PREFIX, "environment")
    if store is None:
        return 0
    prefix = store.credentials.key(manifest.job_folder(plans.plan(job, 0)))
    numbers = [int(found[1]) for each in store.list(prefix) if (found := _ATTEMPT.match(each.key, len(prefix)))]
    return max(numbers, default=-1) + 1


def _run(
    job: JobFile, plan: contract.Plan, buckets: Mapping[str, str], environment: Mapping[str, str], *, as_json: bool
) -> tuple[int, Result]:
    _notes(job, plan)
    processes = Processes(plan, _say, ERROR if as_json else OUT, ERROR)
    # Named here: where TMPDIR is no good, Python would take another folder, which may be too small, without a word.
    parent = environment.get("TMPDIR") or None
    with processes.heeding_signals(), workspace(job.metadata.name, plan.script.name, job.spec.script.inline, parent) as place:
        ran = processes.go(
            place.layout,
            {**plans.phases_environment(plan, environment), **buckets, contract.SPEC_VARIABLE: plans.record(job)},
            plans.script_environment(job, plan, str(place.layout.workspace), environment),
            place.keep,
        )
        if ran.published:
            place.release()
        return judge(plan, ran, time.time(), kept=str(place.layout.workspace) if place.kept else "")


def _notes(job: JobFile, plan: contract.Plan) -> None:
    if plan.attempt:
        _say(f"the bucket has earlier runs of job {plan.job}: this is attempt {plan.attempt}, and outputs of the same name are replaced")
    if job.spec.resources.gpus:
        _say(f"resources.gpus is {job.spec.resources.gpus}: nothing is reserved here, the script sees the GPUs that this machine has")
    if job.spec.resource_class is not None:
        _say(f"resourceClass is {job.spec.resource_class}: nobody here knows its size, the script sees the whole machine")
    if job.spec.scheduling != Scheduling():
        _say("scheduling is of no meaning without a cluster: the job runs here")
    if job.spec.managed_by is not None:
        _say(f"managedBy is {job.spec.managed_by}: of no meaning without a cluster, the job runs here")
    if plan.runtime == "tf1" and not alias_is_on():
        _say("runtime tf1: `import tensorflow` does not give the version-1 API here; docs/how-to/without-a-cluster.md says how it does")


def _tell(code: int, result: Result, options: argparse.Namespace) -> int:
    encoded = msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"
    ERROR.line(text(result))
    if options.json:
        OUT.put(encoded)
    if options.result is not None:
        try:
            options.result.write_bytes(encoded)
        except OSError as error:
            return _refuse(code or USAGE_ERROR, f"--result is {str(options.result)!r}, which cannot be written: {error.strerror}")
    return code
