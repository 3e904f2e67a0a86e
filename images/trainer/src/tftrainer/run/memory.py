"""What the kernel says of the memory of this container: how many processes it has killed for want of it, limit and peak."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable
from pathlib import Path

CONTROL_GROUP = Path("/sys/fs/cgroup")
_COUNTERS = ("memory.events", "memory/memory.oom_control")
_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
_PEAKS = ("memory.peak", "memory/memory.max_usage_in_bytes")
_IN_USE = ("memory.current", "memory/memory.usage_in_bytes")
_STATISTICS = ("memory.stat", "memory/memory.stat")
"""Each in control groups version 2 and in version 1."""
_CACHED = frozenset({"active_file", "inactive_file", "slab_reclaimable"}), frozenset({"total_active_file", "total_inactive_file"})
"""What of the memory in use the kernel can take back at any time, because it is on a disk too."""
_UNLIMITED = 1 << 60
"""Bytes: version 1 has no word for no limit, but a number larger than any machine."""


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """`kills` counts processes, the rest are bytes, None where there is none or it is not known.

    `peak` is the most that was ever in use, what the kernel caches of files included: who reads much has a peak at the limit and needs
    no more. `held` is what is in use now and cannot be taken back.
    """

    kills: int = 0
    limit: int | None = None
    peak: int | None = None
    held: int | None = None


def read(group: Path = CONTROL_GROUP) -> Memory:
    """Return what the kernel says of the control group that is mounted at a folder."""
    return Memory(
        kills(group / name for name in _COUNTERS),
        _bytes(group / name for name in _LIMITS),
        _bytes(group / name for name in _PEAKS),
        _held(group),
    )


def _held(group: Path) -> int | None:
    in_use = _bytes(group / name for name in _IN_USE)
    if in_use is None:
        return None
    for name, wanted in zip(_STATISTICS, _CACHED, strict=True):
        with contextlib.suppress(OSError):
            fields = (line.split() for line in (group / name).read_text().splitlines())
            cached = sum(int(value) for field, value in fields if field in wanted)
            # The two files are not of one moment.
            return max(in_use - cached, 0)
    return None


def kills(counters: Iterable[Path]) -> int:
    """Return the kernel's count, 0 where it keeps none."""
    for counter in counters:
        try:
            lines = counter.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.isdecimal():
                return int(value)
    return 0


def _bytes(files: Iterable[Path]) -> int | None:
    for file in files:
        try:
            text = file.read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            return int(text) if int(text) < _UNLIMITED else None
    return None
