"""How many processes of this container the kernel has killed for want of memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
"""The counter's file in control groups version 2 and version 1."""


def kills(counters: Iterable[Path] = COUNTERS) -> int:
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
