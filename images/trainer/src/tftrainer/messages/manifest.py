"""The last word on one attempt, kept in the bucket: what ran, how it ended, and every object it wrote."""

from __future__ import annotations

import enum
import io
from typing import Final, Literal

import msgspec

from tftrainer.messages.contract import CHIEF, Failure, Message, Pinned, Plan, PublishedModel, job_prefix, run_prefix

VERSION: Final = 1
LIMIT: Final = 256 * 1024**2
"""Bytes of a manifest that are read; one of 100,000 objects takes about 25 MB."""
SUCCEEDED: Final = "Succeeded"
FAILED: Final = "Failed"


class PublishedObject(Message, frozen=True):
    """One object that the run wrote. `key` is the whole key; `sha256` is over the bytes that were sent."""

    key: str
    size: int
    sha256: str
    etag: str = ""


class Skipped(Message, frozen=True):
    """What lay in the bucket folder and was not uploaded, and why. `data` is whether it holds data that is nowhere in the bucket.

    A link, a socket or a pipe holds none of its own.
    """

    path: str
    reason: str
    data: bool = False


class MoreInputs(Message, frozen=True):
    """What of the fetched data is not listed one by one.

    `sha256` is over a line `<ETag> <bytes> <URI>` of each object, in the order of their places in the workspace: it is the same for the
    same data.
    """

    objects: int
    bytes: int
    sha256: str


class KeptBecause(enum.StrEnum):
    """Why a file of the run lies in the run's own folder and not under its key."""

    CUT_SHORT = "CutShort"
    CHANGED_MEANWHILE = "ChangedMeanwhile"
    MODEL_NOT_VERIFIED = "ModelNotVerified"
    OUTSIDE_THE_BUCKET = "OutsideTheBucket"


class Kept(Message, frozen=True):
    """A file that lies at `key` in the run's own folder, and not at the key `instead_of`, if it has one.

    `path` is its path below the workspace; the rest is as of `PublishedObject`.
    """

    path: str
    key: str
    size: int
    sha256: str
    because: KeptBecause
    instead_of: str = ""
    etag: str = ""


class Manifest(Message, frozen=True):
    """The published truth of one attempt of one replica, `role` and `index`. Times are Unix seconds.

    `lock` is what it takes to run it again, `post_mortem` why it failed. `note` is what the user has to know of the outputs. `commit`
    says what makes it the only one: that it was written on the condition that there was none, or, where the store knows no such condition,
    the digest of it in the job's status.
    """

    version: int
    namespace: str
    job: str
    uid: str
    attempt: int
    outcome: str
    role: str = CHIEF
    index: int = 0
    runtime: str = ""
    image: str = ""
    args: tuple[str, ...] = ()
    resolved_args: tuple[str, ...] = ()
    failure: Failure | None = None
    exit_code: int | None = None
    script: Pinned | None = None
    archive: Pinned | None = None
    code: tuple[Pinned, ...] = ()
    inputs: tuple[Pinned, ...] = ()
    more_inputs: MoreInputs | None = None
    objects: tuple[PublishedObject, ...] = ()
    logs: tuple[PublishedObject, ...] = ()
    kept: tuple[Kept, ...] = ()
    note: str = ""
    lock: PublishedObject | None = None
    post_mortem: PublishedObject | None = None
    model: PublishedModel | None = None
    skipped: tuple[Skipped, ...] = ()
    started_at: float = 0.0
    finished_at: float = 0.0
    published_at: float = 0.0
    commit: Literal["", "manifest", "status"] = ""

    def is_of(self, plan: Plan) -> bool:
        """Whether it is of the plan's job, attempt and replica."""
        return (self.uid, self.attempt, self.role, self.index) == (plan.uid, plan.attempt, plan.role, plan.index)

    def same_run(self, other: Manifest) -> bool:
        """Whether both tell of the same run: all but times and ETags."""
        return self._content() == other._content()

    def _content(self) -> tuple[object, ...]:
        # What one pod has kept beside, another may have put under its key, or done both with the files of a model.
        written = {(each.key, each.size, each.sha256) for each in (*self.objects, *self.logs)}
        written |= {(each.instead_of or each.path, each.size, each.sha256) for each in self.kept}
        return (self.version, self.uid, self.attempt, self.exit_code, self.started_at, self.finished_at, sorted(written), self.skipped)


ATTEMPT_NAME: Final = "attempt.json"
"""The note in the folder of an attempt that it has begun."""


def folder(plan: Plan) -> str:
    """Return the key prefix, below the Secret's prefix, of what the product keeps of the plan's attempt, and its replica.

    What the leader leaves is the attempt's; every other replica has a folder of its own in there.
    """
    attempt = run_prefix(plan.namespace, plan.job, plan.uid, plan.attempt)
    return attempt if plan.leads else f"{attempt}{plan.replica}/"


def job_folder(plan: Plan) -> str:
    """Return the key prefix, below the Secret's prefix, of what the product keeps of the plan's job."""
    return job_prefix(plan.namespace, plan.job, plan.uid)


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as indented JSON, the objects last and one by one: there may be very many, and it is made only once."""
    encoder = msgspec.json.Encoder()
    text = io.BytesIO()
    head = msgspec.json.format(encoder.encode(msgspec.structs.replace(manifest, objects=())), indent=1)
    text.write(head.removesuffix(b"\n}"))
    for number, each in enumerate(manifest.objects):
        text.write(b",\n  " if number else b',\n "objects": [\n  ')
        text.write(msgspec.json.format(encoder.encode(each), indent=1).replace(b"\n", b"\n  "))
    text.write(b"\n ]\n}" if manifest.objects else b"\n}")
    return text.getvalue()


def decode(data: bytes) -> Manifest | None:
    """Read a manifest; None if it is none."""
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
