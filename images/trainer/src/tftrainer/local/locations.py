"""Where the buckets of a run lie: folders of this machine, or an S3 server that the environment names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tftrainer.local import surrogates
from tftrainer.local.spec import JobFile
from tftrainer.messages.contract import CREDENTIAL_KEYS, DATASETS_PREFIX, S3_SCHEMES, STORAGE_PREFIX
from tftrainer.phase_error import PhaseError
from tftrainer.storage.opening import CA_FILE, FOLDER, read_certificates
from tftrainer.uri import Root, parse

VARIABLES: Final = {
    "endpoint": ("TFTRAINING_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "bucket": ("TFTRAINING_S3_BUCKET",),
    "accessKey": ("AWS_ACCESS_KEY_ID",),
    "secretKey": ("AWS_SECRET_ACCESS_KEY",),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "prefix": ("TFTRAINING_S3_PREFIX",),
    "addressing": ("TFTRAINING_S3_ADDRESSING",),
}
"""The variables that stand for each key of a storage Secret; the first that is set counts."""
DATASETS_VARIABLES: Final = {"bucket": "TFTRAINING_S3_DATASETS_BUCKET", "prefix": "TFTRAINING_S3_DATASETS_PREFIX"}
"""What differs for the dataset library: it lies on the same server."""
CA_VARIABLE: Final = "AWS_CA_BUNDLE"
"""Path of the file that holds CA certificates; often of all that the machine trusts."""
_NEEDED: Final = ("endpoint", "bucket", "accessKey", "secretKey")
_FOLDER_BUCKET: Final = "bucket"
_ADDRESS: Final = re.compile(rf"(?:^|=)(?:{'|'.join(S3_SCHEMES)})([a-z0-9.-]+)(?:/|$)")


class LocationError(ValueError):
    """The buckets of the run cannot be told. Its text names the option, variable or field, and what was expected."""


def variables(job: JobFile, bucket: Path | None, datasets: Path | None, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which the phases find the job's buckets; with a folder given, no setting of S3 counts for it.

    Raises:
        LocationError: neither a folder nor a server is given, a setting is missing, or the job names more buckets than there are.
    """
    found = _storage(job, bucket, environment)
    if datasets is not None:
        found |= _folder(DATASETS_PREFIX, datasets, "--datasets", "datasets")
    elif bucket is None and environment.get(DATASETS_VARIABLES["bucket"]):
        own = {key: environment.get(name, "") for key, name in DATASETS_VARIABLES.items()}
        found |= _named(DATASETS_PREFIX, {**_server(environment), **own}, environment)
    elif job.spec.uses_datasets():
        raise LocationError(
            "the job names ${datasets}, but no dataset library is given: name its folder with --datasets DIR"
            + ("" if bucket else f", or its bucket in {DATASETS_VARIABLES['bucket']}")
        )
    return found


def _storage(job: JobFile, bucket: Path | None, environment: Mapping[str, str]) -> dict[str, str]:
    if bucket is not None:
        return _folder(STORAGE_PREFIX, bucket, "--bucket", _bucket_name(job))
    server = _server(environment)
    missing = [VARIABLES[key][0] for key in _NEEDED if not server[key]]
    if len(missing) == len(_NEEDED) or "TFTRAINING_S3_BUCKET" in missing:
        raise LocationError(
            "no bucket is given: name a folder of this machine with --bucket DIR, or an S3 bucket in the environment: "
            + ", ".join(VARIABLES[key][0] for key in _NEEDED)
        )
    if missing:
        raise LocationError(
            f"{', '.join(missing)} must be set in the environment beside TFTRAINING_S3_BUCKET, or name a folder with --bucket DIR"
        )
    return _named(STORAGE_PREFIX, server, environment)


def _server(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: next((environment[name] for name in names if environment.get(name)), "") for key, names in VARIABLES.items()}


def _named(prefix: str, values: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    found = {prefix + CREDENTIAL_KEYS[key]: value for key, value in values.items() if value}
    bundle = environment.get(CA_VARIABLE)
    # Machines that set this variable for all programs use plain stores too.
    if bundle and values["endpoint"].lower().startswith("https:"):
        try:
            read_certificates(Path(bundle))
        except PhaseError as error:
            raise LocationError(f"{CA_VARIABLE}: {error}") from None
        found[prefix + CA_FILE] = str(Path(bundle).resolve())
    return found


def stand_ins(text: str) -> str:
    """Return for the keys of a Secret that a message names which variables stand for them here; empty if it names none."""
    variables = {key: names[0] for key, names in VARIABLES.items()} | {"caCertificate": CA_VARIABLE}
    named = [f"{key} is {name}" for key, name in variables.items() if re.search(rf"\b{key}\b", text)]
    return f"without a cluster the variables of the environment are the Secret: {', '.join(named)}" if named else ""


def _folder(prefix: str, folder: Path, option: str, name: str) -> dict[str, str]:
    if not folder.is_dir():
        raise LocationError(f"{option} is {str(folder)!r}, which is {'not a folder' if folder.exists() else 'missing'}: create it first")
    path = str(folder.resolve())
    if surrogates.lone(path):
        raise LocationError(f"{option} is {str(folder)!r}, whose path is not UTF-8, as the names of objects are: give it another name")
    return {prefix + FOLDER: path, prefix + CREDENTIAL_KEYS["bucket"]: name}


def _bucket_name(job: JobFile) -> str:
    """Return the one bucket that the job's `s3://` URIs name: the folder stands for it."""
    named = {uri.bucket: field for field, text in job.spec.uris() if (uri := parse(text, whole=True)).root is Root.S3}
    if len(named) > 1:
        shown = ", ".join(f"{name!r} in {field}" for name, field in named.items())
        raise LocationError(
            f"the job names {len(named)} buckets ({shown}), but --bucket is one folder: write ${{bucket}}/… for what lies in it "
            "and ${datasets}/… for what lies in --datasets"
        )
    return next(iter(named), None) or _told_of(job) or _FOLDER_BUCKET


def _told_of(job: JobFile) -> str:
    """Return the one bucket whose address stands in the job's arguments, which are text; empty where it is not one."""
    found = {address[1] for each in job.spec.args if (address := _ADDRESS.search(each))}
    return found.pop() if len(found) == 1 else ""
