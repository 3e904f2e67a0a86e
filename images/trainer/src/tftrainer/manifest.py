"""The last word on one attempt, kept in the bucket: what ran, how it ended, and every object it wrote."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from tftrainer.contract import Failure, Message, Pinned, Plan, PublishedModel, run_prefix

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


class Manifest(Message, frozen=True):
    """The published truth of one attempt. Times are Unix seconds. `lock` is what it takes to run it again.

    `commit` says what makes it the only one: that it was written on the condition that there was none, or, where the store knows no
    such condition, the digest of it in the job's status.
    """

    version: int
    namespace: str
    job: str
    uid: str
    attempt: int
    outcome: str
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
    objects: tuple[PublishedObject, ...] = ()
    logs: tuple[PublishedObject, ...] = ()
    lock: PublishedObject | None = None
    model: PublishedModel | None = None
    skipped: tuple[Skipped, ...] = ()
    started_at: float = 0.0
    finished_at: float = 0.0
    published_at: float = 0.0
    commit: Literal["", "manifest", "status"] = ""

    def is_of(self, plan: Plan) -> bool:
        """Whether it is of the plan's job and attempt."""
        return (self.uid, self.attempt) == (plan.uid, plan.attempt)

    def same_run(self, other: Manifest) -> bool:
        """Whether both tell of the same run: all but times and ETags."""
        return self._content() == other._content()

    def _content(self) -> tuple[object, ...]:
        objects = tuple((each.key, each.size, each.sha256) for each in (*self.objects, *self.logs))
        return (
            self.version,
            self.uid,
            self.attempt,
            self.outcome,
            self.exit_code,
            self.started_at,
            self.finished_at,
            objects,
            self.skipped,
        )


def folder(plan: Plan) -> str:
    """Return the key prefix, below the Secret's prefix, of what the product keeps of the plan's attempt."""
    return run_prefix(plan.namespace, plan.job, plan.uid, plan.attempt)


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def decode(data: bytes) -> Manifest | None:
    """Read a manifest; None if it is none."""
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
