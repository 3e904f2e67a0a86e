"""The place in the run's own folder for what is not put under its key: see `tftrainer.publish.placing`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from tftrainer.messages import contract, manifest
from tftrainer.messages.contract import Failure, Plan
from tftrainer.messages.manifest import Kept, KeptBecause
from tftrainer.outputs.tree import LocalFile
from tftrainer.outputs.upload import Outage, digest_all, upload_all
from tftrainer.storage.errors import RefusedError, translate
from tftrainer.storage.interface import Store
from tftrainer.uri import KEY_LIMIT

FOLDER: Final = "kept/"
_BUCKET: Final = f"{Path(contract.BUCKET).name}/"


class Beside:
    """Keeps files of the `workspace`, by their paths below it, in the folder of one attempt."""

    def __init__(self, store: Store, plan: Plan, workspace: Path, say: Callable[[str], None], outage: Outage) -> None:
        self._store = store
        self._workspace = workspace
        self._say = say
        self._outage = outage
        self._prefix = store.credentials.key(manifest.folder(plan) + FOLDER)
        self.kept: list[Kept] = []
        self.given_up: list[LocalFile] = []

    @property
    def uri(self) -> str:
        """The folder, as the user knows it."""
        return self._store.uri(self._prefix)

    def keep(
        self, files: Mapping[LocalFile, KeptBecause], *, digest_only: bool = False, given_up: Callable[[], bool] = lambda: False
    ) -> list[Failure]:
        """Keep files, for the reason of each, and return what failed; `digest_only` takes note of what would be kept.

        What is not begun when it is `given_up` is noted as that.
        """

        def condition(file: LocalFile) -> None:
            if given_up():
                raise translate(RefusedError(), self._store.uri(self._prefix + file.path), self._store.credentials)

        if not files:
            return []
        named = [self._named(file) for file in files]
        by_key = {self._prefix + each.path: kept for each, kept in zip(named, files.items(), strict=True)}
        failures: list[Failure] = []
        if digest_only:
            done = digest_all(self._workspace, self._prefix, named)
        else:
            sent = upload_all(self._store, self._workspace, self._prefix, named, self._say, outage=self._outage, condition=condition)
            done, failures = sent.done, sent.failures
            self.given_up += [by_key[self._prefix + file.path][0] for file in sent.refused]
        for each in done:
            file, because = by_key[each.key]
            instead = self._store.credentials.prefix + file.path.removeprefix(_BUCKET) if file.path.startswith(_BUCKET) else ""
            self.kept.append(
                Kept(path=file.path, key=each.key, instead_of=instead, size=each.size, sha256=each.sha256, etag=each.etag, because=because)
            )
        return failures

    def _named(self, file: LocalFile) -> LocalFile:
        """Return the file under a name with which its key is none too long."""
        if len((self._prefix + file.path).encode("utf-8", "surrogateescape")) <= KEY_LIMIT:
            return file
        short = hashlib.sha256(file.path.encode("utf-8", "surrogateescape")).hexdigest()
        return replace(file, path=short, target=file.source)


def of_the_bucket(file: LocalFile) -> LocalFile:
    """Return a file of the bucket's folder by its path below the workspace."""
    return replace(file, path=_BUCKET + file.path, target=_BUCKET + file.source)
