"""Who looks after a script while it runs."""

from __future__ import annotations

import threading

from tftrainer.run.vigil import Vigil


def test_a_look_that_fails_is_told_once_and_keeps_nobody_from_looking() -> None:
    said: list[str] = []
    looked = threading.Semaphore(0)

    def fails(_: float) -> None:
        raise OSError("no more files")

    vigil = Vigil()
    vigil.start([fails, lambda _: looked.release()], said.append)
    try:
        assert all(looked.acquire(timeout=20) for _ in range(2))
    finally:
        vigil.stop()
    assert len(said) == 1
    assert "no more files" in said[0]
