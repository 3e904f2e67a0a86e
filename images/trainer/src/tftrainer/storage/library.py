"""The S3 client library, imported without its administration part.

`minio.minioadmin` brings a cryptography library of its own that takes longer to import than everything else together, and
nothing here administers a server. An empty module stands in for it while `minio` is imported.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Final

_UNUSED: Final = "minio.minioadmin"


def _load() -> None:
    stand_in = types.ModuleType(_UNUSED)
    stand_in.__dict__["MinioAdmin"] = None
    sys.modules[_UNUSED] = stand_in
    try:
        importlib.import_module("minio")
    finally:
        del sys.modules[_UNUSED]


if "minio" not in sys.modules:
    _load()

from minio import Minio  # noqa: E402
from minio.commonconfig import CopySource  # noqa: E402
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError  # noqa: E402

__all__ = ["CopySource", "InvalidResponseError", "Minio", "MinioException", "S3Error", "ServerError"]
