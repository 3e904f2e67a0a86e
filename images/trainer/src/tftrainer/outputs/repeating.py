"""Something that is done again and again while the script runs, and must never disturb it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tftrainer.phase_error import PhaseError, sentence, unexpected


class Repeating:
    """Calls `action` in a thread of its own, with `pause()` seconds between the calls, until it is stopped.

    A failure is told to `say` once, after the words `what`; then it is tried again in silence, as a store may be away for a while.
    """

    def __init__(self, what: str, action: Callable[[], None], pause: Callable[[], float], say: Callable[[str], None]) -> None:
        self._what = what
        self._action = action
        self._pause = pause
        self._say = say
        self._complained = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=what, daemon=True)

    @property
    def ended(self) -> bool:
        """Whether it was told to stop: an action of many steps looks at it between them."""
        return self._ended.is_set()

    def go_on(self, _count: int = 0) -> None:
        """Give up the call that runs, if it was told to stop: the progress of an upload.

        Raises:
            GivenUpError: it was.
        """
        if self.ended:
            # Imported by whoever uploads; it takes its time.
            from tftrainer.storage.transfer import GivenUpError

            raise GivenUpError

    def wait(self, seconds: float) -> bool:
        """Wait for so long, or until it is told to stop; whether it was."""
        return self._ended.wait(seconds)

    def start(self) -> None:
        """Begin, with a pause."""
        self._thread.start()

    def end(self) -> None:
        """Begin no further call, and wait for none: where several are to stop, each is told before the first is waited for."""
        self._ended.set()

    def stop(self, seconds: float | None = None) -> None:
        """Begin no further call, and wait for the one that runs: so many seconds, or to its end."""
        self.end()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._ended.wait(self._pause()):
            try:
                self._action()
            except PhaseError as failed:
                self._complain(failed)
            except Exception as error:
                self._complain(unexpected(error))

    def _complain(self, failed: PhaseError) -> None:
        if not self._complained and not self.ended:
            self._say(f"{self._what} yet: {sentence(failed.failure)}")
        self._complained = True
