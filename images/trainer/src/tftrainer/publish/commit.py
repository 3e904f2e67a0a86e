"""The manifest as the commit point of an attempt: written once, last, and believed only when it is read back."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tftrainer.messages import contract, manifest
from tftrainer.messages.contract import Plan, PublishReport, Reason
from tftrainer.messages.manifest import Manifest
from tftrainer.phase_error import PhaseError

if TYPE_CHECKING:
    from tftrainer.storage.interface import Store


class Commit:
    """The place of one attempt's manifest in `store`. With `conditional_writes` the store refuses a second one."""

    def __init__(self, store: Store, plan: Plan, *, conditional_writes: bool, say: Callable[[str], None]) -> None:
        self._store = store
        self._plan = plan
        self._conditional_writes = conditional_writes
        self._say = say
        self._folder = manifest.folder(plan)
        self._key = store.credentials.key(self._folder + contract.MANIFEST_NAME)

    def earlier(self) -> bytes | None:
        """Return the manifest that is there, None if there is none."""
        return self._store.read(self._key, manifest.LIMIT)

    def confirm(self, earlier: bytes | None) -> PublishReport:
        """Report what an earlier pod of this attempt has published.

        Raises:
            PhaseError: there is no manifest of this attempt.
        """
        found = manifest.decode(earlier) if earlier is not None else None
        if earlier is None or found is None or not found.is_of(self._plan):
            raise self._fenced()
        self._say("an earlier pod of this attempt has published; its manifest is confirmed")
        return self._report(found, hashlib.sha256(earlier).hexdigest())

    def write(self, written: Manifest) -> PublishReport:
        """Write the manifest unless there is one, and report it; one that is there counts if it tells of the same run.

        Raises:
            PhaseError: another pod has published this attempt, or the store did not keep what was written.
        """
        data = manifest.encode(written)
        if not self._written(data):
            return self.compare(written, self.earlier())
        sha256, length = hashlib.sha256(data).hexdigest(), len(data)
        # Of very many objects the manifest is large: what is read back is never in memory beside what was written.
        del data
        if not self._holds(sha256, length):
            raise PhaseError(
                Reason.PUBLISH_FAILED,
                f"{self._store.uri(self._key)} is not what was written",
                "the store loses or changes writes; have it repaired",
            )
        return self._report(written, sha256)

    def _holds(self, sha256: str, length: int) -> bool:
        """Whether the manifest that is there has these bytes."""
        found = self._store.find(self._key)
        if found is None or found.size != length:
            return False
        with tempfile.TemporaryDirectory(prefix="tftraining-") as folder:
            copy = Path(folder) / contract.MANIFEST_NAME
            try:
                self._store.download(found, copy)
            except PhaseError as failed:
                if failed.failure.reason is Reason.DIGEST_MISMATCH:
                    return False
                raise
            with copy.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256

    def compare(self, own: Manifest, earlier: bytes | None) -> PublishReport:
        """Take an existing manifest for our own if it tells of the same run: then an earlier write of it was only not answered.

        Raises:
            PhaseError: it is another run's.
        """
        found = manifest.decode(earlier) if earlier is not None else None
        if earlier is None or found is None or not found.is_of(self._plan) or not found.same_run(own):
            raise self._fenced()
        self._say("this run is already published; nothing was written again")
        return self._report(found, hashlib.sha256(earlier).hexdigest())

    def _written(self, data: bytes) -> bool:
        """Write the manifest unless there is one; whether it was written."""
        if self._conditional_writes:
            return self._store.write_if_absent(self._key, data)
        self._say(
            "the store has no conditional writes: if two pods publish this attempt at once, status.outputs says which manifest counts"
        )
        if self.earlier() is not None:
            return False
        self._store.write(self._key, data)
        return True

    def _fenced(self) -> PhaseError:
        return PhaseError(
            Reason.PUBLISH_FAILED,
            f"attempt {self._plan.attempt} is already published by another pod: {self._store.uri(self._key)}",
            "that manifest counts; this pod's outcome is not recorded",
        )

    def _report(self, written: Manifest, sha256: str) -> PublishReport:
        logs = self._store.uri(self._store.credentials.key(self._folder + contract.LOGS_FOLDER))
        return PublishReport(
            failure=written.failure if written.failure and written.failure.reason in contract.OF_OUTPUTS else None,
            succeeded=written.outcome == manifest.SUCCEEDED,
            manifest_uri=self._store.uri(self._key),
            manifest_sha256=sha256,
            logs_uri=logs if written.logs else "",
            objects=len(written.objects),
            bytes=sum(each.size for each in written.objects),
            skipped=len(written.skipped),
            lost=sum(each.data for each in written.skipped),
            kept=len(written.kept),
            note=written.note,
            model=written.model,
            post_mortem_uri=self._store.uri(written.post_mortem.key) if written.post_mortem is not None else "",
        )
