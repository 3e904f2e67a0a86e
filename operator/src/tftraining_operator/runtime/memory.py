"""What memory is not wasted on: imports that a pod has no use for, and blocks that are free again."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_MMAP_THRESHOLD = -3
_LARGE_BYTES = 128 * 1024


@contextmanager
def lean_imports() -> Iterator[None]:
    """Have kopf and aiohttp imported without what they would take in by the way.

    kopf imports the official client where it finds it: eleven megabytes, and only a kubeconfig needs it. aiohttp reads all authorities
    of the system: two megabytes, and the API server's own is named with each connection.
    """
    hidden = "kubernetes" not in sys.modules
    before = {name: os.environ.get(name) for name in _AUTHORITIES}
    os.environ.update(dict.fromkeys(_AUTHORITIES, os.devnull))
    if hidden:
        sys.modules["kubernetes"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules["kubernetes"]
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def return_large_blocks() -> None:
    """Have glibc give large blocks back as soon as they are free, where it is the C library.

    By itself it raises what counts as large with each such block that it frees, up to 32 MiB, and keeps them from then on: pages of long
    scripts, each held for a moment, left a process of 80 MB with 170.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
