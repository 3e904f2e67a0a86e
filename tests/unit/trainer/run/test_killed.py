"""What is known of the memory of a script of which processes were killed."""

from __future__ import annotations

import os

import pytest
from tftrainer.run.killed import Killed
from tftrainer.run.memory import Memory


@pytest.mark.parametrize(
    ("held", "kills", "peak", "most"),
    [(900, 1, None, 900), (900, 1, 1000, 1000), (900, 0, 1000, 900), (None, 0, 1000, 1000), (None, 1, None, None)],
)
def test_the_most_memory_is_known_after_a_kill_also_where_the_kernel_keeps_no_peak(
    held: int | None, kills: int, peak: int | None, most: int | None
) -> None:
    looks = [Memory(held=held, kills=0, peak=peak)]
    killed = Killed(os.getpid(), lambda: looks[-1], lambda *_: None, lambda _: None, lambda _: True, 60.0)
    killed.look(0.0)
    looks.append(Memory(held=None, kills=kills, peak=peak))
    assert killed.most() == most
