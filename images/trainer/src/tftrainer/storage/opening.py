"""The store that the environment describes: an S3 bucket, or a folder for a run without a cluster."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tftrainer.messages.contract import Reason
from tftrainer.phase_error import PhaseError
from tftrainer.storage.credentials import Credentials

if TYPE_CHECKING:
    from tftrainer.storage.interface import Store

FOLDER: Final = "FOLDER"
"""End of the variable that names a folder in the place of a bucket. No key of a Secret becomes this variable."""

CA_FILE: Final = "CA_FILE"
"""End of the variable that names the file of a CA certificate, for a run without a cluster: a bundle of them is longer than a variable can
be. No key of a Secret becomes this variable either."""


def open_store(environment: Mapping[str, str], variable_prefix: str, label: str, until: float = math.inf) -> Store | None:
    """Return the store of that prefix of variables, None when none of them is set. `label` names their source in messages.

    At `until`, a time of the monotonic clock, what still waits for a server is given up.

    Raises:
        PhaseError: `StorageMisconfigured`, naming the key and what it should be.
    """
    folder = environment.get(variable_prefix + FOLDER)
    if folder:
        from tftrainer.storage.folder import FolderStore

        return FolderStore(Path(folder), environment.get(variable_prefix + "BUCKET", ""))
    found = Credentials.read(environment, variable_prefix, label)
    if found is None:
        return None
    authorities = environment.get(variable_prefix + CA_FILE)
    if authorities and found.secure:
        found = dataclasses.replace(found, ca_certificate=read_certificates(Path(authorities)))
    # By the one module through which all come to the library: threads that import a package and a part of it block each other.
    from tftrainer.storage.store import Store as BucketStore

    store = BucketStore(found)
    store.patience.until = until
    return store


def read_certificates(path: Path) -> str:
    """Return a file of certificates as PEM text, without what else it says of them in other characters than ASCII.

    Raises:
        PhaseError: `StorageMisconfigured`: it cannot be read, or holds none.
    """
    expected = "expected a file of certificates as PEM text"
    try:
        text = path.read_text("ascii", "ignore")
    except OSError as error:
        raise PhaseError(Reason.STORAGE_MISCONFIGURED, f"{path} cannot be read: {error.strerror}, {expected}") from None
    if "-----BEGIN " not in text:
        raise PhaseError(Reason.STORAGE_MISCONFIGURED, f"{path} holds no certificate, {expected}")
    return text
